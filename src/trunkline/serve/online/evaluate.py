"""Expressions of conf/ over one row of Python values, where no engine is installed: the values are those of DuckDB.

A row maps names to int, float, bool, str, datetime (naive UTC), timedelta or None. As in SQL, a missing operand makes
the result missing; a whole number beside a number becomes one; NaN equals itself and is larger than any other number.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from trunkline.core.expressions import Column, Constant, Expression, Type, infer

Row = Mapping[str, Any]
Evaluator = Callable[[Row], Any]

_LEAST, _MOST = -(2**63), 2**63 - 1
_MICROSECOND = timedelta(microseconds=1)
_CASTS_ALIKE = {"equal", "unequal", "less", "less_equal", "greater", "greater_equal", "larger", "smaller", "coalesce"}


class UnfitError(ValueError):
    """A value that is too large for the type of the result."""


def compiled(expression: Expression, types: Mapping[str, Type], zone: str) -> Evaluator:
    """Return what evaluates an expression over a row with values of these types; `zone` is that of the calendar.

    What it returns raises UnfitError for a value that does not fit. Raises ValueError for operands that do not fit.
    """
    if isinstance(expression, Constant):
        return lambda _, value=expression.value: value  # type: ignore[misc]
    if isinstance(expression, Column):
        return _column(expression.name, infer(expression, types))
    operation, place = expression.operation, ZoneInfo(zone)
    kinds = [infer(operand, types) for operand in expression.operands]
    operands = [compiled(operand, types, zone) for operand in expression.operands]
    if operation in _CASTS_ALIKE and "number" in kinds:
        operands = [_number(each) for each in operands]
    if operation == "if":
        return _conditional(operands[0], *(map(_number, operands[1:]) if "number" in kinds[1:] else operands[1:]))
    if operation == "coalesce":
        return _first(*operands)
    if operation in _WITH_MISSING:
        return _applied(_WITH_MISSING[operation], operands)
    if operation in _OF_ZONE:
        return _applied(_unless_missing(partial(_OF_ZONE[operation], place)), operands)
    return _applied(_unless_missing(_PLAIN[operation]), operands)


def _column(name: str, kind: Type | None) -> Evaluator:
    evaluator: Evaluator = lambda row: row[name]  # noqa: E731
    return _number(evaluator) if kind == "number" else evaluator


def _number(evaluator: Evaluator) -> Evaluator:
    def number(row: Row) -> float | None:
        value = evaluator(row)
        return None if value is None else float(value)

    return number


def _conditional(condition: Evaluator, then: Evaluator, otherwise: Evaluator) -> Evaluator:
    def conditional(row: Row) -> Any:
        holds = condition(row)
        return None if holds is None else then(row) if holds else otherwise(row)

    return conditional


def _first(one: Evaluator, other: Evaluator) -> Evaluator:
    def first(row: Row) -> Any:
        value = one(row)
        return other(row) if value is None else value

    return first


def _applied(function: Callable[..., Any], operands: list[Evaluator]) -> Evaluator:
    match operands:
        case [one]:
            return lambda row: function(one(row))
        case [one, other]:
            return lambda row: function(one(row), other(row))
    return lambda row: function(*(operand(row) for operand in operands))


def _unless_missing(function: Callable[..., Any]) -> Callable[..., Any]:
    def known(*values: Any) -> Any:
        if None in values:
            return None
        try:
            return function(*values)
        except OverflowError as error:
            raise UnfitError(f"a value does not fit: {error}") from None

    return known


def _fitting(value: Any) -> Any:
    """Return a value that its type in DuckDB can hold; raises UnfitError."""
    whole = value // _MICROSECOND if isinstance(value, timedelta) else value
    if type(whole) is int and not _LEAST <= whole <= _MOST:
        raise UnfitError(f"a value does not fit: {value} is beyond 64 bits")
    return value


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124  NaN


def _less(one: Any, other: Any) -> bool:
    return bool(one < other or (other != other and one == one))  # noqa: PLR0124  NaN


def _and(one: bool | None, other: bool | None) -> bool | None:
    return False if one is False or other is False else None if one is None or other is None else True


def _or(one: bool | None, other: bool | None) -> bool | None:
    return True if one is True or other is True else None if one is None or other is None else False


def _larger(one: Any, other: Any) -> Any:
    return other if one is None or (other is not None and _less(one, other)) else one


def _smaller(one: Any, other: Any) -> Any:
    return other if one is None or (other is not None and _less(other, one)) else one


def _log1p(value: float) -> float | None:
    """Return log(1 + x) by the steps of the SQL, so that the digits are the same."""
    value = float(value)
    if value > 1e16 or math.isnan(value):
        return math.log(value)
    if value <= -1:
        return None
    one_more = 1.0 + value
    return value if one_more == 1.0 else math.log(one_more) * (value / (one_more - 1.0))


def rounded(value: float) -> int:
    """Return the nearest whole number, a half away from zero; raises UnfitError for an infinite one and NaN."""
    if not math.isfinite(value):
        raise UnfitError(f"a value does not fit: {value} is no whole number")
    whole = math.floor(abs(value))
    return int(math.copysign(1, value)) * (whole + (abs(value) - whole >= 0.5))


def _span(seconds: int, value: float) -> timedelta:
    micros = value * (seconds * 1_000_000)
    whole: int = _fitting(rounded(micros) if isinstance(micros, float) else micros)
    return whole * _MICROSECOND


def _local(zone: ZoneInfo, time: datetime) -> datetime:
    return time.replace(tzinfo=UTC).astimezone(zone)


def _local_time(zone: ZoneInfo, year: int, month: int, day: int, clock: int) -> datetime | None:
    if not 1 <= year <= 9999:
        raise UnfitError(f"a value does not fit: the year {year} is not of four digits")
    hour, minute = divmod(clock, 100)
    midnight = timedelta(days=1) if (hour, minute) == (24, 0) else timedelta()
    try:
        local = datetime(year, month, day, 0 if midnight else hour, minute) + midnight
    except ValueError:
        return None
    # The later instant is the second of an hour that comes twice, and of one that is skipped, an hour further: as ICU.
    return max(local.replace(tzinfo=zone, fold=fold).astimezone(UTC).replace(tzinfo=None) for fold in (0, 1))


_WITH_MISSING: dict[str, Callable[..., Any]] = {
    "and": _and,
    "is_missing": lambda value: value is None,
    "larger": _larger,
    "or": _or,
    "smaller": _smaller,
}
_OF_ZONE: dict[str, Callable[..., Any]] = {
    "date": lambda zone, time: _local(zone, time).date().isoformat(),
    "hour": lambda zone, time: _local(zone, time).hour,
    "local_time": _local_time,
    "minute": lambda zone, time: _local(zone, time).minute,
    "month": lambda zone, time: _local(zone, time).month,
    "weekday": lambda zone, time: _local(zone, time).isoweekday(),
    "year": lambda zone, time: _local(zone, time).year,
}
_PLAIN: dict[str, Callable[..., Any]] = {
    "abs": lambda value: _fitting(abs(value)),
    "add": lambda one, other: _fitting(one + other),
    "days": partial(_span, 86_400),
    "divide": lambda one, other: float(one) / float(other) if other else None,
    "equal": _equal,
    "floor_divide": lambda one, other: _fitting(one // other) if other else None,
    "greater": lambda one, other: _less(other, one),
    "greater_equal": lambda one, other: not _less(one, other),
    "hours": partial(_span, 3_600),
    "joined": lambda one, other: one + other,
    "less": _less,
    "less_equal": lambda one, other: not _less(other, one),
    "log1p": _log1p,
    "minutes": partial(_span, 60),
    "minutes_between": lambda start, end: float((end - start) // _MICROSECOND) / 60_000_000.0,
    "modulo": lambda one, other: one % other if other else None,
    "multiply": lambda one, other: _fitting(one * other),
    "negate": lambda value: _fitting(-value),
    "not": lambda value: not value,
    "subtract": lambda one, other: _fitting(one - other),
    "truncate_hour": lambda time: time.replace(minute=0, second=0, microsecond=0),
    "unequal": lambda one, other: not _equal(one, other),
}
