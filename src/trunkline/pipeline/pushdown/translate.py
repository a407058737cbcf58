"""An expression of conf/ in another engine's SQL, with every type said: no engine is left to guess one."""

from collections.abc import Mapping
from dataclasses import dataclass

from trunkline.core import expressions
from trunkline.core.errors import UserError
from trunkline.core.expressions import Call, Column, Constant, Expression, Type
from trunkline.pipeline.pushdown.dialects import Dialect

_SPANS = {"days": 86_400_000_000, "hours": 3_600_000_000, "minutes": 60_000_000}
_DOUBLES = {"divide", "log1p"}  # of whole numbers too


@dataclass(frozen=True)
class Translator:
    """Writes expressions in a dialect; `zone` is that of the calendar."""

    dialect: Dialect
    zone: str

    def sql(self, expression: Expression, types: Mapping[str, Type], key: str) -> str:
        """Return an expression over columns of the given types.

        Raises UserError that names `key`, which declares it, for an operation that the dialect has no translation of.
        """
        if isinstance(expression, Column):
            return self.dialect.identifier(expression.name)
        if isinstance(expression, Constant):
            return self.dialect.literal(expression.value)
        operands = [self.sql(operand, types, key) for operand in expression.operands]
        inferred = [expressions.infer(operand, types) for operand in expression.operands]
        return self._call(expression, operands, inferred, key)

    def _call(self, call: Call, operands: list[str], types: list[Type | None], key: str) -> str:
        operation, zone = call.operation, self.dialect.text(self.zone)
        if operation == "local_time":
            return self.dialect.local_time(operands, zone)
        if operation in _SPANS:
            operands = [*operands, str(_SPANS[operation])]
            operation = "span" if types[0] == "number" else "span_whole"
        elif operation in ("add", "subtract") and "time" in types:
            return self._moved(operation, operands, types)
        else:
            operands = self._widened(operation, operands, types)
        template = self.dialect.operations.get(operation)
        if template is None:
            raise UserError(
                f"{key}: {operation} is not translated to {self.dialect.title}; derive the column in the table, or "
                "compute features with `dvc repro`"
            )
        names = {each: self.dialect.types[each] for each in ("integer", "number")}
        local = self.dialect.to_local.format(operands[0], zone=zone)
        return template.format(*operands, zone=zone, local=local, **names)

    def _moved(self, operation: str, operands: list[str], types: list[Type | None]) -> str:
        """Return a time and a duration, in either order, as a later or an earlier time."""
        time, micros = operands if types[0] == "time" else reversed(operands)
        return self.dialect.shifted(time, micros if operation == "add" else f"(-{micros})")

    def _widened(self, operation: str, operands: list[str], types: list[Type | None]) -> list[str]:
        """Return operands where whole numbers are numbers beside one, or in a division."""
        beside = types[1:] if operation == "if" else types
        if operation not in _DOUBLES and not ("number" in beside and "integer" in beside):
            return operands
        double = self.dialect.types["number"]
        return [
            f"CAST({operand} AS {double})" if kind == "integer" else operand
            for operand, kind in zip(operands, types, strict=True)
        ]
