"""Expressions in Python give what DuckDB gives, operation by operation, and refuse what it refuses."""

import math
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.core.test_expressions import FRAME, INTEGERS, LEAST, MOST, TEXTS, TREES, TYPES, ZONE
from trunkline.core.expressions import OPERATIONS, Call, Column, Constant, Expression, Type, infer
from trunkline.core.tables import rows, sql
from trunkline.serve.online.evaluate import UnfitError, compiled

DUCKDB = rows.connect()

ZONES = [ZONE, "UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns"]
# A night in which clocks change, in each of the zones, and the time around it by quarters of an hour.
NIGHTS = [datetime(2013, 3, 10, 7), datetime(2013, 11, 3, 6), datetime(2013, 3, 31, 1), datetime(2013, 10, 27, 1)]
NIGHTS += [datetime(2013, 4, 6, 15), datetime(2013, 10, 5, 15, 30)]
QUARTERS = st.builds(
    lambda night, quarters: night + timedelta(minutes=15 * quarters), st.sampled_from(NIGHTS), st.integers(-20, 20)
)
SMALL = st.integers(-5, 5) | st.sampled_from([-0.5, 0.25, 0.5, 1.5, 2.5e-12, 1e-300])
VALUES: dict[Type, st.SearchStrategy[Any]] = {
    "integer": INTEGERS,
    "number": st.sampled_from([math.inf, -math.inf, math.nan, -0.0, 5e-324, 1.8e308, 0.5, -1.5])
    | st.floats(-1e17, 1e17),
    "text": TEXTS,
    "boolean": st.booleans(),
    "time": QUARTERS | st.datetimes(datetime(1971, 1, 1), datetime(2036, 1, 1)),
    "duration": st.timedeltas(timedelta(days=-5000), timedelta(days=5000)),
}
COLUMNS: dict[Type, Any] = {
    "integer": pl.Int64, "number": pl.Float64, "text": pl.String, "boolean": pl.Boolean,
    "time": pl.Datetime("us"), "duration": pl.Int64,
}  # fmt: skip
# Operands that most random ones are not: parts of dates, and spans that a time can be moved by.
PARTS = [st.integers(1999, 2031), st.integers(0, 13), st.integers(0, 32), st.integers(-130, 2500)]


def accepted(operation: str, arity: int) -> list[tuple[Type, ...]]:
    """The types of operands that an operation takes."""
    kinds: list[tuple[Type, ...]] = [()]
    for _ in range(arity):
        kinds = [(*before, kind) for before in kinds for kind in VALUES]
    return [each for each in kinds if fits(operation, each)]


def fits(operation: str, kinds: tuple[Type, ...]) -> bool:
    try:
        OPERATIONS[operation].result(kinds)
    except ValueError:
        return False
    return True


def operand(name: str, kind: Type) -> Expression:
    """A column; a duration is no column's type, so one of minutes."""
    return Call("minutes", (Column(name),)) if kind == "duration" else Column(name)


def in_python(expression: Expression, types: dict[str, Type], row: dict[str, Any], zone: str) -> tuple[str, Any]:
    try:
        return "value", compiled(expression, types, zone)(row)
    except UnfitError:
        return "unfit", None


def in_duckdb(expression: Expression, frame: pl.DataFrame, zone: str) -> list[tuple[str, Any]]:
    """What each row gives; all at once if every value fits."""
    DUCKDB.register("frame", frame.rename(sql.neutral).to_arrow())
    try:
        found = DUCKDB.execute(f"SELECT {sql.to_sql(expression, zone)} FROM frame").fetchall()
    except rows.UNFIT:
        if len(frame) == 1:
            return [("unfit", None)]
        return [each for row in frame.iter_slices(1) for each in in_duckdb(expression, row, zone)]
    return [("value", value) for (value,) in found]


