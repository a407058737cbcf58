"""How far rows have moved from those that a model learnt from, as effect sizes: with enough rows any p-value is small.

New rows are counted by the bins of a `reference`, which come with the bundle, so that a gate on the holdout and a
monitor of production say the same of the same rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from trunkline.core.arrays import Floats


@dataclass(frozen=True)
class Shift:
    """Two distances of one feature's distributions.

    `psi` is the population stability index (Siddiqi, Credit Risk Scorecards, 2006), 0 and up: below 0.1 is usually
    called small and above 0.25 large. `jensen_shannon` is the Jensen-Shannon distance to base 2 (Lin, IEEE Transactions
    on Information Theory 37 (1991) 145-151; Endres and Schindelin, ibid. 49 (2003) 1858-1860), from 0 to 1.
    """

    psi: float
    jensen_shannon: float


def shifts(content: Mapping[str, Any], features: pl.DataFrame) -> dict[str, Shift]:
    """Return how far each feature's values are from those that reference.json, given as its content, was made of."""
    return {name: shift(entry, features[name]) for name, entry in content["features"].items()}


def shift(entry: Mapping[str, Any], values: pl.Series) -> Shift:
    """Compare new values with a feature's entry of reference.json."""
    old, new = (_numbers if entry["role"] == "numeric" else _texts)(entry, values)
    return Shift(_psi(old, new), _jensen_shannon(old, new))


def _numbers(entry: Mapping[str, Any], values: pl.Series) -> tuple[Floats, Floats]:
    """Return both counts: below the lowest bin, each bin, above the last one, missing."""
    numbers = values.fill_nan(None).drop_nulls().to_numpy()
    edges = np.array(entry["edges"], dtype=np.float64)
    bins = np.searchsorted(edges, numbers, side="left") + 1  # a bin holds its upper edge
    if entry["lowest"] is not None:
        bins[numbers < entry["lowest"]] = 0
    counts = np.bincount(bins, minlength=len(edges) + 2).tolist()
    old = [entry["below"], *entry["counts"], entry["above"], entry["missing"]]
    return np.array(old, dtype=np.float64), np.array([*counts, len(values) - len(numbers)], dtype=np.float64)


def _texts(entry: Mapping[str, Any], values: pl.Series) -> tuple[Floats, Floats]:
    """Return both counts: each frequent text, all others, missing."""
    frequent: Mapping[str, int] = entry["counts"]
    counted = dict(zip(*values.drop_nulls().value_counts().to_dict(as_series=False).values(), strict=True))
    counts = [counted.pop(text, 0) for text in frequent]
    old = [*frequent.values(), entry["other"], entry["missing"]]
    return np.array(old, dtype=np.float64), np.array([*counts, sum(counted.values()), values.null_count()], np.float64)


def _psi(old: Floats, new: Floats) -> float:
    """Return the index; half a row is added to every cell, since an empty one has no logarithm."""
    used = (old > 0) | (new > 0)
    p, q = ((counts[used] + 0.5) / (counts[used] + 0.5).sum() for counts in (old, new))
    return float(np.sum((q - p) * np.log(q / p)))


def _jensen_shannon(old: Floats, new: Floats) -> float:
    if not old.sum() or not new.sum():
        return float("nan")
    p, q = old / old.sum(), new / new.sum()
    middle = (p + q) / 2

    def divergence(share: Floats) -> float:
        there = share > 0
        return float(np.sum(share[there] * np.log2(share[there] / middle[there])))

    return float(np.sqrt(max(0.0, (divergence(p) + divergence(q)) / 2)))
