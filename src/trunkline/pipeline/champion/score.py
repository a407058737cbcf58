"""Scores this commit's rows by the model in production, which was fetched and verified before."""

import json
import tempfile
from pathlib import Path

import duckdb

from trunkline.conf.data import Data
from trunkline.core import paths
from trunkline.core.arrays import Floats
from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError, one_line
from trunkline.pipeline.champion.scorer import scorer
from trunkline.pipeline.features import plan_json, split
from trunkline.pipeline.features.duckdb import DuckDBEngine
from trunkline.pipeline.features.plan import FeaturePlan

BUNDLE = paths.CHAMPION / "bundle"


def score(folder: Path, plan: FeaturePlan, data: Data, holdout: Dataset) -> Floats:
    """Return the score of each row of the holdout by the bundle in a folder.

    Where it was built with another plan of features, they are computed by its own from this commit's tables.
    Raises UserError if that does not give the same rows.
    """
    own = plan_json.plan_of(json.loads((folder / "features.json").read_text(encoding="utf-8")))
    return scorer(folder)((holdout if own == plan else _computed(own, data, holdout)).features)


def _computed(plan: FeaturePlan, data: Data, holdout: Dataset) -> Dataset:
    try:
        with tempfile.TemporaryDirectory() as folder, DuckDBEngine(plan, paths.VALID) as engine:
            split.materialize(engine, plan, data, Path(folder))
            computed = Dataset.read("holdout", Path(folder))
    except duckdb.Error as error:
        message = one_line(error)
        raise UserError(f"the champion's features cannot be computed from this commit's tables: {message}") from error
    key = list(data.unique_key)
    if not computed.frame.select(key).equals(holdout.frame.select(key)):
        raise UserError("the champion's features give other rows of the holdout: its plan does not fit conf/data")
    return computed
