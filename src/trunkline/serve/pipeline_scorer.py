"""Scores with the scikit-learn pipeline what otherwise a bundle's graph scores, to compare the two.

A module of its own, because scikit-learn takes seconds to import and nothing else of a batch prediction needs it.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from threadpoolctl import ThreadpoolController

from trunkline.bundle.contract import Contract
from trunkline.core.graphs import MISSING
from trunkline.pipeline.train import fit, modelfile


def scorer(
    model: Path, contract: Contract
) -> Callable[[npt.NDArray[np.float64], npt.NDArray[np.object_]], npt.NDArray[np.float64]]:
    """Load a skops file; what is returned takes the matrices that `Bundle.scores` takes, in any thread.

    Raises UserError for a file that is no model.
    """
    pipeline, pools, frame = modelfile.load(model), ThreadpoolController(), framer(contract)

    def score(numbers: npt.NDArray[np.float64], texts: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
        with pools.limit(limits=1):  # the parts are what runs side by side
            return fit.scores(pipeline, frame(numbers, texts))

    return score


def framer(contract: Contract) -> Callable[[npt.NDArray[np.float64], npt.NDArray[np.object_]], pl.DataFrame]:
    """Return what makes a frame of the matrices that `Bundle.scores` takes, with null for a missing text."""
    numeric = [field.name for field in contract.inputs if field.role == "numeric"]
    categorical = [field.name for field in contract.inputs if field.role == "categorical"]

    def frame(numbers: npt.NDArray[np.float64], texts: npt.NDArray[np.object_]) -> pl.DataFrame:
        columns = {name: pl.Series(name, column) for name, column in zip(numeric, numbers.T, strict=True)} | {
            name: pl.Series(name, column.tolist(), dtype=pl.String).replace(MISSING, None)
            for name, column in zip(categorical, texts.T, strict=True)
        }
        return pl.DataFrame(columns)

    return frame
