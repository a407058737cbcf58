"""Columns are converted exactly, and what cannot be converted is told apart from what is missing."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.conf.contract import ColumnType
from trunkline.core.tables.convert import DTYPES, parse, verify_notation, verify_words

FAILED = object()
T = datetime(2013, 3, 10, 7, 30)

TEXTS: dict[ColumnType, dict[str, object]] = {
    "integer": {
        "12": 12,
        "-7": -7,
        "007": 7,
        "12x": FAILED,
        "1.0": 1,
        "-0.00": 0,
        "1.01": FAILED,
        "1.": FAILED,
        "1e3": FAILED,
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
    "boolean": {"true": True, "False": False, "1": True, "0": False, "1.0": True, "yes": FAILED, "2": FAILED},
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
        ("boolean", [1, 0, 2, -1, None], [True, False, FAILED, FAILED, None]),
        ("boolean", [1.0, 0.0, 0.5, float("nan")], [True, False, FAILED, None]),
        ("boolean", [Decimal(1), Decimal("0.5")], [True, FAILED]),
        ("text", [None, None], [None, None]),
        ("text", [7, -1, None], ["7", "-1", None]),
        ("text", [7.0, -0.0, 7.5, float("inf"), float("nan"), None], ["7", "0", FAILED, FAILED, None, None]),
        ("text", [Decimal("7.00"), Decimal("7.5")], ["7", FAILED]),
        ("text", [2**63, 5], [FAILED, "5"]),
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
        ("text", True, "Boolean"),
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


LETTERS = [*map(chr, range(ord("A"), ord("Z") + 1)), *map(chr, range(ord("a"), ord("z") + 1)), *"+%0123456789"]
DIRECTIVES = [
    *(f"%{letter}" for letter in LETTERS),
    "%",
    "%.f",
    "%.3f",
    "%3f",
    "%6f",
    "%9f",
    "%:z",
    "%::z",
    "%#z",
    "%-d",
]
AROUND = ["{}", "%Y-%m-%d {}", "%Y-%m-%d %H:%M:%S{}", "%Y-%m-%d {}:%M %p", "%Y-{}-%d", "{}.%m.%Y", "%d/%b/%Y:%T {}"]


@pytest.mark.parametrize("notation", [around.format(directive) for around in AROUND for directive in DIRECTIVES])
def test_a_notation_is_refused_or_reads_the_instants_that_it_wrote(notation: str) -> None:
    try:
        verify_notation(notation)
    except ValueError as error:
        assert str(error).startswith(f"'{notation}': ")  # noqa: PT017  most notations are refused, not all
        return
    offset = timezone(timedelta(hours=-3))
    instant = datetime(2024, 2, 29, 22, 41, 53, 246_813, tzinfo=offset)
    text = pl.Series([instant]).dt.convert_time_zone("America/Sao_Paulo").dt.strftime(notation)
    parsed = parse(text, "time", [notation])
    assert not parsed.failed.any()
    aware = any(directive in notation for directive in ("%z", "%:z", "%+", "%s"))
    expected = instant.astimezone(UTC).replace(tzinfo=None) if aware else instant.replace(tzinfo=None)
    units = ("1us", "1ms", "1s", "1m", "1d", "1mo", "1y")
    assert parsed.values[0] in {pl.Series([expected]).dt.truncate(unit)[0] for unit in units}


@pytest.mark.parametrize(
    ("notation", "text", "expected"),
    [
        ("%d/%b/%Y:%H:%M:%S %z", "10/Mar/2013:02:30:00 -0500", T),
        ("%d.%m.%Y", "10.03.2013", datetime(2013, 3, 10)),
        ("%Y-%m-%d %I:%M %p", "2013-03-10 07:30 AM", T),
        ("%s", "1362900600", T),
        ("%Y%m%d %H%M%S%.f", "20130310 073000.5", T + timedelta(milliseconds=500)),
    ],
)
def test_a_notation_is_read(notation: str, text: str, expected: datetime) -> None:
    parsed = parse(pl.Series([text, "x"]), "time", [verify_notation(notation)])
    assert parsed.values.to_list() == [expected, None]
    assert parsed.failed.to_list() == [False, True]


@pytest.mark.parametrize(
    ("notation", "message"),
    [
        ("%Y-W%W-%u", "%W is not supported; supported are %Y %y "),
        ("%H:%M:%S.%f", "%f counts nanoseconds; write %.f"),
        ("%d.%m.%Y %H:%M %Z", "%Z is a name that says no offset; write %z"),
        ("%m/%d", "no time can be read by it; it must say the year"),
        ("epoch weeks", "has no directive such as %Y, nor is it epoch days, "),
        ("%Y-%m-%d %H", "no time can be read by it; it must say the year"),
    ],
)
def test_a_notation_that_no_text_has_is_refused(notation: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"'{notation}': {message}")):
        verify_notation(notation)


EPOCHS = {
    "epoch days": timedelta(days=1),
    "epoch seconds": timedelta(seconds=1),
    "epoch milliseconds": timedelta(0, 0, 1000),
}


@pytest.mark.parametrize("notation", EPOCHS)
@pytest.mark.parametrize("stored", [pl.Int64, pl.Float64, pl.String])
@given(numbers=st.lists(st.integers(-25_000, 30_000), min_size=1))
def test_numbers_since_1970_are_times_however_stored(notation: str, stored: pl.DataType, numbers: list[int]) -> None:
    parsed = parse(pl.Series("c", numbers).cast(stored), "time", [verify_notation(notation)])
    assert parsed.values.to_list() == [datetime(1970, 1, 1) + number * EPOCHS[notation] for number in numbers]


def test_a_number_that_is_no_time_is_none() -> None:
    parsed = parse(pl.Series("c", [1.5, 1e300, -1e9, None]), "time", ["epoch days"])
    assert parsed.values.to_list() == [datetime(1970, 1, 2, 12), None, None, None]
    assert parsed.failed.to_list() == [False, True, True, False]


WRITTEN = {"%G-W%V-%u": "2013-W10-7", "%Y%j": "2013069", "%d%b%y": "10Mar13", "%y/%j": "13/069"}


@pytest.mark.parametrize("notation", WRITTEN)
def test_days_of_weeks_and_of_years(notation: str) -> None:
    parsed = parse(pl.Series("c", [WRITTEN[notation], "x"]), "time", [verify_notation(notation)])
    assert (parsed.values.to_list(), parsed.failed.to_list()) == ([datetime(2013, 3, 10), None], [False, True])


@pytest.mark.parametrize(
    ("pairs", "values", "expected"),
    [
        (
            ["yes/no", "t/f"],
            ["Yes", "NO", "t", "F", "true", "1", None],
            [True, False, True, False, FAILED, FAILED, None],
        ),
        (["2/1"], [2, 1, 0], [True, False, FAILED]),
        (["2/1"], [2.0, None, 1.0], [True, None, False]),
        (["J/N"], [True, False], [True, False]),
    ],
)
def test_booleans_are_the_words_that_are_declared(
    pairs: list[str], values: list[object], expected: list[object]
) -> None:
    parsed = parse(pl.Series("c", values), "boolean", list(map(verify_words, pairs)))
    assert parsed.values.to_list() == [None if value is FAILED else value for value in expected]
    assert parsed.failed.to_list() == [value is FAILED for value in expected]
    for wrong in ("yes", "a/A", "/no", "a/b/c"):
        with pytest.raises(ValueError, match="write the word for true and that for false"):
            verify_words(wrong)
