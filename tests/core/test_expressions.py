"""The expression language: what it means, what it refuses, and that its types and its SQL agree."""

import math
import operator
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trunkline.core import expressions
from trunkline.core.errors import UserError
from trunkline.core.tables import rows, sql

ZONE = "America/New_York"
TYPES: dict[str, expressions.Type] = {"n": "integer", "x": "number", "s": "text", "b": "boolean", "t": "time"}
FRAME = pl.DataFrame(
    {
        "n": [3, 0, None],
        "x": [1.5, 0.0, None],
        "s": ["it's", "", None],
        "b": [True, False, None],
        "t": [datetime(2013, 7, 1, 16, 30), datetime(2013, 3, 10, 7, 0), None],
    }
)
DUCKDB_TYPES = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "text": "VARCHAR",
    "boolean": "BOOLEAN",
    "time": "TIMESTAMP",
    "duration": "INTERVAL",
}


def value_of(source: str) -> list[Any]:
    return rows.evaluate(FRAME, {"value": source}, ZONE)["value"].to_list()


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ("n + 1", [4, 1, None]),
        ("n / 2", [1.5, 0.0, None]),
        ("1 / n", [pytest.approx(1 / 3), None, None]),
        ("7 % n", [1, None, None]),
        ("(n - 6) % 24", [21, 18, None]),
        ("(n - 10) // 3", [-3, -4, None]),
        ("0 <= x < 1", [False, True, None]),
        ("s in ('a', \"it's\")", [True, False, None]),
        ("s not in ('', 'a')", [True, False, None]),
        ("is_missing(s)", [False, False, True]),
        ("coalesce(n, -1)", [3, 0, -1]),
        ("n if b else -n", [3, 0, None]),
        ("joined(s, '{zone}{0}')", ["it's{zone}{0}", "{zone}{0}", None]),
        ("hour(t) * 100 + minute(t)", [1230, 300, None]),
        ("weekday(t)", [1, 7, None]),
        ("date(t)", ["2013-07-01", "2013-03-10", None]),
        ("minutes_between(t, t + hours(2))", [120.0, 120.0, None]),
        ("t - minutes(n) < t", [True, False, None]),
        ("column('n') * 2", [6, 0, None]),
        ("larger(n, 1)", [3, 1, 1]),
        ("log1p(n) > 1", [True, False, None]),
    ],
)
def test_meaning(source: str, values: list[Any]) -> None:
    assert value_of(source) == values


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("__import__('os')", "no function '__import__'"),
        ("os.system('x')", "not allowed"),
        ("(lambda: n)()", "not allowed"),
        ("[n for n in x]", "not allowed"),
        ("n ** 9", "not allowed"),
        ("n if", "not an expression"),
        ("hor(t)", "no function 'hor'; did you mean 'hour'?"),
        ("hour(t, t)", "hour takes 1 argument, not 2"),
        ("n == 99999999999999999999", "must fit 64 bits"),
        ("column(n)", "column takes one name in quotes"),
        ("n in x", "write x in"),
        ("s == f'{n}'", "not allowed"),
        ("n" * 1001, "at most 1000 characters"),
        ("(" * 400 + "n" + ")" * 400, "not an expression"),
    ],
)
def test_refused(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace("?", r"\?")):
        expressions.parse(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hour(s)", "hour needs time, got text"),
        ("m + 1", "no column 'm'"),
        ("s + 1", "add needs integer or number, got text"),
        ("n == s", "equal mixes integer and text"),
        ("n if n else 1", "needs a boolean condition"),
        ("t + t", "add needs"),
    ],
)
def test_mistyped(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expressions.infer(expressions.parse(source), TYPES)


def calls(inner: st.SearchStrategy[expressions.Expression]) -> st.SearchStrategy[expressions.Expression]:
    arities = {
        name: operation.arity or {"if": 3, "not": 1, "negate": 1}.get(name, 2)
        for name, operation in (expressions.FUNCTIONS | expressions.OPERATORS).items()
        if name != "local_time"  # most integers are no date; the next test has it
    }
    return st.one_of(
        *(
            st.tuples(*[inner] * arity).map(lambda operands, name=name: expressions.Call(name, operands))  # type: ignore[misc]
            for name, arity in arities.items()
        )
    )


CONSTANTS = st.integers(-5, 5) | st.floats(-5, 5) | st.sampled_from(["", "a'b", '"', "{0}", "é"]) | st.booleans()
TREES = st.recursive(
    st.sampled_from(sorted(TYPES)).map(expressions.Column) | CONSTANTS.map(expressions.Constant), calls, max_leaves=8
)


@given(expression=TREES)
def test_what_is_well_typed_runs_and_has_the_inferred_type(expression: expressions.Expression) -> None:
    try:
        inferred = expressions.infer(expression, TYPES)
    except ValueError:
        return
    written = sql.to_sql(expression, ZONE)
    with rows.connect() as connection:
        connection.register("frame", FRAME.rename(sql.neutral).to_arrow())
        found = connection.sql(f"SELECT {written} AS value FROM frame").types[0]
        connection.execute(f"SELECT count({written}) FROM frame").fetchall()
    assert inferred is None or found == DUCKDB_TYPES[inferred]


@given(moment=st.datetimes(datetime(1990, 1, 1), datetime(2037, 12, 31)))
@example(moment=datetime(2013, 11, 3, 5, 30))  # 01:30 of summer time, which comes again an hour later
@example(moment=datetime(2013, 11, 3, 6, 30))
def test_calendar_agrees_with_python(moment: datetime) -> None:
    local = moment.replace(tzinfo=UTC).astimezone(ZoneInfo(ZONE))
    frame = pl.DataFrame({"t": [moment]}, schema={"t": pl.Datetime("us")})
    sources = {name: f"{name}(t)" for name in ("year", "month", "hour", "minute", "weekday", "date")}
    sources["again"] = f"local_time(year(t), month(t), {local.day}, hour(t) * 100 + minute(t))"
    found = rows.evaluate(frame, sources, ZONE).row(0, named=True)
    assert (found["year"], found["month"], found["weekday"]) == (local.year, local.month, local.isoweekday())
    assert (found["hour"], found["minute"], found["date"]) == (local.hour, local.minute, local.date().isoformat())
    assert found["again"] == max(
        local.replace(second=0, microsecond=0, fold=fold).astimezone(UTC).replace(tzinfo=None) for fold in (0, 1)
    )


def test_nothing_outside_can_be_reached() -> None:
    with rows.connect() as connection:
        connection.execute("SET enable_external_access=false; SET lock_configuration=true")
        with pytest.raises(Exception, match="disabled by config"):
            connection.execute("SELECT * FROM read_csv('/etc/hosts')")
    # Even a text that looks like SQL stays a text, and a name that looks like SQL stays a name.
    assert value_of('joined(s, "\'; DROP TABLE frame; --")')[1] == "'; DROP TABLE frame; --"
    with pytest.raises(ValueError, match="no column"):
        expressions.infer(expressions.parse("column('n\" FROM frame; --')"), TYPES)


def test_substitution_follows_definitions_and_finds_cycles() -> None:
    definitions = {"a": expressions.parse("b + 1"), "b": expressions.parse("n * 2"), "n": expressions.parse("n")}
    inlined = expressions.substitute(expressions.parse("a + n"), definitions)
    assert inlined == expressions.parse("((n * 2) + 1) + n")
    with pytest.raises(ValueError, match="'a' is defined by itself: a -> b -> a"):
        expressions.substitute(expressions.parse("a"), {"a": expressions.parse("b"), "b": expressions.parse("a")})


# Against Python

LEAST, MOST = -(2**63), 2**63 - 1
INTEGERS = st.sampled_from([LEAST, LEAST + 1, MOST - 1, MOST]) | st.integers(-30, 30) | st.integers(LEAST, MOST)
NUMBERS = (
    st.sampled_from([math.inf, -math.inf, -0.0, 5e-324, 1.8e308]) | st.floats(allow_nan=False) | st.integers(-9, 9)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
VALUES = {"integer": INTEGERS, "number": NUMBERS.map(float), "text": TEXTS, "boolean": st.booleans()}
COLUMNS = {"integer": pl.Int64, "number": pl.Float64, "text": pl.String, "boolean": pl.Boolean}
NUMERIC = ["integer", "number"]
ANY = list(VALUES)


def kleene(decides: bool) -> Callable[[bool | None, bool | None], bool | None]:
    """`and` (what is False decides) and `or` (what is True does) where a truth value may be missing."""
    return lambda a, b: decides if decides in (a, b) else None if None in (a, b) else not decides


def ignoring_missing(of: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: b if a is None else a if b is None else of(a, b)


# What Python makes of each operation, on which types; those on a missing value too are marked by True.
PYTHON: dict[str, tuple[Callable[..., Any], list[str], bool]] = {
    "a + b": (operator.add, NUMERIC, False),
    "a - b": (operator.sub, NUMERIC, False),
    "a * b": (operator.mul, NUMERIC, False),
    "a / b": (lambda a, b: float(a) / float(b), NUMERIC, False),
    "a // b": (operator.floordiv, ["integer"], False),
    "a % b": (operator.mod, ["integer"], False),
    "-a": (lambda a, _: -a, NUMERIC, False),
    "abs(a)": (lambda a, _: abs(a), NUMERIC, False),
    "log1p(a)": (lambda a, _: math.log1p(a) if a > -1 else None, NUMERIC, False),
    "a == b": (operator.eq, ANY, False),
    "a != b": (operator.ne, ANY, False),
    "a < b": (operator.lt, ANY, False),
    "a <= b": (operator.le, ANY, False),
    "a > b": (operator.gt, ANY, False),
    "a >= b": (operator.ge, ANY, False),
    "a in (b, b)": (lambda a, b: a in (b, b), ANY, False),
    "a not in (b, b)": (lambda a, b: a not in (b, b), ANY, False),
    "a < b < a": (lambda a, b: a < b < a, ANY, False),
    "joined(a, b)": (operator.add, ["text"], False),
    "larger(a, b)": (ignoring_missing(max), ANY, True),
    "smaller(a, b)": (ignoring_missing(min), ANY, True),
    "coalesce(a, b)": (lambda a, b: b if a is None else a, ANY, True),
    "is_missing(a)": (lambda a, _: a is None, ANY, True),
    "a and b": (kleene(False), ["boolean"], True),
    "a or b": (kleene(True), ["boolean"], True),
    "not a": (lambda a, _: None if a is None else not a, ["boolean"], True),
    "a if a else b": (lambda a, b: None if a is None else a if a else b, ["boolean"], True),
}
OF_TIMES = {"date", "days", "hour", "hours", "local_time", "minute", "minutes", "minutes_between", "month"}
OF_TIMES |= {"truncate_hour", "weekday", "year"}


def in_python(of: Callable[..., Any], takes_missing: bool, a: Any, b: Any, source: str) -> Any:
    """What Python says; a missing value where an operand is missing or Python divides by zero."""
    if not takes_missing and (a is None or (b is None and "b" in expressions.columns(expressions.parse(source)))):
        return None
    try:
        return of(a, b)
    except ZeroDivisionError:
        return None


def test_every_operation_is_compared_with_python() -> None:
    compared = {call.operation for source in PYTHON for call in calls_of(expressions.parse(source))}
    assert compared | OF_TIMES == set(expressions.FUNCTIONS) | set(expressions.OPERATORS)


def calls_of(expression: expressions.Expression) -> Iterator[expressions.Call]:
    if isinstance(expression, expressions.Call):
        yield expression
        for operand in expression.operands:
            yield from calls_of(operand)


@settings(max_examples=150)
@given(data=st.data(), source=st.sampled_from(list(PYTHON)))
def test_a_value_is_that_of_python(data: st.DataObject, source: str) -> None:
    """Over signs, extremes, infinities, zeros and missing values; whole numbers beyond 64 bits are refused."""
    of, types, takes_missing = PYTHON[source]
    kinds = [data.draw(st.sampled_from(types))] * 2
    if kinds[0] in NUMERIC and types != ["integer"]:
        kinds = data.draw(st.lists(st.sampled_from(NUMERIC), min_size=2, max_size=2))
    exact = st.integers(-(2**53), 2**53) if kinds[0] != kinds[1] else INTEGERS  # beside a number, of 53 bits
    values = [(exact if kind == "integer" else VALUES[kind]) | st.none() for kind in kinds]
    pairs = data.draw(st.lists(st.tuples(*values), min_size=1, max_size=20))
    expected = [in_python(of, takes_missing, *pair, source) for pair in pairs]
    beyond = [type(value) is int and not LEAST <= value <= MOST for value in expected]
    frame = pl.DataFrame(
        pairs, schema={name: COLUMNS[kind] for name, kind in zip("ab", kinds, strict=True)}, orient="row"
    )
    for row in frame.filter(beyond).iter_slices(1):
        with pytest.raises(UserError, match=r"^value: .* a value does not fit"):
            rows.evaluate(row, {"value": source}, ZONE)
    found = rows.evaluate(frame.filter(~pl.Series(beyond)), {"value": source}, ZONE)["value"]
    kept = [value for value, left_out in zip(expected, beyond, strict=True) if not left_out]
    wanted = pl.Series(kept, dtype=found.dtype, strict=False).to_list()  # larger(1, 0.5) is 1.0: a column has one type
    if source == "log1p(a)":
        assert found.to_list() == [
            None if value is None else pytest.approx(value, rel=4e-16, abs=0.0) for value in wanted
        ]
    else:
        assert list(map(repr, found.to_list())) == list(map(repr, wanted))


@pytest.mark.parametrize("step", ["1 / ({})", "7 // ({})", "7 % ({})", "log1p({})", "1 if ({}) == 1 else 2"])
def test_sql_does_not_grow_without_bounds(step: str) -> None:
    """What SQL holds twice would double at each level, in an expression by itself or by its definitions."""
    nested = "n"
    for _ in range(40):
        nested = step.format(nested)
    with pytest.raises(ValueError, match="at most 10000 parts; use several features"):
        expressions.parse(nested)
    definitions = {f"f{level}": expressions.parse(step.format(f"f{level + 1}")) for level in range(40)}
    with pytest.raises(ValueError, match="at most 10000 parts"):
        expressions.substitute(expressions.parse("f0"), definitions)
    assert expressions.parse(step.format(step.format("n")))
