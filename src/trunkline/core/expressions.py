"""The small expression language of conf/: parsed, type-checked and compiled, never evaluated as Python.

It is a subset of Python's syntax over the columns of one row: arithmetic, comparisons, `and`, `or`, `not`,
`a if condition else b`, `x in ('a', 'b')`, and the functions in `FUNCTIONS`. A value is Python's: `//` rounds down and
`%` has the sign of the divisor. A missing operand makes the result missing (SQL's rules), and so does division by
zero, where Python raises; a whole number beyond 64 bits is an error. Times are UTC; functions of the calendar use the
project's zone.
An expression is data, so that each engine (DuckDB here, an online store later) compiles it in its own way.
"""

import ast
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from trunkline.core.errors import nearest

Type = Literal["integer", "number", "text", "boolean", "time", "duration"]

MAX_LENGTH = 1000
MAX_DEPTH = 150
MAX_PARTS = 10_000
_NUMERIC: tuple[Type, ...] = ("integer", "number")
_TYPES: dict[type, Type] = {bool: "boolean", int: "integer", float: "number", str: "text"}
_TOO_DEEP = f"an expression is nested at most {MAX_DEPTH} levels deep; use several features"


@dataclass(frozen=True)
class Constant:
    """A literal; None is the missing value."""

    value: int | float | str | bool | None


@dataclass(frozen=True)
class Column:
    """A column, or a name that the place of use defines, such as event_time."""

    name: str


@dataclass(frozen=True)
class Call:
    """An operator or a function with its operands."""

    operation: str
    operands: tuple["Expression", ...]


Expression = Constant | Column | Call


@dataclass(frozen=True)
class Operation:
    """What an operation accepts and gives, and how DuckDB writes it ({0}, {1}: operands, {zone}: time zone)."""

    result: Callable[[tuple[Type | None, ...]], Type | None]
    sql: str
    arity: int | None = None
    help: str = ""

    def uses(self, number: int) -> int:
        """Return how often the SQL holds an operand."""
        return self.sql.count(f"{{{number}}}")


def _fixed(result: Type, *accepted: tuple[Type, ...]) -> Callable[[tuple[Type | None, ...]], Type | None]:
    def rule(operands: tuple[Type | None, ...]) -> Type | None:
        for operand, allowed in zip(operands, accepted, strict=True):
            if operand is not None and operand not in allowed:
                raise ValueError(f"needs {' or '.join(allowed)}, got {operand}")
        return result

    return rule


def _same(operands: tuple[Type | None, ...]) -> Type | None:
    types = {operand for operand in operands if operand is not None}
    if types <= set(_NUMERIC):
        return "number" if "number" in types else "integer" if types else None
    if len(types) > 1:
        raise ValueError(f"mixes {' and '.join(sorted(types))}")
    return types.pop()


def _compare(operands: tuple[Type | None, ...]) -> Type:
    _same(operands)
    return "boolean"


def _arithmetic(operands: tuple[Type | None, ...]) -> Type | None:
    for operand in operands:
        if operand is not None and operand not in _NUMERIC:
            raise ValueError(f"needs integer or number, got {operand}")
    return _same(operands)


def _add(operands: tuple[Type | None, ...]) -> Type | None:
    if operands in (("time", "duration"), ("duration", "time")):
        return "time"
    if operands == ("duration", "duration"):
        return "duration"
    return _arithmetic(operands)


def _subtract(operands: tuple[Type | None, ...]) -> Type | None:
    if operands == ("time", "duration"):
        return "time"
    if operands == ("duration", "duration"):
        return "duration"
    return _arithmetic(operands)


def _conditional(operands: tuple[Type | None, ...]) -> Type | None:
    if operands[0] not in ("boolean", None):
        raise ValueError(f"needs a boolean condition, got {operands[0]}")
    return _same(operands[1:])


def _calendar(part: str, help_text: str) -> Operation:
    return Operation(
        _fixed("integer", ("time",)),
        f"CAST(extract('{part}' FROM ({{0}} AT TIME ZONE 'UTC') AT TIME ZONE {{zone}}) AS BIGINT)",
        1,
        help_text,
    )


