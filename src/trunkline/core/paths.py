"""Where things are in a project, relative to its root, which is the folder that a stage runs in."""

from pathlib import Path

CONF = Path("conf")
PARAMS = Path("params.yaml")

RAW = Path("data/raw")
VALID = Path("data/valid")
QUARANTINE = Path("data/quarantine")
FEATURES = Path("data/features")
PREDICTIONS = Path("data/predictions")

MODEL = Path("models/model.skops")
BUNDLE = Path("models/bundle")

METRICS = Path("reports/metrics.json")
SLICES = Path("reports/slices.json")
VALIDATION = Path("reports/validation.json")
DATASET = Path("reports/dataset.json")
BUNDLE_REPORT = Path("reports/bundle.json")
CURVES = Path("reports/curves")
