"""Reads rows as clients send them, in JSON: of the types and within the limits that conf/contract declares.

What is read is what `validate` has in its tables for the same row: derived columns are computed first, and a row that
breaks a check is refused, where the row has all columns that the check reads.
"""

import contextlib
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal, Self

import msgspec

from trunkline.bundle.contract import FieldError, Input, number_check, text_check, unknown_field
from trunkline.bundle.schema import schema
from trunkline.core.expressions import Expression, Type, columns
from trunkline.pipeline.features import plan_json
from trunkline.serve.online.evaluate import UnfitError, compiled

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::[0-5]\d(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}(?::?\d{2})?)?)?")
_PARSES: dict[str, Callable[[Any], Any]] = {"integer": int, "number": float, "boolean": bool}


class DeclaredColumn(msgspec.Struct, frozen=True):
    """A column as conf/contract declares it; `nulls` are the texts by which a CSV means missing."""

    type: Literal["integer", "number", "text", "boolean", "time"]
    nullable: bool
    min: float | None
    max: float | None
    allowed: list[str | int] | None
    pattern: str | None
    formats: list[str]
    nulls: list[str] | None


@dataclass(frozen=True)
class RowReader:
    """Reads rows of a table, or of requests; values are int, float, bool, str, and datetime in naive UTC, or None."""

    columns: Mapping[str, DeclaredColumn]
    derived: Mapping[str, Expression]
    checks: Mapping[str, Expression]
    zone: str

    @classmethod
    def of(cls, content: Mapping[str, Any], zone: str) -> Self:
        """Return what reads the rows that a bundle's features.json declares, of requests or of a table."""
        declared = msgspec.convert(content["columns"], dict[str, DeclaredColumn])
        derived = {name: plan_json.expression_of(each) for name, each in content["derived"].items()}
        checks = {name: plan_json.expression_of(each) for name, each in content.get("checks", {}).items()}
        return cls(declared, derived, checks, zone)

    @property
    def types(self) -> dict[str, Type]:
        """The columns' types."""
        return {name: column.type for name, column in self.columns.items()}

    def read(self, row: Mapping[str, Any], needed: Collection[str]) -> dict[str, Any]:
        """Return a row's values, those of the columns that are needed and of all others that it has.

        Raises FieldError for the first that is not as declared, or is missing and may not be.
        """
        given = frozenset(self.columns) - frozenset(self.derived)
        if not row.keys() <= given:
            raise unknown_field(row, given)
        parts = {part for name in needed if name in self.derived for part in columns(self.derived[name])}
        named = dict.fromkeys([*row, *(name for name in needed if name not in self.derived), *sorted(parts)])
        values = {name: self._value(name, row.get(name)) for name in named}
        for name, evaluate in self._derived.items():
            if values.keys() >= set(columns(self.derived[name])):
                values[name] = self._value(name, self._evaluated(name, evaluate, values))
        for name, evaluate in self._checks.items():
            if values.keys() >= set(columns(self.checks[name])) and self._evaluated(name, evaluate, values) is False:
                raise FieldError(name, f"check {name}: the row breaks it")
        return values

    def _value(self, name: str, value: Any) -> Any:
        kind = self.columns[name].type
        if kind == "time":
            return self._time(name, value)
        if kind == "text" and isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0:
            value = str(int(value))  # as a table's column of texts may be stored
        if value is None or (isinstance(value, float) and math.isnan(value)):
            self._limits[name](None)
            return None
        checked = self._limits[name](value)
        return checked if kind == "text" else _PARSES[kind](checked)

    def _time(self, name: str, value: Any) -> datetime | None:
        if value is None:
            if not self.columns[name].nullable:
                raise FieldError(name, f"field {name}: is missing; give its value")
            return None
        if isinstance(value, datetime):
            return value
        if isinstance(value, str) and _TIME.fullmatch(value):
            with contextlib.suppress(ValueError, OverflowError):
                time = datetime.fromisoformat(value)
                return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
        raise FieldError(name, f"field {name}: {str(value)[:60]!r} is not an ISO 8601 time")

    def _evaluated(self, name: str, evaluate: Callable[[Any], Any], values: Mapping[str, Any]) -> Any:
        try:
            return evaluate(values)
        except UnfitError as error:
            raise FieldError(name, f"field {name}: a value does not fit: {error}") from None

    @cached_property
    def _limits(self) -> dict[str, Callable[[Any], Any]]:
        inputs = {name: limits(name, column) for name, column in self.columns.items() if column.type != "time"}
        return {name: text_check(each) if each.type == "text" else number_check(each) for name, each in inputs.items()}

    @cached_property
    def _derived(self) -> dict[str, Callable[[Any], Any]]:
        return {name: compiled(each, self.types, self.zone) for name, each in self.derived.items()}

    @cached_property
    def _checks(self) -> dict[str, Callable[[Any], Any]]:
        return {name: compiled(each, self.types, self.zone) for name, each in self.checks.items()}


def column_schema(name: str, column: DeclaredColumn) -> dict[str, Any]:
    """Return the JSON Schema of a column's value, as a client sends it."""
    if column.type == "time":
        return {"type": ["string", "null"] if column.nullable else "string", "description": "A time of ISO 8601"}
    return schema(limits(name, column))


def limits(name: str, column: DeclaredColumn) -> Input:
    """Return what a column that is no time is checked by, as an input of a bundle is."""
    kind: Any = column.type
    return Input(
        name=name,
        role="categorical" if kind == "text" else "numeric",
        type=kind,
        nullable=column.nullable,
        description=f"a value of the type {kind}",
        min=column.min,
        max=column.max,
        allowed=column.allowed,
        pattern=column.pattern,
    )
