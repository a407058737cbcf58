"""The share of rows that something is true of, on resamples of whole clusters."""

import numpy as np
from numpy.typing import NDArray

from trunkline.core.arrays import Floats, Integers
from trunkline.core.errors import UserError
from trunkline.pipeline.evaluate.bootstrap import Resamples, resampled
from trunkline.pipeline.evaluate.metrics.kinds import Sample
from trunkline.pipeline.evaluate.metrics.registry import named


def drawn(true: NDArray[np.bool_], clusters: Integers, count: int, seed: int) -> tuple[Floats, int]:
    """Return the share on each of `count` resamples, and the number of clusters that have rows.

    Raises UserError for rows of one cluster only.
    """
    codes = np.unique(clusters, return_inverse=True)[1]
    number = int(codes.max(initial=-1)) + 1
    if number < 2:
        raise UserError(f"all {len(true)} rows are of one cluster, which says nothing about another")
    sample = Sample(true.astype(np.int8), true.astype(np.float64), codes)
    return resampled([named("base_rate", "binary")], sample, Resamples(number, count, seed))[0], number
