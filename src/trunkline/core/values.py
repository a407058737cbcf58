"""What all groups share: strictness, and the small value types that configs are written in."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)

from trunkline.core import expressions
from trunkline.core.errors import UserError

METRIC = "metric"  # what a schema calls the name of one
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_DURATION = r"(\d{1,6})(s|min|h|d)"
_DAY = r"(\d{4})-(\d{2})(?:-(\d{2}))?"  # or a month


class Strict(BaseModel):
    """An immutable structure that refuses unknown keys and converts nothing silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Group(Strict):
    """A top-level group of params.yaml: the unit of invalidation."""

    key: ClassVar[str]

    @classmethod
    def of(cls, params: Mapping[str, Any], where: Path | str) -> Self:
        """Return this group of a whole params.yaml; raises UserError that names `where` and the first wrong key.

        `trunkline compose --check` gives the place in conf/ as well; this is the last line of defence against a
        params.yaml that was edited by hand.
        """
        if cls.key not in params:
            raise UserError(f"{where}: {cls.key}: the group is missing; run: trunkline compose")
        try:
            return cls.parse(params[cls.key])
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join([cls.key, *map(str, first["loc"])])
            raise UserError(f"{where}: {key}: {first['msg']}; run: trunkline compose --check") from error

    @classmethod
    def parse(cls, content: Any) -> Self:
        """Validate plain YAML content (lists for tuples, text for durations and windows)."""
        return cls.model_validate(content, strict=True)


def parse_duration(text: str) -> timedelta:
    """Parse `90s`, `30min`, `2h` or `7d`."""
    match = re.fullmatch(_DURATION, text)
    if not match:
        raise ValueError(f"'{text}' is not a duration such as 90s, 30min, 2h or 7d")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def _no_pattern(name: str) -> str:
    """Refuse what polars would take for a pattern of names, wherever a column is named."""
    if name == "*" or (name.startswith("^") and name.endswith("$")):
        raise ValueError(f"a column cannot be called '{name}', which means others; rename it")
    return name


def _letters(name: str) -> str:
    """Refuse a name with anything but letters, digits and underscores, which files and paths of keys are made of."""
    if not name.isidentifier():
        raise ValueError(f"'{name}' is no name: it must be letters, digits and underscores, beginning with a letter")
    return name


def duration_text(value: timedelta) -> str:
    """Write a duration in its largest whole unit."""
    seconds = int(value.total_seconds())
    unit = next(u for u in reversed(_UNITS) if seconds % _UNITS[u] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


class Window(Strict):
    """Local calendar days from `start` up to, not including, `end`; written `2013-01..2013-06` or `2013-07`."""

    start: date
    end: date

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse `A..B` or `A`, each a month (YYYY-MM) or a day (YYYY-MM-DD), both ends included."""
        first, _, last = text.partition("..")
        window = cls(start=_bounds(first)[0], end=_bounds(last or first)[1])
        if window.start >= window.end:
            raise ValueError(f"the window '{text}' ends before it starts")
        return window

    def __str__(self) -> str:
        """Write the first and the last day."""
        return f"{self.start}..{self.end - timedelta(days=1)}"

    def months(self) -> tuple[str, ...]:
        """Every calendar month that the window touches, as YYYY-MM."""
        last = self.end - timedelta(days=1)
        count = (last.year - self.start.year) * 12 + last.month - self.start.month + 1
        first = self.start.year * 12 + self.start.month - 1
        return tuple(f"{month // 12:04d}-{month % 12 + 1:02d}" for month in range(first, first + count))


def midnight(day: date, zone: str) -> datetime:
    """Return the instant at which a local day begins, as naive UTC."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC).replace(tzinfo=None)


def _bounds(text: str) -> tuple[date, date]:
    match = re.fullmatch(_DAY, text.strip())
    if not match:
        raise ValueError(f"'{text}' is not a month (2013-07) or a day (2013-07-31)")
    year, month = int(match[1]), int(match[2])
    if year == date.max.year:
        raise ValueError(f"'{text}' is too late; a window ends before the year {date.max.year}")
    if match[3]:
        day = date(year, month, int(match[3]))
        return day, day + timedelta(days=1)
    return date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _from_text(parse: Any) -> BeforeValidator:
    def convert(value: Any) -> Any:
        if isinstance(value, str):
            return parse(value)
        if isinstance(value, (timedelta, Window)):
            return value
        raise ValueError("must be text")

    return BeforeValidator(convert)


def _expression(value: str) -> str:
    expressions.parse(value)
    return value


Duration = Annotated[
    timedelta,
    _from_text(parse_duration),
    PlainSerializer(duration_text),
    WithJsonSchema({"type": "string", "title": "duration, such as 30min, 2h or 7d", "pattern": f"^{_DURATION}$"}),
]
Period = Annotated[
    Window,
    _from_text(Window.from_text),
    WithJsonSchema(
        {
            "type": "string",
            "title": "window, such as 2013-01..2013-06 or 2013-07",
            "pattern": rf"^\s*{_DAY}\s*(\.\.\s*({_DAY})?\s*)?$",
        }
    ),
]
Expression = Annotated[
    str,
    BeforeValidator(_expression),
    WithJsonSchema(
        {
            "type": "string",
            "title": "expression, such as arr_delay > 15",
            "description": "Arithmetic, comparisons, `and`, `or`, `not`, `a if b else c`, `x in ('a', 'b')` and the "
            "functions of docs/conf.md, over the columns of a row.",
            "minLength": 1,
        }
    ),
]
# Letters, digits and underscores of any alphabet: of ASCII by this pattern, which every engine of patterns reads alike.
_NAME = r"^[^\x00-@\[-`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*$"
Name = Annotated[str, StringConstraints(pattern=_NAME, max_length=60), AfterValidator(_letters)]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]  # of files and of tags
Column = Annotated[str, StringConstraints(max_length=200), AfterValidator(_no_pattern)]
Columns = Annotated[tuple[Column, ...], BeforeValidator(_tuple)]
Tuple = BeforeValidator(_tuple)
Metric = Annotated[str, WithJsonSchema({"type": "string", "title": METRIC})]