def alike(one: tuple[str, Any], other: tuple[str, Any], operation: str) -> bool:
    """Equal to the bit, type and sign of zero included; a logarithm to its last digit but one."""
    if operation == "log1p" and isinstance(one[1], float) and isinstance(other[1], float) and math.isfinite(one[1]):
        return math.isclose(one[1], other[1], rel_tol=4e-16)
    return repr(one) == repr(other)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@settings(max_examples=25)
@given(data=st.data())
def test_an_operation_gives_what_duckdb_gives(operation: str, data: st.DataObject) -> None:
    arity = sum(OPERATIONS[operation].uses(number) > 0 for number in range(4))
    kinds = data.draw(st.sampled_from(accepted(operation, arity)))
    names = "abcd"[:arity]
    expression = Call(operation, tuple(operand(name, kind) for name, kind in zip(names, kinds, strict=True)))
    moved = "time" in kinds and "duration" in kinds
    values = [values_of(operation, place, kind, moved) | st.none() for place, kind in enumerate(kinds)]
    drawn = data.draw(st.lists(st.tuples(*values), min_size=1, max_size=20))
    types: dict[str, Type] = {n: "integer" if k == "duration" else k for n, k in zip(names, kinds, strict=True)}
    frame = pl.DataFrame(drawn, schema={name: COLUMNS[kind] for name, kind in types.items()}, orient="row")
    zone = data.draw(st.sampled_from(ZONES))
    found = [in_python(expression, types, row, zone) for row in frame.iter_rows(named=True)]
    for row, here, there in zip(drawn, found, in_duckdb(expression, frame, zone), strict=True):
        assert alike(here, there, operation), (row, here, there)


def values_of(operation: str, place: int, kind: Type, moved: bool) -> st.SearchStrategy[Any]:
    if operation == "local_time":
        return PARTS[place]
    if kind == "duration":
        return st.integers(-(10**6), 10**6) if moved else st.integers(-(10**6), 10**6) | INTEGERS
    return VALUES[kind]


@pytest.mark.parametrize("zone", ZONES)
def test_every_quarter_of_an_hour_around_clock_changes(zone: str) -> None:
    """Hours that come twice, hours that are skipped, and midnight by both of its names; in one zone by half an hour."""
    nights = {night + timedelta(minutes=15 * quarters) for night in NIGHTS for quarters in range(-60, 60)}
    clocks = [(t.year, t.month, t.day, t.hour * 100 + t.minute) for t in sorted(nights)]
    clocks += [(2012, 2, 29, 2400), (2013, 2, 29, 100), (2013, 12, 31, 2400), (2013, 6, 1, 2401), (2013, 6, 1, -1)]
    frame = pl.DataFrame(clocks, schema=list("abcd"), orient="row")
    expression, types = Call("local_time", tuple(map(Column, "abcd"))), dict.fromkeys("abcd", "integer")
    found = [in_python(expression, types, row, zone) for row in frame.iter_rows(named=True)]  # type: ignore[arg-type]
    assert found == in_duckdb(expression, frame, zone)


@settings(max_examples=150)
@given(expression=TREES)
def test_a_whole_expression_gives_what_duckdb_gives(expression: Expression) -> None:
    try:
        inferred = infer(expression, TYPES)
    except ValueError:
        return
    assume(inferred is not None)
    found = [in_python(expression, TYPES, row, ZONE) for row in FRAME.iter_rows(named=True)]
    there = in_duckdb(expression, FRAME, ZONE)
    assert all(alike(one, other, "log1p") for one, other in zip(found, there, strict=True)), (found, there)


def test_a_number_column_given_whole_numbers_holds_numbers() -> None:
    """A request in JSON may write 3 for 3.0; a sum that would not fit a whole number is then one of numbers."""
    value = compiled(Call("add", (Column("x"), Constant(MOST))), {"x": "number"}, ZONE)({"x": 3})
    assert isinstance(value, float)
    assert value == float(MOST) + 3
    with pytest.raises(UnfitError, match="beyond 64 bits"):
        compiled(Call("negate", (Column("n"),)), {"n": "integer"}, ZONE)({"n": LEAST})