def _span(seconds: int, unit: str) -> Operation:
    micros = seconds * 1_000_000
    return Operation(
        _fixed("duration", _NUMERIC),
        f"to_microseconds(CAST(round({{0}} * {micros}) AS BIGINT))",
        1,
        f"a duration of that many {unit}",
    )


_NUMBER_TO_NUMBER = _fixed("number", _NUMERIC)
_BOOLEANS = _fixed("boolean", ("boolean",), ("boolean",))

FUNCTIONS: dict[str, Operation] = {
    "abs": Operation(_arithmetic, "abs({0})", 1, "absolute value"),
    "coalesce": Operation(_same, "coalesce({0}, {1})", 2, "the first, or the second where it is missing"),
    "date": Operation(
        _fixed("text", ("time",)),
        "strftime(({0} AT TIME ZONE 'UTC') AT TIME ZONE {zone}, '%Y-%m-%d')",
        1,
        "local date as text, YYYY-MM-DD",
    ),
    "days": _span(86_400, "days"),
    "hour": _calendar("hour", "local hour, 0 to 23"),
    "hours": _span(3_600, "hours"),
    "is_missing": Operation(lambda _: "boolean", "({0} IS NULL)", 1, "whether the value is missing"),
    "joined": Operation(_fixed("text", ("text",), ("text",)), "({0} || {1})", 2, "one text after the other"),
    "larger": Operation(_same, "greatest({0}, {1})", 2, "the larger of two, ignoring a missing one"),
    "local_time": Operation(
        _fixed("time", ("integer",), ("integer",), ("integer",), ("integer",)),
        "TRY((make_timestamp({0}, {1}, {2}, {3} // 100, {3} % 100, 0) AT TIME ZONE {zone}) AT TIME ZONE 'UTC')",
        4,
        "the instant of a local year, month, day and HHMM, missing where there is no such day; of an hour that a "
        "clock change repeats, the second; of one that it skips, an hour later",
    ),
    "log1p": Operation(
        _NUMBER_TO_NUMBER,
        # Kahan's formula: what 1 + x loses of a small x, x / ((1 + x) - 1) gives back; beyond 1e16 it loses nothing.
        "(CASE WHEN {0} > 1e16 THEN ln({0}) WHEN {0} > -1 AND 1e0 + {0} = 1e0 THEN CAST({0} AS DOUBLE) "
        "WHEN {0} > -1 THEN ln(1e0 + {0}) * ({0} / ((1e0 + {0}) - 1e0)) END)",
        1,
        "log(1 + x); missing for x <= -1",
    ),
    "minute": _calendar("minute", "local minute, 0 to 59"),
    "minutes": _span(60, "minutes"),
    "minutes_between": Operation(
        _fixed("number", ("time",), ("time",)),
        "((epoch_us({1}) - epoch_us({0})) / 60000000.0)",
        2,
        "minutes from the first time to the second",
    ),
    "month": _calendar("month", "local month, 1 to 12"),
    "smaller": Operation(_same, "least({0}, {1})", 2, "the smaller of two, ignoring a missing one"),
    "truncate_hour": Operation(_fixed("time", ("time",)), "date_trunc('hour', {0})", 1, "the start of its UTC hour"),
    "weekday": _calendar("isodow", "local ISO weekday, 1 Monday to 7 Sunday"),
    "year": _calendar("year", "local year"),
}

