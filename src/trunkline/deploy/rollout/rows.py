"""The rows of a log that a step compares, an hour at a time: those of both arms, with their key and slices as texts.

In shadow both arms have the same rows, in the same order; in canary an arm has the rows of its own keys. Rows of
another environment are left out; those that name none, in logs of older servers, are taken for the step's.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

import polars as pl

from trunkline.core.errors import UserError
from trunkline.core.tasks import SCORE
from trunkline.serve.labels import join
from trunkline.serve.labels.store import INSTANT, OUTCOME, Outcomes
from trunkline.serve.log import INPUTS, REQUEST, TIME
from trunkline.serve.prediction_log.place import Place
from trunkline.serve.prediction_log.segments import COLUMNS, ENVIRONMENT, ROW

if TYPE_CHECKING:  # trunkline monitor joins its rows here, too, and starts sooner without conf/rollout
    from trunkline.deploy.rollout.step import Step

MISSING = "(missing)"
CLUSTER, SECONDS = "cluster", "seconds"
ERROR, REFUSAL = "error", "refusal"

_CURRENT = "current"
_ARM, _PROBLEM, _SCORING = "arm", "problem", "scoring"
_READ: dict[str, pl.DataType] = {
    REQUEST: pl.String(), ROW: pl.Int64(), TIME: INSTANT, _ARM: pl.String(), COLUMNS: pl.String(),
    _SCORING: pl.Float64(), _PROBLEM: pl.String(), ENVIRONMENT: pl.String(),
}  # fmt: skip
_ID = [REQUEST, ROW]
_SEPARATOR, _ASKED = "\x1f", ":asked"


@dataclass(frozen=True)
class Hour:
    """Rows of both arms up to `end`: request_id, row, time, error, refusal, seconds, cluster, slices, scores, outcome.

    `seconds` are those that the model took for a request, at the first of the arm's rows, null at the others: those of
    the answer would be the server's as well, which does more for a canary. A slice's column is `slice:NAME`.
    """

    end: datetime
    current: pl.DataFrame
    candidate: pl.DataFrame


@dataclass
class Reader:
    """Reads the rows of a step up to a moment (UTC), with their `outcomes` as of it; None: outcomes are not needed."""

    place: Place
    step: "Step"
    until: datetime
    outcomes: Outcomes | None = None
    scores: tuple[str, ...] = field(default=(), init=False)

    def hours(self) -> Iterator[Hour]:
        """Yield each hour that has rows, in order; raises UserError where the log lacks a column of the key."""
        arms = self._apart if self.step.kind == "canary" else self._pairs
        for hour, segments in groupby(self._segments(), key=lambda each: each[0]):
            end = datetime.strptime(f"{hour}+0000", "%Y-%m-%dT%H%z") + timedelta(hours=1)
            rows = pl.concat([self._read(folder, name) for _, folder, name in segments], how="diagonal_relaxed")
            current, candidate = arms(rows)
            yield Hour(min(end, self.until), current, candidate)

    def _segments(self) -> list[tuple[str, str, str]]:
        """Return the hour, folder and name of each segment that may have rows of the step, in order of the hours."""
        first, last = (f"{moment:%Y-%m-%dT%H}" for moment in (self.step.since, self.until))
        listed = []
        for folder, name in self.place.segments():
            version, _, hour = folder.partition("/")
            if version in (self.step.candidate, self.step.current) and first <= hour <= last:
                listed.append((hour, folder, name))
        return sorted(listed)

    def _read(self, folder: str, name: str) -> pl.DataFrame:
        names = {*self.step.rollout.key, *self.step.rules.slices}
        names |= {name for key in self.outcomes.keys for name in key.names} if self.outcomes else set()
        with self.place.open(folder, name) as file:
            stored: dict[str, Any] = {field.name: field.type for field in file.schema_arrow}
            scores = [each for each in stored if each == SCORE or each.startswith(f"{SCORE}_")]
            has_inputs = getattr(stored[INPUTS], "num_fields", 0) > 0
            inputs = [each.name for each in stored[INPUTS] if each.name in names] if has_inputs else []
            wanted = [*(each for each in _READ if each in stored), *(f"{INPUTS}.{each}" for each in inputs), *scores]
            frame: Any = pl.from_arrow(file.read(wanted))
        self.scores = tuple(scores)
        lacking = [pl.lit(None, kind).alias(each) for each, kind in _READ.items() if each not in stored]
        rows = frame.with_columns(lacking).filter(
            pl.col(_ARM).is_in([_CURRENT, self.step.kind])
            & (pl.col(ENVIRONMENT).is_null() | (pl.col(ENVIRONMENT) == self.step.environment))
            & pl.col(TIME).is_between(self.step.since, self.until, closed="both")
        )
        return self._prepared(rows, f"{folder}/{name}")

    def _prepared(self, rows: pl.DataFrame, where: str) -> pl.DataFrame:
        """Return rows with all that an Hour has, and the arm."""
        key, slices = self.step.rollout.key, self.step.rules.slices
        columns = texts(rows, [*key, *slices])
        for name in dict.fromkeys((*key, *slices)):
            if rows.height and columns[name].null_count() == rows.height and name not in _named(rows):
                raise UserError(
                    f"{where}: has no column {name}, which the rollout of {self.step.environment} needs; declare "
                    f"serving.log.columns.{name}: keep or hash in conf/serving, or name other columns in conf/deploy"
                )
        outcome = self._outcomes(rows)
        cluster = pl.DataFrame({name: columns[name] for name in key}).select(
            pl.concat_str(list(key), separator=_SEPARATOR)
        )
        first = pl.int_range(pl.len()).over(REQUEST, _ARM, order_by=ROW) == 0
        problem = pl.col(_PROBLEM)
        return rows.select(
            *_ID, TIME, _ARM, *self.scores,
            (problem.is_not_null() & ~problem.str.starts_with("refused")).alias(ERROR),
            (problem.is_not_null() & problem.str.starts_with("refused")).alias(REFUSAL),
            pl.when(first).then(pl.col(_SCORING)).alias(SECONDS),
            cluster.to_series().alias(CLUSTER),
            *(columns[name].fill_null(MISSING).alias(f"slice:{name}") for name in slices),
            outcome,
        )  # fmt: skip

    def _outcomes(self, rows: pl.DataFrame) -> pl.Series:
        if self.outcomes is None:
            return pl.Series(OUTCOME, [None] * rows.height, pl.Boolean)
        return join.joined(rows, self.outcomes, self.until)[OUTCOME]

    def _apart(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the rows of both arms. Those without a key are of neither: the current version answers them all."""
        current, candidate = (rows.filter(pl.col(_ARM) == arm) for arm in (_CURRENT, self.step.kind))
        # What the candidate could not answer was answered by the current version, whose row has the key. It is the
        # candidate's all the same.
        asked = current.select(*_ID, *_of_request(rows)).unique(_ID, keep="first")
        candidate = candidate.join(asked, on=_ID, how="left", suffix=_ASKED, maintain_order="left")
        candidate = candidate.select(
            pl.coalesce(f"{name}{_ASKED}", name).alias(name) if name in asked.columns and name not in _ID else name
            for name in rows.columns
        )
        current = current.join(candidate, on=_ID, how="anti")
        return current.filter(pl.col(CLUSTER).is_not_null()), candidate.filter(pl.col(CLUSTER).is_not_null())

    def _pairs(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the rows that both arms have, in one order. A row without a key is a cluster of its own request."""
        rows = rows.with_columns(pl.coalesce(CLUSTER, REQUEST).alias(CLUSTER))
        current, candidate = (
            rows.filter(pl.col(_ARM) == arm).unique(_ID, keep="first", maintain_order=True)
            for arm in (_CURRENT, self.step.kind)
        )
        current = current.join(candidate.select(_ID), on=_ID, how="semi").sort(_ID)
        candidate = candidate.join(current.select(_ID), on=_ID, how="semi").sort(_ID)
        # A row that has no score has no inputs either; so the row that was answered says what both are of.
        candidate = candidate.with_columns(current[name] for name in _of_request(rows))
        return _both(current, candidate, [*self.scores, SECONDS])


def _of_request(rows: pl.DataFrame) -> list[str]:
    """Return the columns that a row has by its request, whichever arm scored it."""
    return [name for name in rows.columns if name in (CLUSTER, OUTCOME) or name.startswith("slice:")]


def _both(current: pl.DataFrame, candidate: pl.DataFrame, names: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Leave out the values that only one arm of a pair has."""
    masks = {name: current[name].is_not_null() & candidate[name].is_not_null() for name in names}
    empty = pl.lit(None, pl.Float64())
    arms = [
        arm.with_columns(pl.when(mask).then(pl.col(name)).otherwise(empty).alias(name) for name, mask in masks.items())
        for arm in (current, candidate)
    ]
    return arms[0], arms[1]


def _named(rows: pl.DataFrame) -> frozenset[str]:
    """Return the names of the inputs that rows have, null or not."""
    kind = rows.schema.get(INPUTS)
    return frozenset(field.name for field in kind.fields) if isinstance(kind, pl.Struct) else frozenset()


def texts(rows: pl.DataFrame, names: Sequence[str]) -> dict[str, pl.Series]:
    """Return columns of the request as texts: of its own columns where the log has them, else of the inputs."""
    inputs = _named(rows)
    own = {
        name: rows[INPUTS].struct.field(name) if name in inputs else pl.Series(name, [None] * rows.height, pl.String)
        for name in names
    }
    columns = {name: _text(column) for name, column in own.items()}
    if rows[COLUMNS].null_count() < rows.height:
        given = [{} if text is None else json.loads(text) for text in rows[COLUMNS].to_list()]
        for name in names:
            values = [each.get(name) for each in given]
            written = [
                each if each is None or isinstance(each, str) else json.dumps(each).removesuffix(".0")
                for each in values
            ]
            column = pl.Series(name, written, pl.String)
            columns[name] = pl.select(pl.coalesce(column, columns[name]).alias(name)).to_series()
    return columns


def _text(column: pl.Series) -> pl.Series:
    text = column.cast(pl.String)
    return text.str.strip_suffix(".0") if column.dtype.is_float() else text
