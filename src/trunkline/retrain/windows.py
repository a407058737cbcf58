"""Which rows a retraining learns from, and which it is measured on: the declared windows, moved on in time. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from trunkline.conf.data import Windows
from trunkline.core.values import Window

Unit = Literal["month", "day"]
Keep = Literal["slide", "grow"]  # as conf/monitoring has it: the training window's length, or its beginning

_MONTHS = re.compile(r"\s*\d{4}-\d{2}\s*(\.\.\s*(\d{4}-\d{2})?\s*)?")


@dataclass(frozen=True)
class Known:
    """Which outcomes are known: all `after` the end of a local day of `timezone`, as of a moment (UTC)."""

    as_of: datetime
    after: timedelta
    timezone: str


def unit(*periods: str) -> Unit:
    """Return in which steps windows move that are written so: months, where each is written in months, else days."""
    return "month" if all(map(_MONTHS.fullmatch, periods)) else "day"


def known_until(known: Known, step: Unit) -> date:
    """Return the end (exclusive) of the newest whole unit all of whose outcomes are known."""
    local = (known.as_of - known.after).astimezone(ZoneInfo(known.timezone)).date()
    return _back(step)(_count(step)(local))


def moved(declared: Windows, until: date, step: Unit, keep: Keep) -> Windows | None:
    """Return the windows moved on so that the holdout ends at `until`; None where the declared one ends no earlier.

    The holdout keeps its length in units, and so does what lies between the windows.
    """
    count, back = _count(step), _back(step)
    units = count(until) - count(declared.holdout.end)
    if units <= 0:
        return None

    def later(day: date) -> date:
        return back(count(day) + units)

    begin = later(declared.train.start) if keep == "slide" else declared.train.start
    return Windows(
        train=Window(start=begin, end=later(declared.train.end)),
        holdout=Window(start=later(declared.holdout.start), end=later(declared.holdout.end)),
    )


def written(window: Window, step: Unit) -> str:
    """Return a window as conf/ has it: 2013-01..2013-06, or in days, with both ends included."""
    last = window.end - timedelta(days=1)
    first, final = (day.isoformat()[: 7 if step == "month" else 10] for day in (window.start, last))
    return first if first == final else f"{first}..{final}"


def apart(one: Window, other: Window) -> bool:
    """Tell whether two windows share no row."""
    return one.end <= other.start or other.end <= one.start


def instant(day: date, timezone: str) -> datetime:
    """Return the moment (UTC) at which a local day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)).astimezone(UTC)


def _count(step: Unit) -> Callable[[date], int]:
    """Return what numbers days by the unit that they are in."""
    return date.toordinal if step == "day" else lambda day: day.year * 12 + day.month - 1


def _back(step: Unit) -> Callable[[int], date]:
    """Return what gives the first day of a unit by its number."""
    return date.fromordinal if step == "day" else lambda number: date(number // 12, number % 12 + 1, 1)
