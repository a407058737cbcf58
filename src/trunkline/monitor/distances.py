"""How far a window's rows are from those of the reference, by the counts of both in the reference's bins.

Kolmogorov-Smirnov and Wasserstein are those of the bins, in which numbers are spread evenly; what is outside of the
bins counts as if it were at their ends.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from trunkline.core.arrays import Floats
from trunkline.monitor.tally import Subject, Tally
from trunkline.pipeline.evaluate import drift

FACTOR = 1.5  # by which numbers are at least multiplied, for it to be another unit
FIT = 0.05  # the mean distance of scaled quantiles, in deviations, up to which it is the same distribution
BETTER = 4  # times as well as the numbers themselves the scaled ones have to fit
LEVELS = 5  # quantiles that are compared at least
TEMPERATURES = ((1.8, 32.0), (5 / 9, -160 / 9), (1.8, -459.67), (5 / 9, 459.67 * 5 / 9))  # to °F and from it, °C and K

Row = tuple[str, float, float | None]  # measure, value, reference


def measured(subject: Subject, tally: Tally) -> Iterator[Row]:
    """Yield each measure of a feature or score in a window with rows, and what the reference has of it."""
    old, new = drift.counts(subject.entry), tally.counts.astype(np.float64)
    yield "psi", drift.psi(old, new), None
    yield "jensen_shannon", drift.jensen_shannon(old, new), None
    yield "missing", _share(new[-1], new), _share(old[-1], old)
    yield from _numbers(subject, tally, old, new) if subject.numeric else _texts(old, new)


def _numbers(subject: Subject, tally: Tally, old: Floats, new: Floats) -> Iterator[Row]:
    known, before = new[:-1], old[:-1]
    if not known.sum():
        return
    yield "out_of_range", _share(known[0] + known[-1], known), _share(before[0] + before[-1], before)
    yield "mean", tally.total / tally.known, subject.entry.get("mean")
    if before.sum():
        apart = np.abs(np.cumsum(known)[:-1] / known.sum() - np.cumsum(before)[:-1] / before.sum())
        yield "ks", float(apart.max()), None
        spread = deviation(subject.entry)
        if spread:
            yield "wasserstein", _wasserstein(subject.entry, known, before) / spread, None
        if len(tally.buckets.codes):
            yield "unit", unit(subject.entry, tally), 1.0


def _texts(old: Floats, new: Floats) -> Iterator[Row]:
    known, before = new[:-1], old[:-1]
    if known.sum():
        unseen = max(0.0, _share(known[-1], known) - _share(before[-1], before))
        yield "new", unseen, 0.0
        gone = (before[:-1] > 0) & (known[:-1] == 0)
        yield "vanished", float(before[:-1][gone].sum() / before.sum()) if before.sum() else 0.0, 0.0


def deviation(entry: Any) -> float:
    """Return the standard deviation of a number in the reference, in its unit; of an older bundle, that of its bins."""
    if entry.get("deviation") is not None:
        return float(entry["deviation"])
    if not entry["edges"]:
        return 0.0
    ends = np.array([entry["lowest"], *entry["edges"]])
    rows, low, high = np.array(entry["counts"], np.float64), ends[:-1], ends[1:]
    if not rows.sum():
        return 0.0
    centre = (low + high) / 2
    mean = (rows * centre).sum() / rows.sum()
    return float(np.sqrt((rows * (np.square(centre - mean) + np.square(high - low) / 12)).sum() / rows.sum()))


def _wasserstein(entry: Any, new: Floats, old: Floats) -> float:
    """Return the area between the two distribution functions, which are straight lines within a bin."""
    ends = np.array([entry["lowest"], *entry["edges"]])
    apart = (np.cumsum(new) / new.sum() - np.cumsum(old) / old.sum())[:-1]  # at each of the ends
    left, right, widths = apart[:-1], apart[1:], np.diff(ends)
    same = left * right >= 0
    crossed = (np.square(left) + np.square(right)) / np.where(same, 1, 2 * (np.abs(left) + np.abs(right)))
    areas = np.where(same, (np.abs(left) + np.abs(right)) / 2, crossed)
    return float((areas * widths).sum())


def unit(entry: Any, tally: Tally) -> float:
    """Return by which factor numbers are multiplied, such as 1.609 for miles that come as kilometres; 1 for none.

    It is a factor where the quantiles of the reference, times it, are those of the window's numbers, much better than
    they are themselves; or as temperatures are converted, of which those with a factor are known.
    """
    levels, old = _quantiles(entry)
    if len(levels) < LEVELS:
        return 1.0
    new = tally.buckets.quantiles(levels)
    spread = new.std()
    if not spread or not old.any():
        return 1.0
    itself = np.abs(new - old).mean() / spread
    for factor, constant in (((old * new).sum() / np.square(old).sum(), 0.0), *TEMPERATURES):
        misfit = np.abs(new - factor * old - constant).mean() / spread
        if _another(factor) and misfit <= FIT and misfit * BETTER <= itself:
            return float(factor)
    return 1.0


def _another(factor: float) -> bool:
    return factor > 0 and max(factor, 1 / factor) >= FACTOR


def _quantiles(entry: Any) -> tuple[Floats, Floats]:
    """Return the shares of the reference's numbers up to each edge but the last one, and these edges."""
    counts, edges = np.array(entry["counts"], np.float64), np.array(entry["edges"], np.float64)
    total = counts.sum() + entry["below"] + entry["above"]
    shares = (np.cumsum(counts) + entry["below"])[:-1] / total if total else counts[:-1]
    return shares, edges[:-1]


def _share(part: float, of: Floats) -> float:
    total = of.sum()
    return float(part / total) if total else float("nan")
