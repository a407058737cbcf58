"""How far annotators agree: Krippendorff's alpha, 1 where all say the same and 0 where chance would say as much.

K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), for nominal values and for numbers (interval). The
package `krippendorff`, with which this was compared, is under the GPL, and so no dependency.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def alpha(units: Sequence[Sequence[Any]], *, numeric: bool) -> float | None:
    """Return alpha of values by unit, each annotator's value of a unit once; None where it is not defined.

    Units of fewer than two values do not count. It is not defined where none is left, or where all values are equal.
    """
    pairable = [np.asarray(unit) for unit in units if len(unit) >= 2]
    if not pairable:
        return None
    together = np.concatenate(pairable)
    if numeric:
        pairable, together = [unit - together.mean() for unit in pairable], together - together.mean()
    difference: Callable[[Any], float] = _squares if numeric else _unequal
    expected = difference(together) / (len(together) - 1)
    observed = sum(difference(unit) / (len(unit) - 1) for unit in pairable)
    return float(1 - observed / expected) if expected > 0 else None


def _unequal(values: Any) -> float:
    """Return how many ordered pairs of values are unequal."""
    counts = np.unique(values, return_counts=True)[1]
    return float(len(values) ** 2 - (counts**2).sum())


def _squares(values: Any) -> float:
    """Return the sum of the squared differences of all ordered pairs of values."""
    return float(2 * (len(values) * (values**2).sum() - values.sum() ** 2))
