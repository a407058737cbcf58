"""The calibration slope: whether scores that are twice as sure are right twice as often.

Cox, "Two further applications of a model for binary regression", Biometrika 45 (1958) 562-565.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trunkline.core.arrays import Floats, happened, middle
from trunkline.core.errors import UserError
from trunkline.core.tasks import Task

STEPS, ENOUGH = 100, 1e-10
_EDGE = 1e-12  # scores of exactly 0 and 1 have no log-odds


def slope(labels: NDArray[Any], scores: Floats) -> float:
    """Return the coefficient of the scores' log-odds in a logistic regression of the labels on them, by Newton's steps.

    1 is perfect; below it the scores are too extreme. Raises UserError where it is not defined: labels of one class, or
    scores that separate the classes.
    """
    kept = np.clip(scores, _EDGE, 1 - _EDGE)
    odds = np.log(kept / (1 - kept))
    at = np.zeros(2)
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(at[0] + at[1] * odds, -700, 700)))
        weight, error = chance * (1 - chance), labels - chance
        # Sums by numpy, not BLAS, whose order depends on the number of threads.
        a, b, c = weight.sum(), (weight * odds).sum(), (weight * odds * odds).sum()
        u, v, size = error.sum(), (error * odds).sum(), a * c - b * b
        if not np.isfinite(size) or size <= 1e-9 * max(1.0, a * c):
            break
        step = np.array([c * u - b * v, a * v - b * u]) / size
        at = at + np.clip(step, -5, 5)
        if np.abs(step).max() < ENOUGH:
            return float(at[1])
    raise UserError(
        "the calibration slope is not defined: one class only, one score only, or classes that are separated"
    )


def pooled_slope(labels: NDArray[Any], scores: Floats, task: Task = "multiclass") -> float:
    """Return the slope over every class or label of every row: whether it was that, by the score given to it."""
    hits = happened(labels, scores.shape[1], task)
    return slope(hits.ravel().astype(np.int8), scores.ravel())


def linear_slope(labels: NDArray[Any], scores: Floats) -> float:
    """Return the coefficient of the scores in a linear regression of the labels on them: 1 is perfect.

    Mincer and Zarnowitz, "The evaluation of economic forecasts", 1969. Raises UserError for scores that are all equal.
    """
    apart = scores - scores.mean()
    spread = float((apart * apart).sum())
    if spread <= 0:
        raise UserError("the calibration slope is not defined: all scores are equal")
    return float((apart * labels).sum()) / spread


def correlation(labels: NDArray[Any], scores: Floats) -> float:
    """Return the slope of labels on scores, both in standard deviations, for scores that have no unit: 1 is perfect.

    Raises UserError for scores, or labels, that are all equal.
    """
    spread = float(labels.std())
    if spread <= 0:
        raise UserError("the calibration slope is not defined: all labels are equal")
    return linear_slope(labels, scores) * float(scores.std()) / spread


SLOPES: dict[Task, Callable[[NDArray[Any], Floats], float]] = {
    "binary": slope,
    "multiclass": pooled_slope,
    "ordinal": pooled_slope,
    "regression": linear_slope,
    "count": linear_slope,
    "ranking": correlation,
    "multilabel": partial(pooled_slope, task="multilabel"),
    "quantile": lambda labels, scores: linear_slope(labels, middle(scores)),
}
