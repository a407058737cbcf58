"""When a row happens, and which rows are held out: the last ones, or, without a time, some by a hash. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from trunkline.conf.privacy import words
from trunkline.core import expressions
from trunkline.core.errors import UserError
from trunkline.core.tables import rows
from trunkline.init import names, profile
from trunkline.init.profile import Column, Table
from trunkline.init.roles import ColumnRole
from trunkline.init.target import FEWEST, Target

HELD_OUT = 0.25  # share of the rows
MOSTLY = 0.5
_FEWEST_ROWS, _FEWEST_DAYS = 50, 8
_PARTS = {"year": ("year",), "month": ("month",), "day": ("day", "day_of_month", "dayof_month", "dayofmonth", "mday")}
_CLOCK = re.compile(r"(crs|sched\w*)_?dep_?time|sched\w*_?time|hhmm")
_SINCE_1970 = {
    "epoch days": "days({})",
    "epoch seconds": "minutes({} / 60)",
    "epoch milliseconds": "minutes({} / 60000)",
}


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


def following(table: Table, roles: Mapping[str, ColumnRole], when: Timing) -> dict[str, ColumnRole]:
    """Return the roles of columns that grow with the time, such as a month or a counter of rows.

    No model can have learnt of values that most rows will have later.
    """
    if when.window is None or when.event_time is None:
        return {}
    days = rows.evaluate(table.frame, {"\0time": when.event_time}, "UTC")["\0time"].dt.date()
    learnt = table.frame.filter(days <= date.fromisoformat(when.window.train[1]))
    held_out = table.frame.filter(days >= date.fromisoformat(when.window.holdout[0]))
    numbers = [c.name for c in table.columns if c.type in ("integer", "number") and roles[c.name].role == "feature"]
    shares = {name: _beyond(held_out[name].drop_nulls(), learnt[name].drop_nulls()) for name in numbers}
    why = "it grows with the time: of the held-out values, {:.0%} are beyond all that are learnt from"
    return {name: ColumnRole("time", why.format(share)) for name, share in shares.items() if share > MOSTLY}


def _beyond(values: pl.Series, others: pl.Series) -> float:
    """Return the share of values that lie outside of the range of others."""
    if values.is_empty() or others.is_empty():
        return 0.0
    return 1.0 - float(values.is_between(others.min(), others.max()).mean())  # type: ignore[arg-type]


def _named(column: Column) -> str:
    """Return the time that a column is, also as days, seconds or milliseconds since 1970 under whatever name."""
    name = names.reference(column.name)
    if column.type == "time":
        return name
    unit = profile.epoch(column.low, column.high)
    if unit is None:
        raise UserError(f"--time: column '{column.name}' is {column.type}, and no time; name another, or none")
    return f"local_time(1970, 1, 1, 0) + {_SINCE_1970[unit].format(name)}"


def _guessed(table: Table, roles: dict[str, ColumnRole]) -> str | None:
    known = ("time", "feature", "identifier", "constant")
    candidates = [column for column in table.columns if roles[column.name].role in known]
    times = [column for column in candidates if column.type == "time" and column.missing <= 0.01 * column.rows]
    if times:
        return names.reference(max(times, key=lambda column: column.distinct).name)
    return _parts(candidates)


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
