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
    return Shift(psi(old, new), jensen_shannon(old, new))


def counts(entry: Mapping[str, Any]) -> Floats:
    """Return the cells of an entry of reference.json, with or without a role.

    Of numbers: below the lowest bin, each bin, above the last one, missing. Of texts: each frequent one, all others,
    missing.
    """
    if isinstance(entry["counts"], Mapping):
        return np.array([*entry["counts"].values(), entry["other"], entry["missing"]], np.float64)
    return np.array([entry["below"], *entry["counts"], entry["above"], entry["missing"]], np.float64)


def _numbers(entry: Mapping[str, Any], values: pl.Series) -> tuple[Floats, Floats]:
    """Return both counts, in the cells of `counts`."""
    numbers = values.fill_nan(None).drop_nulls().to_numpy()
    edges = np.array(entry["edges"], dtype=np.float64)
    bins = np.searchsorted(edges, numbers, side="left") + 1  # a bin holds its upper edge
    if entry["lowest"] is not None:
        bins[numbers < entry["lowest"]] = 0
    new = np.bincount(bins, minlength=len(edges) + 2).tolist()
    return counts(entry), np.array([*new, len(values) - len(numbers)], dtype=np.float64)


def _texts(entry: Mapping[str, Any], values: pl.Series) -> tuple[Floats, Floats]:
    """Return both counts, in the cells of `counts`."""
    counted = dict(zip(*values.drop_nulls().value_counts().to_dict(as_series=False).values(), strict=True))
    new = [counted.pop(text, 0) for text in entry["counts"]]
    return counts(entry), np.array([*new, sum(counted.values()), values.null_count()], np.float64)


def psi(old: Floats, new: Floats) -> float:
    """Return the index of two counts of the same cells.

    Half a row is added to every cell, since an empty one has no logarithm.
    """
    used = (old > 0) | (new > 0)
    p, q = ((counts[used] + 0.5) / (counts[used] + 0.5).sum() for counts in (old, new))
    return float(np.sum((q - p) * np.log(q / p)))


def jensen_shannon(old: Floats, new: Floats) -> float:
    """Return the distance of two counts of the same cells; NaN where one has no row."""
    if not old.sum() or not new.sum():
        return float("nan")
    p, q = old / old.sum(), new / new.sum()
    middle = (p + q) / 2

    def divergence(share: Floats) -> float:
        there = share > 0
        return float(np.sum(share[there] * np.log2(share[there] / middle[there])))

    return float(np.sqrt(max(0.0, (divergence(p) + divergence(q)) / 2)))
