"""When a row happens, and which rows are held out: the last ones, or, without a time, some by a hash. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from trunkline.core import expressions
from trunkline.core.errors import UserError
from trunkline.init import names
from trunkline.init.profile import Column, Table
from trunkline.init.roles import ColumnRole, words
from trunkline.init.target import FEWEST, Target
from trunkline.tables import rows

HELD_OUT = 0.25  # share of the rows
_FEWEST_ROWS, _FEWEST_DAYS = 50, 8
_PARTS = {"year": ("year",), "month": ("month",), "day": ("day", "day_of_month", "dayof_month", "dayofmonth", "mday")}
_CLOCK = re.compile(r"(crs|sched\w*)_?dep_?time|sched\w*_?time|hhmm")
_UNITS = {
    "days": (3_650, 73_000),
    "minutes": (3.15e8, 6.3e9),
    "milli": (3.15e11, 6.3e12),
}  # since 1970, of 1980 to 2169


@dataclass(frozen=True)
class Window:
    """The first and the last day that is learnt from, and of those that are held out."""

    train: tuple[str, str]
    holdout: tuple[str, str]
    known_after: str


@dataclass(frozen=True)
class Timing:
    """When a row happens, as an expression; `columns` are what it reads. `window` is None where a hash splits."""

    event_time: str | None
    columns: tuple[str, ...]
    window: Window | None
    why: str


def timing(table: Table, roles: dict[str, ColumnRole], of: Target, labels: pl.Series, wanted: str | None) -> Timing:
    """Return how rows lie in time; `wanted` is the column that a person has named.

    Raises UserError for a column that is no time.
    """
    chosen = _named(table.column(wanted)) if wanted is not None else _guessed(table, roles)
    if chosen is None:
        return Timing(None, (), None, "no column is the time of a row")
    read = tuple(dict.fromkeys(expressions.columns(expressions.parse(chosen))))
    times = rows.evaluate(table.frame, {"\0time": chosen}, "UTC")["\0time"]
    window = _window(times, labels, of)
    if window is None:
        return Timing(None, (), None, f"{', '.join(read)} has too few days, or too few labels on either side of one")
    return Timing(chosen, read, window, f"{', '.join(read)} is the time of a row")


def _named(column: Column) -> str:
    expression = _of_column(column, named=True)
    if expression is None:
        raise UserError(f"--time: column '{column.name}' is {column.type}, and no time; name another, or none")
    return expression


def _guessed(table: Table, roles: dict[str, ColumnRole]) -> str | None:
    known = ("time", "feature", "identifier", "constant")
    candidates = [column for column in table.columns if roles[column.name].role in known]
    times = [column for column in candidates if column.type == "time" and column.missing <= 0.01 * column.rows]
    if times:
        return _of_column(max(times, key=lambda column: column.distinct), named=False)
    if parts := _parts(candidates):
        return parts
    expressions = (_of_column(column, named=False) for column in candidates)
    return next((expression for expression in expressions if expression), None)


def _of_column(column: Column, *, named: bool) -> str | None:
    """Return the time that a column is, also as days, seconds or milliseconds since 1970."""
    name = names.reference(column.name)
    if column.type == "time":
        return name
    says = named or re.search(r"(^|_)(date|time\w*|ts|epoch|day|days)(_|$)", words(column.name))
    if column.type not in ("integer", "number") or column.low is None or column.high is None or not says:
        return None
    epoch = "local_time(1970, 1, 1, 0)"
    if _within(column, "milli"):
        return f"{epoch} + minutes({name} / 60000)"
    if _within(column, "minutes"):
        return f"{epoch} + minutes({name} / 60)"
    return f"{epoch} + days({name})" if _within(column, "days") else None


def _within(column: Column, unit: str) -> bool:
    low, high = _UNITS[unit]
    return column.low is not None and column.high is not None and low <= column.low <= column.high <= high


def _parts(columns: Sequence[Column]) -> str | None:
    """Return the time of a year, a month, a day and perhaps HHMM that stand in columns of their own."""
    numbers = {words(column.name): column for column in columns if column.type == "integer"}
    calendar = [next((numbers[name] for name in spellings if name in numbers), None) for spellings in _PARTS.values()]
    clock = next(
        (column for name, column in numbers.items() if _CLOCK.fullmatch(name) and (column.high or 0) <= 2400), None
    )
    parts = [names.reference(column.name) for column in calendar if column is not None]
    if len(parts) < len(_PARTS):
        return None
    return f"local_time({', '.join(parts)}, {names.reference(clock.name) if clock else 0})"


def _window(times: pl.Series, labels: pl.Series, of: Target) -> Window | None:
    """Return windows of whole days: the last quarter of the labelled rows is held out."""
    frame = pl.DataFrame({"day": times.dt.date(), "label": labels}).drop_nulls().sort("day")
    days = frame["day"].unique().sort()
    if days.len() < _FEWEST_DAYS or frame.height < 2 * _FEWEST_ROWS:
        return None
    first, last = days[0], days[-1]
    if first.year < 1900 or last.year > 2200:
        return None
    border = max(frame["day"][int(frame.height * (1 - HELD_OUT))], days[1])
    span = (last - first).days
    known_after = "1d" if span >= 30 else "0s"
    learnt = frame.filter(pl.col("day") < border - timedelta(days=1 if span >= 30 else 0))
    held = frame.filter(pl.col("day") >= border)
    if not all(_enough(part["label"], of) for part in (learnt, held)):
        return None
    return Window((_text(first), _text(border - timedelta(days=1))), (_text(border), _text(last)), known_after)


def _enough(labels: pl.Series, of: Target) -> bool:
    if labels.len() < _FEWEST_ROWS or of.task == "regression":
        return labels.len() >= _FEWEST_ROWS
    counts = labels.value_counts()["count"].to_list()
    return len(counts) == (len(of.classes) or 2) and min(counts) >= FEWEST


def _text(day: datetime) -> str:
    return f"{day:%Y-%m-%d}"
