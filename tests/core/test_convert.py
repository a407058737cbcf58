"""Columns are converted exactly, and what cannot be converted is told apart from what is missing."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.conf.contract import ColumnType
from trunkline.core.convert import DTYPES, parse

FAILED = object()
T = datetime(2013, 3, 10, 7, 30)

TEXTS: dict[ColumnType, dict[str, object]] = {
    "integer": {
        "12": 12,
        "-7": -7,
        "007": 7,
        "12x": FAILED,
        "1.0": FAILED,
        " 1": FAILED,
        "nan": FAILED,
        "": FAILED,
    }
    | {"9223372036854775807": 2**63 - 1, "9223372036854775808": FAILED},
    "number": {
        "1": 1.0,
        "-.5e1": -5.0,
        "nan": None,
        "NaN": None,
        "inf": FAILED,
        "1e999": FAILED,
        "1,5": FAILED,
    },
    "text": {"": "", " x ": " x ", "nan": "nan"},
    "boolean": {"true": True, "False": False, "1": True, "0": False, "yes": FAILED},
    "time": {
        "2013-03-10T07:30:00Z": T,
        "2013-03-10T02:30:00-05:00": T,
        "2013-03-10 13:00+0530": T,
        "2013-03-10T08:30:00.000001999+01": T + timedelta(microseconds=1),
        "2013-03-10": datetime(2013, 3, 10),
        "2013-02-29": FAILED,
        "2013-03-10T24:00": FAILED,
        "2013-03-10T07:30:60Z": FAILED,
        "2013-03-10T07:30:00+25:00": FAILED,
        "9999-12-31T23:59:59-12:00": FAILED,
        "0000-01-01": FAILED,
        "10/03/2013": FAILED,
        "2013-03-10T07:30:00Z\n": FAILED,
    },
}


@pytest.mark.parametrize("kind", TEXTS)
def test_texts(kind: ColumnType) -> None:
    expected = [*TEXTS[kind].values(), None]
    parsed = parse(pl.Series("c", [*TEXTS[kind], None], dtype=pl.String), kind)
    assert parsed.values.dtype == DTYPES[kind]
    assert parsed.values.to_list() == [None if value is FAILED else value for value in expected]
    assert parsed.failed.to_list() == [value is FAILED for value in expected]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("integer", [1.0, 1.5, float("nan"), None, 1e30], [1, FAILED, None, None, FAILED]),
        ("integer", [Decimal("2"), Decimal("1.5")], [2, FAILED]),
        ("integer", [2**63, 5], [FAILED, 5]),
        ("number", [float("inf"), float("nan"), 2.5], [FAILED, None, 2.5]),
        ("number", [1, None], [1.0, None]),
        ("time", [date(2013, 3, 10)], [datetime(2013, 3, 10)]),
        ("time", [datetime(2013, 3, 10, 7, 30, tzinfo=UTC)], [T]),
        ("boolean", [True, None], [True, None]),
        ("text", [None, None], [None, None]),
    ],
)
def test_stored_types(kind: ColumnType, values: list[object], expected: list[object]) -> None:
    parsed = parse(pl.Series("c", values), kind)
    assert parsed.values.dtype == DTYPES[kind]
    assert parsed.values.to_list() == [None if value is FAILED else value for value in expected]
    assert parsed.failed.to_list() == [value is FAILED for value in expected]


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("integer", True, "Boolean"),
        ("text", 1, "Int64"),
        ("time", 1, "Int64"),
        ("number", [1.0], "List(Float64)"),
    ],
)
def test_a_wrong_stored_type_is_an_error(kind: ColumnType, value: object, stored: str) -> None:
    with pytest.raises(TypeError) as caught:
        parse(pl.Series("c", [value]), kind)
    assert str(caught.value).startswith(f"is stored as {stored}, which is not ")


_OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.lists(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=_OFFSETS), min_size=1))
def test_iso_texts_give_the_instants_that_python_reads(times: list[datetime]) -> None:
    parsed = parse(pl.Series("c", [time.isoformat() for time in times]), "time")
    assert parsed.values.to_list() == [time.astimezone(UTC).replace(tzinfo=None) for time in times]
    assert not parsed.failed.any()
