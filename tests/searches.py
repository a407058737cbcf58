"""A project as the search stage finds it, and a search in it that takes a second or two."""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from tests.pipeline.train.test_fit import synthetic
from trunkline.core import paths
from trunkline.core.dataset import Schema
from trunkline.pipeline.compose.compose import compose, render

ROOT = Path(__file__).parent.parent
STEPS = {"numeric": {"impute": "median", "scale": "standard"}, "categorical": {"encode": "onehot", "min_frequency": 20}}
LOGISTIC = {"_target_": "sklearn.linear_model.LogisticRegression", "C": 1.0e-4, "preprocess": STEPS}
FOREST = {"_target_": "sklearn.ensemble.RandomForestClassifier", "n_estimators": 5, "preprocess": STEPS}
SEARCH = {
    "trials": 14,
    "batch": 4,
    "metric": "log_loss",
    "space": {
        "C": {"low": 1e-5, "high": 10.0, "log": True},
        "preprocess.numeric.impute": {"choices": ["mean", "zero"]},
    },
    "families": {"forest": {"model": FOREST, "space": {"max_depth": {"choices": [None, 3, 6]}}}},
}


def laid(root: Path) -> Path:
    """A project as the search stage finds it: params.yaml and training rows of sixty days, and no holdout at all."""
    made = synthetic(700)
    begin = datetime(2013, 1, 1)
    times = pl.Series("event_time", [begin + timedelta(hours=2 * hour) for hour in range(made.frame.height)])
    folder = root / paths.FEATURES
    Schema(made.schema.features, "late", "America/New_York").write(folder)
    made.frame.with_columns(times.cast(pl.Datetime("us"))).write_parquet(folder / "train.parquet")
    content = compose(ROOT / "conf", ["search=none"]).content | {"search": SEARCH, "model": LOGISTIC}
    (root / paths.PARAMS).write_text(render(content), encoding="utf-8")
    return root


def results(project: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((project / paths.SEARCH).iterdir())}
