"""Where things are in a project, relative to its root, which is the folder that a stage runs in."""

from pathlib import Path

CONF = Path("conf")
PARAMS = Path("params.yaml")

RAW = Path("data/raw")
VALID = Path("data/valid")
QUARANTINE = Path("data/quarantine")
FEATURES = Path("data/features")
PREDICTIONS = Path("data/predictions")
RIVALS = Path("data/rivals")
RIVAL_SCORES = RIVALS / "scores.parquet"
RIVAL_MEMBERS = RIVALS / "train.parquet"
CHAMPION = Path("data/champion")

MODEL = Path("models/model.skops")
BUNDLE = Path("models/bundle")
REGISTRY = Path("models/registry.yaml")
SITES = Path("models/sites")  # graphs of other sites, as conf/model has pinned them; in git

FRAMEWORK = Path("locks/trunkline.txt")  # of a project beside the framework's own: which framework it is run by
LOCK = Path("dvc.lock")
DURATIONS = Path(".dvc/tmp/trunkline")  # seconds that a stage took last; of this machine, so in no commit
SEARCHING = Path(".dvc/tmp/search")  # what a search that was killed had measured
DOWNLOADS = Path(".dvc/tmp/downloads")  # files from elsewhere, by their sha256; may be deleted at any time

METRICS = Path("reports/metrics.json")
SLICES = Path("reports/slices.json")
BACKTEST = Path("reports/backtest.json")
DECISION = Path("reports/decision.json")
INGESTED = Path("reports/ingest.json")
VALIDATION = Path("reports/validation.json")
DATASET = Path("reports/dataset.json")
BUNDLE_REPORT = Path("reports/bundle.json")
GATES_REPORT = Path("reports/gates.json")
CURVES = Path("reports/curves")
SEARCH = Path("reports/search")
CHOICE = SEARCH / "choice.json"


def home(root: Path) -> Path:
    """Return the project that a stage runs for: DVC's temporary workspaces in it are deleted afterwards."""
    root = root.resolve()
    workspaces = Path(".dvc", "tmp", "exps")
    for parent in root.parents:
        if parent.parts[-3:] == workspaces.parts:
            return parent.parents[2]
    return root


def inside(path: Path) -> bool:
    """Tell whether a path stays in the project, whose root is the working directory, also through its links."""
    return path.resolve().is_relative_to(Path.cwd().resolve())
