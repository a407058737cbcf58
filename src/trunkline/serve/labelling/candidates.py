"""The rows that may be labelled: predictions of a log without an outcome, or the rows of a table.

An annotator sees neither a score nor an outcome, for both would be followed, and no personal column that the log would
leave out or hash.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from trunkline.core import expressions
from trunkline.core.errors import UserError, nearest
from trunkline.core.tables import convert
from trunkline.core.tables import rows as table_rows
from trunkline.core.tables.convert import Parsed
from trunkline.core.tasks import SCORE
from trunkline.serve import tables
from trunkline.serve.labels import join
from trunkline.serve.labels.declared import Declared
from trunkline.serve.labels.store import OUTCOME, Outcomes
from trunkline.serve.log import INPUTS, REQUEST, TIME
from trunkline.serve.prediction_log.place import Place
from trunkline.serve.prediction_log.segments import ARM, COLUMNS, PREDICTION_TIME, ROW
from trunkline.serve.tables import RowsFile

PER = "per"  # the column of slices, of those that are chosen equally of

_PART = 1 << 16  # rows that are read at once
_NOT_ANSWERED = "shadow"  # the arm


@dataclass(frozen=True)
class Slices:
    """An expression by whose values rows are chosen equally, with its name and the zone of its times."""

    name: str
    expression: str
    zone: str

    def of(self, rows: pl.DataFrame) -> pl.Series:
        """Return the value of each row as a text; raises UserError for a column that the rows lack."""
        for name in expressions.columns(expressions.parse(self.expression)):
            if name not in rows.columns:
                raise UserError(f"--per {self.name}: the rows have no column '{name}'{nearest(name, rows.columns)}")
        values = table_rows.evaluate(rows, {self.name: self.expression}, self.zone)[self.name]
        return values.cast(pl.String).alias(PER)


@dataclass(frozen=True)
class Logged:
    """Predictions of a log that were made since a moment and have no outcome as of now."""

    place: Place
    outcomes: Outcomes
    declared: Declared
    since: datetime | None
    now: datetime

    names = (REQUEST, ROW)

    def rows(self, slices: Slices | None) -> pl.DataFrame:
        """Return request_id, row, `arm`, the scores and, with slices, `per`: a row of each arm."""
        own = (*self.names, TIME, PREDICTION_TIME, ARM, *((INPUTS,) if slices else ()))
        pieces = []
        for read in join.predictions(self.place, *own, keys=True):
            rows = join.joined(read, self.outcomes, self.now).filter(pl.col(OUTCOME).is_null())
            rows = rows.filter(pl.col(TIME) >= self.since) if self.since else rows
            if rows.height:
                wanted = [*self.names, ARM, *(name for name in rows.columns if _is_score(name))]
                per = [slices.of(self._inputs(rows))] if slices else []
                pieces.append(rows.select(wanted).with_columns(*per))
        empty = pl.DataFrame(schema={REQUEST: pl.String(), ROW: pl.Int64(), ARM: pl.String(), PER: pl.String()})
        return pl.concat([empty if slices else empty.drop(PER), *pieces], how="diagonal_relaxed")

    def shown(self, chosen: pl.DataFrame) -> pl.DataFrame:
        """Return request_id and row of chosen rows, in their order, with what an annotator sees."""
        pieces = []
        for read in join.predictions(self.place, *self.names, ARM, INPUTS, keys=True):
            rows = read.filter(pl.col(ARM).ne_missing(_NOT_ANSWERED)).join(chosen, on=self.names, how="semi")
            if rows.height:
                visible = self._inputs(rows)
                visible = visible.drop(name for name in visible.columns if not _visible(name, self.declared))
                pieces.append(pl.concat([rows.select(self.names), visible], how="horizontal"))
        whole = pl.concat(pieces, how="diagonal_relaxed").unique(self.names, keep="first", maintain_order=True)
        return chosen.select(self.names).join(whole, on=self.names, how="left", maintain_order="left")

    def _inputs(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the request's columns, in their types of the contract, and the inputs."""
        inputs = rows[INPUTS].struct.unnest() if isinstance(rows.schema[INPUTS], pl.Struct) else pl.DataFrame()
        requested = [{} if text is None else json.loads(text) for text in rows[COLUMNS]]
        names = dict.fromkeys(name for each in requested for name in each if name not in inputs.columns)
        columns = [self._typed(name, [each.get(name) for each in requested]) for name in names]
        return pl.DataFrame([*columns, *(each for each in inputs.get_columns() if each.name not in self.names)])

    def _typed(self, name: str, values: Sequence[Any]) -> pl.Series:
        texts = pl.Series(name, [None if value is None else _text(value) for value in values], dtype=pl.String)
        kind = self.declared.columns[name].type if name in self.declared.columns else "text"
        return texts if self.declared.privacy.treatment(name) == "hash" else convert.parse(texts, kind).values


@dataclass(frozen=True)
class Tabled:
    """The rows of a table: scored ones by their request's id, others by the unique key."""

    table: RowsFile
    declared: Declared

    @property
    def names(self) -> tuple[str, ...]:
        """What a row is known by; raises UserError where nothing may be shown that tells one."""
        columns = self.table.schema.names
        if REQUEST in columns:
            return (REQUEST, ROW) if ROW in columns else (REQUEST,)
        for name in self.declared.unique_key:
            if name not in columns:
                raise UserError(f"{self.table.path}: column {name}: is missing; supply it, or {REQUEST} of each row")
            if self.declared.privacy.treatment(name) != "keep":
                raise UserError(
                    f"{self.table.path}: column {name}: tells who somebody is, and would be in each task; take the "
                    "rows of the prediction log, or of trunkline predict --traceable, which have an id"
                )
        return self.declared.unique_key

    def rows(self, slices: Slices | None) -> pl.DataFrame:
        """Return what names each row, its scores as numbers and, with slices, `per`."""
        names, pieces = self.names, []
        for read in self._parts():
            scores = [convert.parse(read[name], "number").values for name in read.columns if _is_score(name)]
            per = [slices.of(self._typed(read))] if slices else []
            pieces.append(read.select(names).with_columns(*scores, *per))
        return pl.concat(pieces) if pieces else pl.DataFrame(schema=dict.fromkeys(names, pl.String()))

    def shown(self, chosen: pl.DataFrame) -> pl.DataFrame:
        """Return what names the chosen rows, in their order, with what an annotator sees."""
        visible = [name for name in self.table.schema.names if name in self.names or _visible(name, self.declared)]
        pieces = [read.join(chosen, on=self.names, how="semi").select(visible) for read in self._parts()]
        whole = pl.concat(pieces).unique(self.names, keep="first", maintain_order=True)
        return chosen.select(self.names).join(whole, on=self.names, how="left", maintain_order="left")

    def _parts(self) -> Iterator[pl.DataFrame]:
        for chunk in self.table.chunks(_PART):
            yield pl.DataFrame(pl.from_arrow(chunk))

    def _typed(self, read: pl.DataFrame) -> pl.DataFrame:
        kinds = {name: column.type for name, column in self.declared.columns.items() if name in read.columns}
        parsed: list[Parsed] = [convert.parse(read[name], kind) for name, kind in kinds.items()]
        return read.with_columns(each.values for each in parsed)


def _is_score(name: str) -> bool:
    return name == SCORE or name.startswith(f"{SCORE}_")


def _visible(name: str, declared: Declared) -> bool:
    """Tell whether an annotator sees a column."""
    hidden = {declared.label.name, tables.ROW, tables.REASONS, *declared.known_later}
    return name not in hidden and not _is_score(name) and declared.privacy.treatment(name) == "keep"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
