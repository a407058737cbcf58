"""The expression language: what it means, what it refuses, and that its types and its SQL agree."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.core import expressions, rows

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
    sql = expressions.to_sql(expression, ZONE)
    with rows.connect() as connection:
        connection.register("frame", FRAME.rename(expressions.neutral).to_arrow())
        found = connection.sql(f"SELECT {sql} AS value FROM frame").types[0]
        connection.execute(f"SELECT count({sql}) FROM frame").fetchall()
    assert inferred is None or found == DUCKDB_TYPES[inferred]


@given(moment=st.datetimes(datetime(1990, 1, 1), datetime(2037, 12, 31)))
def test_calendar_agrees_with_python(moment: datetime) -> None:
    local = moment.replace(tzinfo=UTC).astimezone(ZoneInfo(ZONE))
    frame = pl.DataFrame({"t": [moment]}, schema={"t": pl.Datetime("us")})
    sources = {name: f"{name}(t)" for name in ("year", "month", "hour", "minute", "weekday", "date")}
    sources["again"] = f"local_time(year(t), month(t), {local.day}, hour(t) * 100 + minute(t))"
    found = rows.evaluate(frame, sources, ZONE).row(0, named=True)
    assert (found["year"], found["month"], found["weekday"]) == (local.year, local.month, local.isoweekday())
    assert (found["hour"], found["minute"], found["date"]) == (local.hour, local.minute, local.date().isoformat())
    first = local.replace(second=0, microsecond=0, fold=0).astimezone(UTC).replace(tzinfo=None)
    assert found["again"] == first


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