OPERATORS: dict[str, Operation] = {
    "add": Operation(_add, "({0} + {1})"),
    "subtract": Operation(_subtract, "({0} - {1})"),
    "multiply": Operation(_arithmetic, "({0} * {1})"),
    "divide": Operation(_fixed("number", _NUMERIC, _NUMERIC), "(CASE WHEN {1} <> 0 THEN {0} / {1} END)"),
    # DuckDB rounds towards zero, and its remainder has the sign of the dividend.
    "floor_divide": Operation(
        _fixed("integer", ("integer",), ("integer",)),
        "(CASE WHEN {1} <> 0 THEN {0} // {1} - CAST({0} % {1} <> 0 AND ({0} < 0) <> ({1} < 0) AS BIGINT) END)",
    ),
    "modulo": Operation(
        _fixed("integer", ("integer",), ("integer",)),
        "(CASE WHEN {1} = -1 THEN {0} % 1 WHEN {1} <> 0 AND {0} % {1} <> 0 AND ({0} < 0) <> ({1} < 0) "
        "THEN {0} % {1} + {1} WHEN {1} <> 0 THEN {0} % {1} END)",
    ),
    "negate": Operation(_arithmetic, "(-{0})"),
    "not": Operation(_fixed("boolean", ("boolean",)), "(NOT {0})"),
    "and": Operation(_BOOLEANS, "({0} AND {1})"),
    "or": Operation(_BOOLEANS, "({0} OR {1})"),
    "equal": Operation(_compare, "({0} = {1})"),
    "unequal": Operation(_compare, "({0} <> {1})"),
    "less": Operation(_compare, "({0} < {1})"),
    "less_equal": Operation(_compare, "({0} <= {1})"),
    "greater": Operation(_compare, "({0} > {1})"),
    "greater_equal": Operation(_compare, "({0} >= {1})"),
    "if": Operation(_conditional, "(CASE WHEN {0} THEN {1} WHEN NOT {0} THEN {2} END)"),
}

OPERATIONS = FUNCTIONS | OPERATORS
_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.FloorDiv: "floor_divide",
    ast.Mod: "modulo",
}
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "equal",
    ast.NotEq: "unequal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}


def parse(source: str) -> Expression:
    """Parse an expression.

    Raises ValueError saying what is not understood.
    """
    if not isinstance(source, str):
        raise ValueError(f"an expression is text, not {type(source).__name__}")
    if len(source) > MAX_LENGTH:
        raise ValueError(f"an expression has at most {MAX_LENGTH} characters, this one has {len(source)}")
    try:
        tree = ast.parse(source.strip(), mode="eval")
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"'{source}' is not an expression: {error}") from None
    try:
        return _bounded(_convert(tree.body))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def _bounded(expression: Expression) -> Expression:
    """Return an expression that can be walked by recursion and written as SQL; raises ValueError for a larger one."""
    level: list[Expression] = [expression]
    for _ in range(MAX_DEPTH):
        level = [operand for call in level if isinstance(call, Call) for operand in call.operands]
        if not level:
            break
    else:
        raise ValueError(_TOO_DEEP)
    if _parts(expression) > MAX_PARTS:
        raise ValueError(f"written out, an expression has at most {MAX_PARTS} parts; use several features")
    return expression


def _parts(expression: Expression) -> int:
    """Return how many parts an expression has as SQL, where an operation may hold an operand more than once."""
    if not isinstance(expression, Call):
        return 1
    operation = OPERATIONS[expression.operation]
    return 1 + sum(operation.uses(number) * _parts(operand) for number, operand in enumerate(expression.operands))


def _convert(node: ast.expr) -> Expression:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return _constant(value)
        case ast.Name(id=name):
            return Column(name)
        case ast.UnaryOp(op=ast.USub() | ast.Not() as operator, operand=operand):
            return Call("negate" if isinstance(operator, ast.USub) else "not", (_convert(operand),))
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
            return Call(_BINARY[type(operator)], (_convert(left), _convert(right)))
        case ast.BoolOp(op=operator, values=values):
            return _fold("and" if isinstance(operator, ast.And) else "or", [_convert(value) for value in values])
        case ast.Compare(left=left, ops=operators, comparators=rights):
            steps = zip(operators, pairwise([left, *rights]), strict=True)
            return _fold("and", [_comparison(operator, *pair) for operator, pair in steps])
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return Call("if", (_convert(test), _convert(body), _convert(orelse)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _function(name, arguments)
    raise ValueError(f"'{ast.unparse(node)}' is not allowed in an expression")


def _constant(value: int | float | str | bool | None) -> Constant:
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError("a whole number must fit 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number must be finite")
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= character <= "\udfff" for character in value)):
        raise ValueError("a text must not hold a NUL character or half of a surrogate pair")
    return Constant(value)


