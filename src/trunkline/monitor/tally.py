"""Counts of a window's rows in the bins of the reference: what can be added up, whatever the order the rows come in.

Memory grows with windows and features, not with rows.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from trunkline.core.arrays import Floats, Integers
from trunkline.core.tasks import SCORE
from trunkline.monitor import table
from trunkline.monitor.buckets import Buckets
from trunkline.monitor.rows import feature
from trunkline.pipeline.evaluate.reference import BINS
from trunkline.serve.log import TIME

PARTS = 24  # of a window, in each of which a number may stand still

_PART = "part"


@dataclass(frozen=True)
class Subject:
    """What is counted: a feature or a score by its name, with its entry of reference.json."""

    kind: str
    name: str
    entry: Mapping[str, Any] = field(hash=False)

    @property
    def numeric(self) -> bool:
        """Whether it is a number, or else a text."""
        return not isinstance(self.entry["counts"], Mapping)

    @property
    def column(self) -> str:
        """Its column in a batch."""
        return feature(self.name) if self.kind == table.FEATURE else self.name

    @property
    def texts(self) -> list[str] | None:
        """The texts that have a cell of their own; None of a number."""
        return None if self.numeric else list(self.entry["counts"])

    @property
    def moving(self) -> bool:
        """Whether it is a feature of so many values that it should not stand still."""
        return self.kind == table.FEATURE and self.numeric and len(self.entry["edges"]) == BINS

    @property
    def bins(self) -> list[str]:
        """The names of the cells of its counts, in the order of `drift.counts`."""
        if self.numeric:
            return ["below", *(f"{edge:g}" for edge in self.entry["edges"]), "above", "missing"]
        return [*self.entry["counts"], "other", "missing"]


@dataclass
class Tally:
    """A window's rows of one subject: counts in the cells of `drift.counts`; the sum of numbers, and their buckets."""

    counts: Integers
    total: float = 0.0
    buckets: Buckets = field(default_factory=Buckets)

    def merge(self, other: "Tally") -> None:
        """Add what another has of rows of the window."""
        self.counts += other.counts
        self.total += other.total
        self.buckets.merge(other.buckets)

    @property
    def rows(self) -> int:
        """All rows, those without a value included."""
        return int(self.counts.sum())

    @property
    def known(self) -> int:
        """The rows that have a value."""
        return self.rows - int(self.counts[-1])


@dataclass
class Still:
    """The least and the largest value of each part of a window, and how many rows have one; shape (PARTS, numbers)."""

    least: Floats
    largest: Floats
    rows: Integers

    @classmethod
    def of(cls, count: int) -> "Still":
        """Begin with no rows of so many numbers."""
        shape = (PARTS, count)
        return cls(np.full(shape, np.inf), np.full(shape, -np.inf), np.zeros(shape, np.int64))

    def merge(self, other: "Still") -> None:
        """Add what another has of rows of the window."""
        self.least = np.fmin(self.least, other.least)
        self.largest = np.fmax(self.largest, other.largest)
        self.rows += other.rows

    def shares(self) -> list[float]:
        """Return the share of each number's rows that are in the longest run of parts with one and the same value.

        A part without rows ends no run. NaN for a number without rows.
        """
        return [_longest(*of) for of in zip(self.least.T, self.largest.T, self.rows.T, strict=True)]


@dataclass
class Window:
    """What is counted of a window."""

    tallies: dict[Subject, Tally]
    still: Still


