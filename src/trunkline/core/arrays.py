"""Names of the arrays that numbers come in, and what is one number of several."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def middle(scores: Floats) -> Floats:
    """Return a number for each row: its score, or of several quantiles the one in the middle."""
    return scores if scores.ndim == 1 else scores[:, scores.shape[1] // 2]
