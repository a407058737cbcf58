"""Names of the arrays that numbers come in, and what is one number of several."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trunkline.core.tasks import Task

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def middle(scores: Floats) -> Floats:
    """Return a number for each row: its score, or of several quantiles the one in the middle."""
    return scores if scores.ndim == 1 else scores[:, scores.shape[1] // 2]


def happened(labels: NDArray[Any], count: int, task: Task) -> Floats:
    """Return 1 where a row is of a class, or has a label, else 0, shape (rows, count).

    A label of multilabel is the number of a set: the sum of 2 to the power of the place of each label that a row has.
    """
    numbers, places = labels.astype(np.int64)[:, None], np.arange(count)
    hits = (numbers >> places) & 1 if task == "multilabel" else numbers == places
    return np.asarray(hits, dtype=np.float64)
