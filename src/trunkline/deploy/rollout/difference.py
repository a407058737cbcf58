"""The difference of a mean between two arms, and its standard error where rows of a cluster are not independent."""

import math
from dataclasses import dataclass

import numpy as np

from trunkline.core.arrays import Floats


@dataclass(frozen=True)
class Sums:
    """Of each cluster of an arm: its rows, and the sum of their values. Two arrays of one length."""

    rows: Floats
    values: Floats


@dataclass(frozen=True)
class Difference:
    """The candidate's mean minus the current version's, its standard error, the candidate's rows, and clusters."""

    value: float
    error: float
    rows: int
    clusters: int


def paired(candidate: Sums, current: Sums, *, share: bool) -> Difference | None:
    """Compare two arms that have the same rows of the same clusters; None without rows. `share` as in `apart`."""
    used = candidate.rows > 0
    rows, values = candidate.rows[used], (candidate.values - current.values)[used]
    if not len(rows):
        return None
    mean, variance = _mean(Sums(rows, values), share=share)
    return Difference(mean, math.sqrt(variance), int(rows.sum()), len(rows))


def apart(candidate: Sums, current: Sums, *, share: bool) -> Difference | None:
    """Compare two arms of different clusters; None where one has no rows.

    Of a `share`, no arm's error is smaller than one cluster of all: of none or all of few rows nothing is certain.
    """
    arms = [Sums(arm.rows[arm.rows > 0], arm.values[arm.rows > 0]) for arm in (candidate, current)]
    if not all(len(arm.rows) for arm in arms):
        return None
    (mean, variance), (other, others) = (_mean(arm, share=share) for arm in arms)
    clusters = min(len(arm.rows) for arm in arms)
    return Difference(mean - other, math.sqrt(variance + others), int(arms[0].rows.sum()), clusters)


def _mean(arm: Sums, *, share: bool) -> tuple[float, float]:
    """Return the mean over rows and its variance, by what each cluster adds to its deviation."""
    total, clusters = float(arm.rows.sum()), len(arm.rows)
    mean = float(arm.values.sum()) / total
    parts = (arm.values - mean * arm.rows) / total
    variance = float(np.square(parts).sum()) * clusters / max(1, clusters - 1)
    return mean, variance + (clusters**-2.0 if share else 0.0)