def _fold(operation: str, parts: list[Expression]) -> Expression:
    result = parts[0]
    for part in parts[1:]:
        result = Call(operation, (result, part))
    return result


def _comparison(operator: ast.cmpop, left: ast.expr, right: ast.expr) -> Expression:
    if type(operator) in _COMPARISONS:
        return Call(_COMPARISONS[type(operator)], (_convert(left), _convert(right)))
    if isinstance(operator, ast.In | ast.NotIn) and isinstance(right, ast.Tuple | ast.List) and right.elts:
        equals = _fold("or", [Call("equal", (_convert(left), _convert(item))) for item in right.elts])
        return equals if isinstance(operator, ast.In) else Call("not", (equals,))
    raise ValueError(f"'{ast.unparse(right)}' cannot be compared that way; write x in ('a', 'b')")


def _function(name: str, arguments: list[ast.expr]) -> Expression:
    if name == "column":
        match arguments:
            case [ast.Constant(value=str() as column)]:
                return Column(column)
        raise ValueError("column takes one name in quotes, such as column('Tail number')")
    if name not in FUNCTIONS:
        raise ValueError(f"no function '{name}'{nearest(name, [*FUNCTIONS, 'column'])}")
    arity = FUNCTIONS[name].arity
    if len(arguments) != arity:
        raise ValueError(f"{name} takes {arity} argument{'s' if arity != 1 else ''}, not {len(arguments)}")
    return Call(name, tuple(_convert(argument) for argument in arguments))


def columns(expression: Expression) -> Iterator[str]:
    """Yield the names that an expression reads, in order, with repeats."""
    if isinstance(expression, Column):
        yield expression.name
    elif isinstance(expression, Call):
        for operand in expression.operands:
            yield from columns(operand)


def substitute(expression: Expression, definitions: Mapping[str, Expression]) -> Expression:
    """Replace columns that have a definition by it, also inside definitions.

    Raises ValueError for a definition that refers to itself, and for a result beyond MAX_PARTS or MAX_DEPTH.
    """
    try:
        return _bounded(_substitute(expression, definitions, (), iter(range(MAX_PARTS))))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def _substitute(
    expression: Expression, definitions: Mapping[str, Expression], within: tuple[str, ...], budget: Iterator[int]
) -> Expression:
    if next(budget, None) is None:
        raise ValueError(f"with its definitions written out, an expression has at most {MAX_PARTS} parts")
    if isinstance(expression, Call):
        operands = (_substitute(operand, definitions, within, budget) for operand in expression.operands)
        return Call(expression.operation, tuple(operands))
    if not isinstance(expression, Column) or expression.name not in definitions:
        return expression
    definition = definitions[expression.name]
    if definition == expression:
        return expression
    if expression.name in within:
        raise ValueError(f"'{expression.name}' is defined by itself: {' -> '.join([*within, expression.name])}")
    return _substitute(definition, definitions, (*within, expression.name), budget)


def infer(expression: Expression, types: Mapping[str, Type]) -> Type | None:
    """Return the type of an expression over columns of the given types; None for a bare missing value.

    Raises ValueError for an unknown column or operands that do not fit.
    """
    if isinstance(expression, Column):
        if expression.name not in types:
            raise ValueError(f"no column '{expression.name}'{nearest(expression.name, types)}")
        return types[expression.name]
    if isinstance(expression, Constant):
        return _TYPES.get(type(expression.value))
    operands = tuple(infer(operand, types) for operand in expression.operands)
    try:
        return OPERATIONS[expression.operation].result(operands)
    except ValueError as error:
        raise ValueError(f"{expression.operation} {error}") from None
