"""Converts columns, as they come, to the types of a contract, and tells which values cannot be converted."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

ColumnType = Literal["integer", "number", "text", "boolean", "time"]

MEANING: dict[ColumnType, str] = {
    "integer": "an integer",
    "number": "a finite number",
    "text": "text or a whole number",
    "boolean": "true or false",
    "time": "an ISO 8601 time",
}

DTYPES: dict[ColumnType, pl.DataType] = {
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "text": pl.String(),
    "boolean": pl.Boolean(),
    "time": pl.Datetime("us"),
}

_TIME = r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:[0-5]\d(?:\.\d{1,9})?)?(Z|[+-]\d{2}(?::?\d{2})?)?)?$"
_FIRST, _LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)  # the years that Python has

_DIRECTIVE = re.compile(r"%[-_0]?(?:\.?[369]?f|:*z|#z|.|$)", re.DOTALL)
_PLAIN = (*(f"%{letter}" for letter in "YyGgmbBhdejVuwaAFDxvcHkIlMSTRXrpPzs+nt%"), "%:z", "%.f", "%3f", "%6f", "%9f")
_PADDED = frozenset(f"%{padding}{letter}" for padding in "-_0" for letter in "YyGgmdejVHkIlMS")
_MISREAD = {
    "%f": "counts nanoseconds; write %.f for what follows the seconds, with its point, or %3f, %6f or %9f without",
    "%Z": "is a name that says no offset; write %z, or the name itself if all times are UTC",
}
_WITH_OFFSET = re.compile(r"%:?z|%\+|%s")
_PROBES = [datetime(2013, 3, 9, 19, 35, 6, 123456), datetime(1999, 11, 30, 23, 4, 58, 987654)]
_UNITS = ("1us", "1ms", "1s", "1m", "1h", "1d", "1mo", "1y")

_EPOCHS = {"epoch days": 86_400_000_000, "epoch seconds": 1_000_000, "epoch milliseconds": 1_000}  # microseconds
_WORDS = re.compile(r"([^/]+)/([^/]+)")  # for true and for false


@dataclass(frozen=True)
class Parsed:
    """The values in their declared type, and which of them are null because they could not be converted."""

    values: pl.Series
    failed: pl.Series


def parse(raw: pl.Series, kind: ColumnType, formats: Sequence[str] = ()) -> Parsed:
    """Convert a column to a declared type; not-a-number means missing, a time without an offset is UTC.

    A text that is stored as a number is the whole number as people write it: 7 and 7.0 are `7`, and 7.5 is no text.
    `formats` are more notations of times, tried in order where a value is not ISO 8601: as polars has them, or numbers
    since 1970. Of booleans they are the words for true and for false, instead of the usual ones.
    Raises TypeError if the column is stored in a type that never holds such values.
    """
    present = raw.is_not_null() & ~_is_nan(raw, kind)
    if raw.dtype == pl.Null:
        values: pl.Series | None = raw
    elif formats and kind == "boolean":
        values = _of_words(raw, formats)
    else:
        own = _CONVERT[kind](raw)
        others = [_of_notation(raw, notation) for notation in formats]
        read = [times for times in (own, *others) if times is not None]
        values = pl.select(pl.coalesce(*read)).to_series().alias(raw.name) if read else None
    if values is None:
        raise TypeError(f"is stored as {raw.dtype}, which is not {MEANING[kind]}")
    values = values.cast(DTYPES[kind])
    return Parsed(values, present & values.is_null())


def verify_words(words: str) -> str:
    """Return the words for true and for false of a boolean; raises ValueError if they are no two words."""
    match = _WORDS.fullmatch(words)
    if not match or match[1].lower() == match[2].lower():
        raise ValueError(f"'{words}': write the word for true and that for false, such as yes/no; case does not matter")
    return words


def verify_notation(notation: str) -> str:
    """Return a notation of times; raises ValueError if no text could be read by it, or not as it was meant.

    Two instants are written by it and read back, as local times that are five hours and a half ahead of UTC.
    """
    if notation in _EPOCHS:
        return notation
    if "%" not in notation:
        raise ValueError(f"'{notation}': has no directive such as %Y, nor is it {', '.join(_EPOCHS)}")
    for directive in _DIRECTIVE.findall(notation):
        if directive not in _PLAIN and directive not in _PADDED:
            why = _MISREAD.get(directive, f"is not supported; supported are {' '.join(_PLAIN)}")
            raise ValueError(f"'{notation}': {directive} {why}")
    local = pl.Series(_PROBES, dtype=pl.Datetime("us", "UTC")).dt.convert_time_zone("Asia/Kolkata")
    expected = local.dt.convert_time_zone("UTC") if _WITH_OFFSET.search(notation) else local
    expected = expected.dt.replace_time_zone(None)
    try:
        times = _of_notation(local.dt.strftime(notation), notation)
    except pl.exceptions.PolarsError:
        times = expected.clear(len(expected))
    if times is None or not any((times == expected.dt.truncate(unit)).all(ignore_nulls=False) for unit in _UNITS):
        raise ValueError(
            f"'{notation}': no time can be read by it; it must say the year, a day only with its month, hours only "
            "with minutes, %I and %l only with %p, and an offset only with a time"
        )
    return notation


def _of_notation(raw: pl.Series, notation: str) -> pl.Series | None:
    """Return the times of values in a notation; None if they are stored in a type that has no such notation."""
    if notation in _EPOCHS:
        numbers = _number(raw)
        return None if numbers is None else _since_1970(numbers, _EPOCHS[notation])
    if raw.dtype != pl.String:
        return None
    times = raw.str.to_datetime(notation, time_unit="us", strict=False)
    return times.dt.replace_time_zone(None)  # those with an offset come in UTC


def _since_1970(numbers: pl.Series, microseconds: int) -> pl.Series:
    """Return the times that are so many units after 1970 began, to the nearest microsecond."""
    whole, part = numbers.floor(), numbers - numbers.floor()
    bound = float(2**62 // microseconds)
    inside = whole.is_between(-bound, bound)
    ticks = _where(inside, whole).cast(pl.Int64) * microseconds + (part * microseconds).round().cast(pl.Int64)
    times = ticks.cast(pl.Datetime("us"))
    return _where(times.is_between(_FIRST, _LAST), times)


def _of_words(raw: pl.Series, pairs: Sequence[str]) -> pl.Series | None:
    """Return which values are words for true, and which for false, in any case; no other word is either."""
    if raw.dtype == pl.Boolean:
        return raw
    texts = _text(raw)
    if texts is None:
        return None
    meanings: dict[str, bool] = {}
    for match in map(_WORDS.fullmatch, pairs):
        if match:
            meanings = {match[1].lower(): True, match[2].lower(): False} | meanings
    return texts.str.to_lowercase().replace_strict(meanings, default=None, return_dtype=pl.Boolean)


def _is_nan(raw: pl.Series, kind: ColumnType) -> pl.Series:
    if raw.dtype == pl.String and kind == "number":
        return raw.str.to_lowercase().eq_missing("nan")
    return raw.is_nan().fill_null(False) if raw.dtype.is_float() else pl.repeat(False, raw.len(), eager=True)


def _integer(raw: pl.Series) -> pl.Series | None:
    if not (raw.dtype == pl.String or raw.dtype.is_numeric()):
        return None
    if raw.dtype == pl.String:
        raw = raw.str.replace(r"^([+-]?\d+)\.0+$", "${1}")  # as pandas writes whole numbers if one is missing
    values = raw.cast(pl.Int64, strict=False)
    if raw.dtype.is_integer() or raw.dtype == pl.String:
        return values
    return _where(values.cast(pl.Float64) == raw.cast(pl.Float64), values)


def _number(raw: pl.Series) -> pl.Series | None:
    if not (raw.dtype == pl.String or raw.dtype.is_numeric()):
        return None
    values = raw.cast(pl.Float64, strict=False)
    return _where(values.is_finite(), values)


def _text(raw: pl.Series) -> pl.Series | None:
    if raw.dtype.is_numeric() and (numbers := _integer(raw)) is not None:
        return numbers.cast(pl.String)
    return raw.cast(pl.String) if raw.dtype in (pl.String, pl.Categorical, pl.Enum) else None


def _boolean(raw: pl.Series) -> pl.Series | None:
    if raw.dtype == pl.String:
        meanings = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
        return raw.str.to_lowercase().replace_strict(meanings, default=None, return_dtype=pl.Boolean)
    if raw.dtype.is_numeric() and (numbers := _integer(raw)) is not None:
        return numbers.replace_strict({0: False, 1: True}, default=None, return_dtype=pl.Boolean)
    return raw if raw.dtype == pl.Boolean else None


def _time(raw: pl.Series) -> pl.Series | None:
    if raw.dtype == pl.String:
        # Every notation is brought to one, since polars parses a column by a single format.
        day, minute, second, offset = raw.str.extract_groups(_TIME).struct.unnest().get_columns()
        offset = offset.str.replace("Z", "+00").fill_null("+00").str.replace(":", "", literal=True) + "00"
        same = day + "T" + minute.fill_null("00:00") + second.fill_null(":00") + offset.str.slice(0, 5)
        times = same.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False)
        times = times.dt.replace_time_zone(None)
        return _where(times.is_between(_FIRST, _LAST), times)
    if isinstance(raw.dtype, pl.Datetime) and raw.dtype.time_zone:
        return raw.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return raw if raw.dtype in (pl.Date, pl.Datetime) else None


def _where(keep: pl.Series, values: pl.Series) -> pl.Series:
    return pl.select(pl.when(keep).then(values)).to_series().alias(values.name)


_CONVERT: dict[ColumnType, Callable[[pl.Series], pl.Series | None]] = {
    "integer": _integer,
    "number": _number,
    "text": _text,
    "boolean": _boolean,
    "time": _time,
}
