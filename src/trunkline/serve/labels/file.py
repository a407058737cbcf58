"""Reads a file of outcomes: whose each is, what it is, and when it arrived; what is not as declared is refused by row.

The outcome is the label's own column, or computed of the columns that training computes it of.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import polars as pl

from trunkline.bundle import columns as bundle_columns
from trunkline.core.errors import UserError
from trunkline.core.expressions import Expression, columns
from trunkline.core.tables import rows as table_rows
from trunkline.core.tables.rows import UnfitError
from trunkline.core.tasks import CLASSES, MOST_RELEVANT, NUMERIC
from trunkline.serve import raw, tables
from trunkline.serve.labels import identity
from trunkline.serve.labels.declared import Declared, column
from trunkline.serve.labels.identity import KEY
from trunkline.serve.labels.store import ARRIVED, INSTANT, OUTCOME, TYPES
from trunkline.serve.log import REQUEST
from trunkline.serve.online.reader import DeclaredColumn
from trunkline.serve.prediction_log.segments import ROW
from trunkline.serve.tables import RowsFile

NUMBER = "number"  # of a row in its file, counted from 1 below the header

PART = 1 << 16  # rows that are read, and stored, at once


@dataclass(frozen=True)
class Columns:
    """Which columns of a file have the request's id, the number of its row, and when the outcome arrived.

    Without `id`, an outcome is that of a key; without `row`, of the request's first row.
    """

    id: str | None = None
    row: str | None = None
    at: str | None = None


@dataclass(frozen=True)
class Part:
    """Outcomes of a file: `number`, request_id, row, key, outcome, arrived_at; and what became of its other rows.

    `missing` are without an outcome, `later` arrive after now; `refused` says why, by number.
    """

    outcomes: pl.DataFrame
    rows: int
    missing: int = 0
    later: int = 0
    refused: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class OutcomesFile:
    """A file of outcomes, of the columns that it is read by."""

    table: RowsFile
    declared: Declared
    by: Columns

    def check(self) -> None:
        """Raise UserError for a column that is missing, or stored in a type that cannot hold it."""
        self._require(name for name in (self.by.id, self.by.row, self.by.at) if name is not None)
        if self.by.id is None:
            self._require(self.declared.key.names, "; or name the column of request ids: --id COLUMN")
        self._require(self._made_of, f"; or supply {self.declared.label.name} itself")
        tables.check_types(self.table, {name: self._types[name] for name in self._read})

    def parts(self, now: datetime) -> Iterator[Part]:
        """Yield the outcomes that have arrived by now, `PART` rows at a time; raises UserError for a broken file."""
        start = 1
        for chunk in self.table.chunks(PART):
            yield self._part(chunk, start, now)
            start += len(chunk)

    @property
    def says_when(self) -> bool:
        """Whether the file says when an outcome arrived, itself or by its event; else it arrives as it is imported."""
        return self.by.at is not None or self._by_event

    @property
    def _by_event(self) -> bool:
        event_time = self.declared.event_time
        return self.by.at is None and event_time is not None and all(map(self._has, columns(event_time)))

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.table.schema.names)

    def _has(self, name: str) -> bool:
        """Tell whether the file has a column, or those that it is derived of."""
        derived = self.declared.derived
        return name in self._names or (name in derived and self._names.issuperset(columns(derived[name])))

    def _require(self, names: Iterable[str], advice: str = "") -> None:
        for name in names:
            if not self._has(name):
                raise UserError(f"{self.table.path}: column {name}: is missing; supply it{advice}")

    @property
    def _made_of(self) -> list[str]:
        """The columns that tell the outcome."""
        label = self.declared.label.name
        return [label] if label in self._names else [*columns(self.declared.expression)]

    @cached_property
    def _wanted(self) -> tuple[str, ...]:
        """The columns that tell whose an outcome is, what it is and when it arrived; some may be derived."""
        whose = (self.by.id, self.by.row) if self.by.id is not None else self.declared.unique_key
        event_time = self.declared.event_time
        when = columns(event_time) if event_time is not None and self._by_event else (self.by.at,)
        return tuple(name for name in dict.fromkeys((*whose, *self._made_of, *when)) if name is not None)

    @cached_property
    def _derived(self) -> dict[str, Expression]:
        return {name: self.declared.derived[name] for name in self._wanted if name not in self._names}

    @cached_property
    def _read(self) -> tuple[str, ...]:
        """The columns that are read of the file."""
        parts = [part for expression in self._derived.values() for part in columns(expression)]
        return tuple(dict.fromkeys([*(name for name in self._wanted if name in self._names), *parts]))

    @cached_property
    def _types(self) -> dict[str, DeclaredColumn]:
        own = {self.declared.label.name: self.declared.own} if self.declared.label.name in self._names else {}
        by = {
            self.by.id: column("text"),
            self.by.row: column("integer", least=0),
            self.by.at: column("time"),
        }
        return {**self.declared.columns, **own, **{name: of for name, of in by.items() if name is not None}}

    def _part(self, chunk: Any, first: int, now: datetime) -> Part:
        frame, refused = self._converted(chunk, first)
        number = pl.int_range(first, first + frame.height, eager=True).alias(NUMBER)
        rows = pl.DataFrame([number, self._outcome(frame, first), self._arrival(frame, first, now)])
        refused = dict(sorted((self._odd(rows) | refused).items()))
        rows, frame = (each.filter(~number.is_in([*refused])) for each in (rows, frame))
        present, arrived = rows[OUTCOME].is_not_null(), rows[ARRIVED] <= now
        taken = present & arrived
        outcomes = pl.concat([rows.filter(taken), self._whose(frame.filter(taken))], how="horizontal")
        return Part(outcomes, len(chunk), int((~present).sum()), int((present & ~arrived).sum()), refused)

    def _converted(self, chunk: Any, first: int) -> tuple[pl.DataFrame, dict[int, str]]:
        """Return the columns in their types, and why rows are refused, by number."""
        if self.table.format == "csv":
            chunk = tables.without_nulls(chunk, {name: self._types[name].nulls for name in self._read})
        read = pl.DataFrame([pl.Series(name, pl.from_arrow(chunk[name])) for name in self._read])
        with self._naming_rows(first, read.height):
            read = table_rows.add_derived(read, self._types, self._derived, self.declared.zone)
        frame, breaches = raw.converted(read, self._types, self._derived)
        reasons = bundle_columns.reasons(read.to_arrow(), breaches)
        return frame, {first + row: reason for row, reason in reasons.items()}

    def _outcome(self, frame: pl.DataFrame, first: int) -> pl.Series:
        label = self.declared.label
        own = frame[label.name] if label.name in self._names else self._computed(frame, self.declared.expression, first)
        return own.cast(TYPES[label.task]).alias(OUTCOME)

    def _arrival(self, frame: pl.DataFrame, first: int, now: datetime) -> pl.Series:
        """Return when each outcome arrived: as a column says, so long after its event as it is declared, or now."""
        if self.by.at is not None:
            times = frame[self.by.at]
        elif self._by_event and self.declared.event_time is not None:
            times = self._computed(frame, self.declared.event_time, first) + self.declared.known_after
        else:
            return pl.repeat(now, frame.height, dtype=INSTANT, eager=True).alias(ARRIVED)
        return times.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(ARRIVED)

    def _computed(self, frame: pl.DataFrame, expression: Expression, first: int) -> pl.Series:
        with self._naming_rows(first, frame.height):
            return table_rows.compute(frame, {"value": expression}, self.declared.zone)["value"]

    def _odd(self, rows: pl.DataFrame) -> dict[int, str]:
        """Return what is wrong with outcomes that could be read, by number."""
        label, outcome = self.declared.label, rows[OUTCOME]
        wrong = {"when it arrived is not known: its event has no time": rows[ARRIVED].is_null()}
        if label.task in CLASSES:
            wrong[f"{label.name}: is not one of {', '.join(label.class_names)}"] = ~outcome.is_in(label.class_names)
        if label.task in NUMERIC:
            wrong[f"{label.name}: is not a finite number"] = ~outcome.is_finite()
        if label.task == "count":
            wrong[f"{label.name}: is not a whole number of at least 0"] = (outcome < 0) | (outcome % 1 != 0)
        if label.task == "ranking":
            fits = outcome.is_between(0, MOST_RELEVANT) & (outcome % 1 == 0)
            wrong[f"{label.name}: is not a whole number from 0 to {MOST_RELEVANT}"] = ~fits
        if label.task == "multilabel":
            most = 2 ** len(label.class_names) - 1
            wrong[f"{label.name}: is not the number of a set, from 0 to {most}"] = ~outcome.is_between(0, most)
        present = outcome.is_not_null()
        return {number: reason for reason, mask in wrong.items() for number in rows.filter(mask & present)[NUMBER]}

    def _whose(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the request's id and row of each outcome, or its key."""
        none = pl.repeat(None, frame.height, dtype=pl.String, eager=True)
        if self.by.id is not None:
            row = frame[self.by.row] if self.by.row is not None else pl.repeat(0, frame.height, eager=True)
            return pl.DataFrame({REQUEST: frame[self.by.id], ROW: row.cast(pl.Int64), KEY: none})
        keys = identity.texts(frame.select(self.declared.unique_key))
        if self.declared.key.hashed:
            keys = [self.declared.privacy.request_columns(key) or "" for key in keys]
        return pl.DataFrame({REQUEST: none, ROW: none.cast(pl.Int64), KEY: pl.Series(keys, dtype=pl.String)})

    @contextmanager
    def _naming_rows(self, first: int, rows: int) -> Iterator[None]:
        """Name the file and the rows of a value that does not fit its type."""
        try:
            yield
        except UnfitError as error:
            raise UserError(f"{self.table.path}: rows {first:,} to {first + rows - 1:,}: {error}") from None
