"""Converts columns, as they come, to the types of a contract, and tells which values cannot be converted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

ColumnType = Literal["integer", "number", "text", "boolean", "time"]

MEANING: dict[ColumnType, str] = {
    "integer": "an integer",
    "number": "a finite number",
    "text": "text",
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


@dataclass(frozen=True)
class Parsed:
    """The values in their declared type, and which of them are null because they could not be converted."""

    values: pl.Series
    failed: pl.Series


def parse(raw: pl.Series, kind: ColumnType, formats: Sequence[str] = ()) -> Parsed:
    """Convert a column to a declared type; not-a-number means missing, a time without an offset is UTC.

    `formats` are more notations of times, as polars has them, tried in order where a text is not ISO 8601.
    Raises TypeError if the column is stored in a type that never holds such values.
    """
    present = raw.is_not_null() & ~_is_nan(raw, kind)
    values = raw if raw.dtype == pl.Null else _CONVERT[kind](raw)
    if formats and raw.dtype == pl.String and values is not None:
        others = (raw.str.to_datetime(notation, time_unit="us", strict=False) for notation in formats)
        values = pl.select(pl.coalesce(values, *others)).to_series().alias(values.name)
    if values is None:
        raise TypeError(f"is stored as {raw.dtype}, which is not {MEANING[kind]}")
    values = values.cast(DTYPES[kind])
    return Parsed(values, present & values.is_null())


def _is_nan(raw: pl.Series, kind: ColumnType) -> pl.Series:
    if raw.dtype == pl.String and kind == "number":
        return raw.str.to_lowercase().eq_missing("nan")
    return raw.is_nan().fill_null(False) if raw.dtype.is_float() else pl.repeat(False, raw.len(), eager=True)


def _integer(raw: pl.Series) -> pl.Series | None:
    if not (raw.dtype == pl.String or raw.dtype.is_numeric()):
        return None
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
    return raw.cast(pl.String) if raw.dtype in (pl.String, pl.Categorical, pl.Enum) else None


def _boolean(raw: pl.Series) -> pl.Series | None:
    if raw.dtype == pl.String:
        meanings = {"true": True, "1": True, "false": False, "0": False}
        return raw.str.to_lowercase().replace_strict(meanings, default=None, return_dtype=pl.Boolean)
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
