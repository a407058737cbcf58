"""The model in production, which `fetching` has got and verified, and its scores of this commit's rows."""

import json
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt

from trunkline import interface, modelfile, parity, splits, training
from trunkline.bundle import Bundle
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.dataset import Dataset
from trunkline.duckdb_engine import DuckDBEngine
from trunkline.features import Plan
from trunkline.params.data import Data

Floats = npt.NDArray[np.float64]
BUNDLE = paths.CHAMPION / "bundle"


def score(folder: Path, plan: Plan, data: Data, holdout: Dataset) -> Floats:
    """Return the score of each row of the holdout by the bundle in a folder.

    Where it was built with another plan of features, they are computed by its own from this commit's tables.
    Raises UserError if that does not give the same rows.
    """
    own = interface.plan_of(json.loads((folder / "features.json").read_text(encoding="utf-8")))
    features = (holdout if own == plan else _computed(own, data, holdout)).features
    if (folder / "model.onnx").exists():
        return parity.graph_scores(Bundle.load(folder), features)
    return training.scores(modelfile.load(folder / "model.skops"), features)


def _computed(plan: Plan, data: Data, holdout: Dataset) -> Dataset:
    try:
        with tempfile.TemporaryDirectory() as folder, DuckDBEngine(plan, paths.VALID) as engine:
            splits.materialize(engine, plan, data, Path(folder))
            found = Dataset.read("holdout", Path(folder))
    except duckdb.Error as error:
        message = " ".join(str(error).split())
        raise UserError(f"the champion's features cannot be computed from this commit's tables: {message}") from error
    key = list(data.unique_key)
    if not found.frame.select(key).equals(holdout.frame.select(key)):
        raise UserError("the champion's features give other rows of the holdout: its plan does not fit conf/data")
    return found
