"""Sums of operands of any size are exact, and rounded once, as DuckDB does both."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trunkline.core.expressions import Column, parse
from trunkline.pipeline.features.plan import Aggregation, Events, RollingAggregate
from trunkline.serve.online.evaluate import UnfitError
from trunkline.serve.online.rolling import RollingView, decimal
from trunkline.serve.online.values import Event, Identity

LIMIT = 10.0**12
EDGES = st.sampled_from([LIMIT - 0.001, 0.001 - LIMIT, 5e-7, -1.5e-6, 0.0, 1e11])
STREAM = Events("s", "t", ("n",), Column("at"), Column("at"))
VIEW = RollingView(
    RollingAggregate("v", STREAM, ("k",), timedelta(hours=1), (Aggregation("x", "sum", parse("x"), None),))
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@given(values=st.lists(EDGES | st.floats(-LIMIT / 2, LIMIT / 2), min_size=1, max_size=40))
@example(values=[LIMIT - 0.001] * 20)
@example(values=[0.001 - LIMIT] * 20 + [1e11])
def test_a_sum_is_that_of_duckdb(values: list[float], connection: duckdb.DuckDBPyConnection) -> None:
    record = VIEW.recorder({"x": "number"}, "UTC")
    events = [Event(Identity((number,), number), 0, 0, {"x": value}) for number, value in enumerate(values)]
    stored = VIEW.change([record(event) for event in events]).merge(None, 0).value
    query = "SELECT CAST(sum(CAST(x AS DECIMAL(18, 6))) AS DOUBLE) FROM (SELECT unnest(?::DOUBLE[]) AS x)"
    ((expected,),) = connection.execute(query, [values]).fetchall()
    assert VIEW.read(stored, 1, None).values == {"x": expected}


@given(value=st.floats(-LIMIT / 2, LIMIT / 2) | st.integers(-(10**12) + 1, 10**12 - 1) | EDGES | st.booleans())
def test_an_operand_is_rounded_as_duckdb_casts_it(value: float, connection: duckdb.DuckDBPyConnection) -> None:
    ((expected,),) = connection.execute("SELECT CAST(? AS DECIMAL(18, 6))", [value]).fetchall()
    assert (Decimal(decimal(value)[0]) / 10**6, decimal(value)[1]) == (expected, 1)


@pytest.mark.parametrize("value", [LIMIT, -LIMIT, 10**12, float("inf"), float("nan"), LIMIT - 1e-7])
def test_an_operand_that_duckdb_refuses_is_refused(value: float, connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.ConversionException):
        connection.execute("SELECT CAST(? AS DECIMAL(18, 6))", [value]).fetchall()
    with pytest.raises(UnfitError, match="does not fit"):
        decimal(value)
