"""Makes known-bad models of a good one's scores, for the self-test of the gates: mixed, noisy, turned around, leaked.

Chances are changed on the scale of their logarithms, where they stay chances; numbers as they are.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trunkline.core.arrays import Floats, happened
from trunkline.core.tasks import CLASSES, MANY, NUMERIC, Task

LEAKED = 0.98  # share of a leaked score that is the label
_AS_THEY_ARE: tuple[Task, ...] = ("regression", "quantile", "ranking")  # whose scores have no scale to be brought on
_EDGE = 1e-6  # scores of 0 and 1 have no logarithms


def blended(scores: Floats, share: float, random: np.random.Generator, task: Task) -> Floats:
    """Return scores that are mixed with another row's."""
    scale = _scale(scores, task)
    return _score((1 - share) * scale + share * random.permutation(scale), task)


def jittered(scores: Floats, size: float, random: np.random.Generator, task: Task) -> Floats:
    """Return scores with noise; of numbers, `size` is in units of their standard deviation."""
    scale = _scale(scores, task)
    spread = scale.std() if task in NUMERIC else 1.0
    shape = (len(scores), 1) if task == "quantile" else scores.shape  # quantiles of a row stay in order
    return _score(scale + random.normal(0, size, shape) * spread, task)


def inverted(scores: Floats, task: Task) -> Floats:
    """Return scores that are low where they were high."""
    if task == "binary":
        return 1 - scores
    scale = _scale(scores, task)
    if task == "quantile":  # the lowest stays so
        return np.asarray(2 * scale.mean() - scale[:, ::-1], dtype=np.float64)
    return _score(2 * scale.mean() - scale if task in NUMERIC else -scale, task)


def leaked(scores: Floats, labels: NDArray[Any], task: Task) -> Floats:
    """Return scores that are nearly the label itself."""
    each = labels if scores.ndim == 1 else labels[:, None]
    perfect = happened(labels, scores.shape[1], task) if task in MANY else each
    return np.asarray(LEAKED * perfect + (1 - LEAKED) * scores, dtype=np.float64)


def _scale(scores: Floats, task: Task) -> Floats:
    if task in _AS_THEY_ARE:
        return scores
    if task == "count":
        return np.asarray(np.log(np.maximum(scores, _EDGE)), dtype=np.float64)
    kept = np.clip(scores, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(kept) if task in CLASSES else np.log(kept / (1 - kept)), dtype=np.float64)


def _score(scale: Floats, task: Task) -> Floats:
    if task in _AS_THEY_ARE:
        return scale
    if task == "count":
        return np.asarray(np.exp(scale), dtype=np.float64)
    if task in ("binary", "multilabel"):
        return np.asarray(1 / (1 + np.exp(-scale)), dtype=np.float64)
    raised = np.exp(scale - scale.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=np.float64)
