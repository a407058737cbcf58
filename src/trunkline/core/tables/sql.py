"""What stands for the names and the expressions of conf/ in DuckDB's SQL."""

import re

from trunkline.core.expressions import OPERATIONS, Column, Constant, Expression


def to_sql(expression: Expression, zone: str) -> str:
    """Compile to a DuckDB expression over TIMESTAMP (UTC), BIGINT, DOUBLE, VARCHAR and BOOLEAN columns."""
    if isinstance(expression, Column):
        return identifier(expression.name)
    if isinstance(expression, Constant):
        return _literal(expression.value)
    operands = [to_sql(operand, zone) for operand in expression.operands]
    operation = OPERATIONS[expression.operation]
    return operation.sql.format(*operands, zone=_literal(zone))


def neutral(name: str) -> str:
    """Return what stands for a name in DuckDB, which ignores case, and has words and limits of its own for names."""
    return "c_" + re.sub(r"[^a-z0-9_]", lambda other: f"${ord(other[0]):x}$", name)


def identifier(name: str) -> str:
    """Return the SQL identifier that stands for a name."""
    return f'"{neutral(name)}"'


def readable(text: str) -> str:
    """Return a message of DuckDB with the names that its identifiers stand for."""
    escaped = re.compile(r"\$([0-9a-f]+)\$")
    return re.sub(
        r"\bc_((?:[a-z0-9_]|\$[0-9a-f]+\$)*)", lambda name: escaped.sub(lambda one: chr(int(one[1], 16)), name[1]), text
    )


def _literal(value: int | float | str | bool | None) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, float):
        return f"CAST({value!r} AS DOUBLE)"
    return str(value).upper() if isinstance(value, bool) else f"CAST({value} AS BIGINT)"