class Tallies:
    """The counts of all windows by their start; `subjects` are what is counted."""

    def __init__(self, subjects: Sequence[Subject], window: timedelta) -> None:
        """Begin with no rows."""
        self.subjects = tuple(subjects)
        self.moving = tuple(each for each in subjects if each.moving)
        self.windows: dict[datetime, Window] = {}
        self._width = window // timedelta(microseconds=1)
        self._numbers = [each for each in subjects if each.numeric]
        self._counted = [each for place, subject in enumerate(self._numbers) for each in _above(place, subject)]

    def add(self, start: datetime, rows: pl.DataFrame) -> None:
        """Count rows of one window that have a score; columns as `rows.Reader` has them."""
        window, counted = self._window(start), rows.select(self._counted).row(0)
        if any(isinstance(each, float) and math.isnan(each) for each in counted):  # NaN is missing, too
            rows = rows.with_columns(pl.col(each.column for each in self._numbers).fill_nan(None))
            counted = rows.select(self._counted).row(0)
        self._add_numbers(window, rows, iter(counted))
        for subject in self.subjects:
            if not subject.numeric:
                cells = rows[subject.column].to_numpy()
                window.tallies[subject].counts += np.bincount(cells, minlength=len(subject.bins))
        if self.moving:
            self._add_parts(window.still, rows)

    def merge(self, other: "Tallies") -> None:
        """Add what another has of the same subjects."""
        for start, of in other.windows.items():
            window = self._window(start)
            for tally, more in zip(window.tallies.values(), of.tallies.values(), strict=True):
                tally.merge(more)
            window.still.merge(of.still)

    def _window(self, start: datetime) -> Window:
        if start not in self.windows:
            empty = {subject: Tally(np.zeros(len(subject.bins), np.int64)) for subject in self.subjects}
            self.windows[start] = Window(empty, Still.of(len(self.moving)))
        return self.windows[start]

    def _add_numbers(self, window: Window, rows: pl.DataFrame, values: Iterator[Any]) -> None:
        for subject in self._numbers:
            tally, edges = window.tallies[subject], len(subject.entry["edges"])
            known, below, total = next(values), next(values), next(values)
            above = np.array([known - below, *(next(values) for _ in range(edges))], np.int64)
            tally.counts += np.array([below, *-np.diff(above), above[-1], rows.height - known], np.int64)
            tally.total += total
            if subject.kind == table.FEATURE:
                tally.buckets.add(rows[subject.column].drop_nulls().to_numpy())

    def _add_parts(self, still: Still, rows: pl.DataFrame) -> None:
        names = [each.column for each in self.moving]
        part = rows.select(pl.col(TIME).cast(pl.Int64) % self._width * PARTS // self._width).to_series().alias(_PART)
        if part.is_sorted():  # as logged, mostly: then groups are slices
            part = part.set_sorted()
        columns = [of for name in names for of in _ends(pl.col(name), name)]
        parts = rows.select(names).with_columns(part).group_by(_PART).agg(columns)
        places = parts[_PART].to_numpy()
        least, largest, count = (
            parts.select(f"{what}:{name}" for name in names).to_numpy() for what in ("least", "largest", "count")
        )
        still.least[places] = np.fmin(still.least[places], least.astype(np.float64))
        still.largest[places] = np.fmax(still.largest[places], largest.astype(np.float64))
        still.rows[places] += count.astype(np.int64)


def subjects(reference: Mapping[str, Any], features: Sequence[str], scores: Sequence[str]) -> list[Subject]:
    """Return features and scores with their entries; a score of several classes has that of its class."""
    own = [Subject(table.FEATURE, name, reference["features"][name]) for name in features]
    classes = reference["scores"].get("classes", {})
    entries = {f"{SCORE}_{name}": entry for name, entry in classes.items()} or {SCORE: reference["scores"]}
    return own + [Subject(table.SCORE, name, entries[name]) for name in scores]


def _above(place: int, subject: Subject) -> list[pl.Expr]:
    """Return how many numbers there are, how many are below the bins, their sum, and how many are above each edge."""
    values, lowest = pl.col(subject.column), subject.entry["lowest"]
    below = (values < lowest).sum() if lowest is not None else pl.lit(0)
    of_all = [values.count(), below, values.sum()]
    above = [(values > edge).sum() for edge in subject.entry["edges"]]
    return [each.alias(f"{place}:{number}") for number, each in enumerate((*of_all, *above))]


def _ends(values: pl.Expr, name: str) -> list[pl.Expr]:
    of = {"least": values.min(), "largest": values.max(), "count": values.count()}
    return [each.alias(f"{what}:{name}") for what, each in of.items()]


def _longest(least: Floats, largest: Floats, rows: Integers) -> float:
    there = rows > 0
    longest, run, value = 0, 0, np.nan
    for low, high, count in zip(least[there], largest[there], rows[there], strict=True):
        one = low == high
        run = (run if low == value else 0) + count if one else 0
        value = low if one else np.nan
        longest = max(longest, run)
    return float(longest / rows.sum()) if there.any() else float("nan")
