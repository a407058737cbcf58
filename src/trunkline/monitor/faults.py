"""The faults that `trunkline monitor --self-test` plants, declared as data, and what each does to rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from trunkline.core.tasks import NUMERIC, Task
from trunkline.serve.labels.store import OUTCOME

Kind = Literal["shift", "slice", "labels", "frozen", "rows", "unit", "gone"]


@dataclass(frozen=True)
class Fault:
    """A fault, how large it is, and what it is in words, of {feature} and {slice}."""

    name: str
    kind: Kind
    size: float
    words: str


FAULTS = (
    Fault("shift in one feature", "shift", 1.5, "{feature} is {size:g} standard deviations larger"),
    Fault("shift in one slice", "slice", 1.5, "{feature} is {size:g} standard deviations larger where {slice}"),
    Fault("swapped labels", "labels", 1.0, "the outcomes are those of another answer"),
    Fault("frozen sensor", "frozen", 1.0, "{feature} stays at its last value"),
    Fault("missing rows", "rows", 0.9, "{size:.0%} of the rows are not logged"),
    Fault("unit change", "unit", 2.54, "{feature} is in another unit: times {size:g}"),
    Fault("feature gone", "gone", 1.0, "{feature} is missing in all rows"),
)


@dataclass(frozen=True)
class Place:
    """Where faults are planted: a feature that is a number, its standard deviation, and a value of a column."""

    feature: str
    deviation: float
    column: str | None = None
    label: str | None = None

    def words(self, fault: Fault) -> str:
        """Say what a fault is here."""
        where = f"{self.column} is {self.label}" if self.column else "any"
        return fault.words.format(feature=self.feature, slice=where, size=fault.size)


def planted(fault: Fault, place: Place, rows: pl.DataFrame, task: Task) -> pl.DataFrame:
    """Return rows with a fault in all of them, before they are scored; the outcome is the column `outcome`."""
    name, size = place.feature, fault.size
    moved = pl.col(name) + size * place.deviation
    there = pl.lit(True) if place.column is None else pl.col(place.column).cast(pl.String) == place.label
    changes: Mapping[Kind, Callable[[], pl.DataFrame]] = {
        "shift": lambda: rows.with_columns(moved.alias(name)),
        "slice": lambda: rows.with_columns(pl.when(there).then(moved).otherwise(name).alias(name)),
        "labels": lambda: rows.with_columns(_swapped(rows[OUTCOME], task)),
        "frozen": lambda: rows.with_columns(pl.col(name).drop_nulls().first().alias(name)),
        "rows": lambda: rows.gather_every(round(1 / (1 - size))),
        "unit": lambda: rows.with_columns((pl.col(name) * size).alias(name)),
        "gone": lambda: rows.with_columns(pl.lit(None, rows.schema[name]).alias(name)),
    }
    return changes[fault.kind]()


def _swapped(outcomes: pl.Series, task: Task) -> pl.Series:
    if task == "binary":
        return ~outcomes.cast(pl.Boolean)
    if task in NUMERIC:
        return outcomes.reverse()
    classes = outcomes.unique().sort().to_list()
    return outcomes.replace(dict(zip(classes, classes[1:] + classes[:1], strict=True)))
