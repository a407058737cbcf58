"""Scores rows with a scikit-learn pipeline, many in one call where each then has the bits that it has alone.

Estimators whose sums are made by a BLAS, such as neural networks, give a row other last bits among other rows. So
three ways are tried on rows made of the golden ones, and the first that gives the bits of single rows is taken:
everything at once; the preprocessing at once and then the estimator row by row; everything row by row.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from threadpoolctl import ThreadpoolController

from trunkline.bundle.contract import Contract
from trunkline.core.arrays import Floats
from trunkline.pipeline.train import fit, modelfile
from trunkline.serve import pipeline_scorer
from trunkline.serve.engine.batching import Scores
from trunkline.serve.engine.masks import Texts

SIZES = (2, 7, 40)  # rows of the calls that are tried
_SEED = 1

_log = logging.getLogger(__name__)


def scorer(model: Path, contract: Contract, numeric: Floats, texts: Texts) -> Scores:
    """Return what scores matrices of rows with a bundle's skops file; the matrices given are those of its golden rows.

    Raises UserError for a file that is no model, or holds a type that is not trusted.
    """
    together = pipeline_scorer.scorer(model, contract)
    ways = {
        "rows together": together,
        "rows together, the estimator one by one": _estimator_alone(modelfile.load(model), contract),
    }
    rows, alone = _mixed(numeric, texts, max(SIZES)), one_by_one(together)
    expected = alone(*rows).tobytes()
    for name, way in ways.items():
        if _same(way, rows, expected):
            _log.info("%s: scores %s", model.name, name)
            return way
    _log.info("%s: scores rows one by one", model.name)
    return alone


def one_by_one(scores: Scores) -> Scores:
    """Return what scores each row alone."""

    def each(numeric: Floats, texts: Texts) -> Floats:
        places = [slice(row, row + 1) for row in range(len(texts))]
        return np.concatenate([scores(numeric[place], texts[place]) for place in places])

    return each


def _estimator_alone(pipeline: Pipeline, contract: Contract) -> Scores:
    """Return what preprocesses rows together and then scores them one by one."""
    pools, frame, estimator = ThreadpoolController(), pipeline_scorer.framer(contract), pipeline[-1]

    def scores(numeric: Floats, texts: Texts) -> Floats:
        with pools.limit(limits=1):
            features = fit.inputs(frame(numeric, texts).select(pipeline.feature_names_in_))
            matrix = pipeline[:-1].transform(features)
            return np.concatenate([fit.predictions(estimator, matrix[row : row + 1]) for row in range(len(texts))])

    return scores


def _mixed(numeric: Floats, texts: Texts, count: int) -> tuple[Floats, Texts]:
    """Return rows whose every value is that of a golden row, each of another."""
    random = np.random.default_rng(_SEED)

    def mixed(matrix: Any) -> Any:
        return np.take_along_axis(matrix, random.integers(0, len(matrix), (count, matrix.shape[1])), axis=0)

    return mixed(numeric), mixed(texts)


def _same(scores: Scores, rows: tuple[Floats, Texts], expected: bytes) -> bool:
    """Whether rows have these scores, to the bit, in calls of several sizes."""
    numeric, texts = rows
    for size in SIZES:
        places = [slice(start, start + size) for start in range(0, len(texts), size)]
        if np.concatenate([scores(numeric[place], texts[place]) for place in places]).tobytes() != expected:
            return False
    return True
