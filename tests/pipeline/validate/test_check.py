"""Every row that breaks a contract is found, with its reason, and no other row is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from trunkline.conf.contract import Contract, TableContract
from trunkline.conf.data import Data
from trunkline.core import expressions
from trunkline.core.errors import UserError
from trunkline.pipeline.ingest import read
from trunkline.pipeline.validate import check

ZONE = "America/New_York"
MONTHS = ["2013-01"]


def _table(policy: str = "fail", **changes: Any) -> TableContract:
    columns = {
        "id": {"type": "integer", "min": 0.0},
        "fare": {"type": "number", "min": -2.5, "max": 100.0, "nullable": True},
        "stops": {"type": "integer", "allowed": [1, 2, 3], "nullable": True},
        "kind": {"type": "text", "allowed": ["bus", "tram"]},
        "plate": {"type": "text", "pattern": "[A-Z]{2}|[0-9]+", "nullable": True},
        "night": {"type": "boolean"},
        "at": {"type": "time"},
    }
    declared = {
        "columns": {name: {"description": "What it is", "on_failure": policy} | it for name, it in columns.items()},
        "privacy": "internal",
        "unique": ["id", "kind"],
        "on_duplicate": policy,
        "checks": {
            "cheap_bus": {
                "expression": "kind != 'bus' or fare <= 50 or night",
                "description": "A bus by day costs at most 50",
                "on_failure": policy,
            }
        },
        "quarantine_limit": 0.9,
        "every_month": "at",
    }
    return TableContract.model_validate(declared | changes)


@dataclass(frozen=True)
class Found:
    """What `check` returned, read."""

    valid: pl.DataFrame
    rejected: pl.DataFrame
    report: check.CheckReport


def _check(raw: pl.DataFrame, table: TableContract, months: list[str] = MONTHS) -> Found:
    checked = check.check("trips", raw.lazy(), table, ZONE, months)
    return Found(checked.valid.collect(), checked.rejected.collect(), checked.report)


@pytest.fixture(autouse=True, scope="module")
def pieces() -> Iterator[None]:
    """Let these small tables be of one piece, or of some, as large ones are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "PIECE", 3)
        yield


Row = dict[str, str | None]

_ROWS = st.fixed_dictionaries(
    {
        "fare": st.none() | st.floats(-2.5, 50.0).map(repr),
        "stops": st.sampled_from([None, "1", "2", "03"]),
        "kind": st.sampled_from(["bus", "tram"]),
        "plate": st.none() | st.from_regex(r"\A([A-Z]{2}|[0-9]{1,9})\Z"),
        "night": st.sampled_from(["true", "False", "0"]),
        "at": st.sampled_from(["2013-01-31T23:59:00-05:00", "2013-02-01T04:59:59Z", "2013-01-05"]),
    }
)
TABLES = st.lists(_ROWS, min_size=2, max_size=12).map(
    lambda rows: [{"id": str(index)} | row for index, row in enumerate(rows)]
)

# What breaks exactly one rule: the values to plant, the rule's key, and the reason given for the row.
BREACHES: list[tuple[Row, str, str]] = [
    ({"id": "12x"}, "columns.id.type", "column id: not an integer"),
    ({"id": None}, "columns.id.nullable", "column id: missing"),
    ({"id": "-1"}, "columns.id.min", "column id: below 0"),
    ({"fare": "dear"}, "columns.fare.type", "column fare: not a finite number"),
    ({"fare": "inf"}, "columns.fare.type", "column fare: not a finite number"),
    ({"fare": "-2.51"}, "columns.fare.min", "column fare: below -2.5"),
    ({"fare": "100.01", "kind": "tram"}, "columns.fare.max", "column fare: above 100"),
    ({"stops": "4"}, "columns.stops.allowed", "column stops: not one of 1, 2, 3"),
    ({"kind": "taxi"}, "columns.kind.allowed", "column kind: not one of bus, tram"),
    ({"kind": None}, "columns.kind.nullable", "column kind: missing"),
    ({"plate": "ABC"}, "columns.plate.pattern", "column plate: not of the form [A-Z]{2}|[0-9]+"),
    ({"plate": "AB\n"}, "columns.plate.pattern", "column plate: not of the form [A-Z]{2}|[0-9]+"),
    ({"plate": ""}, "columns.plate.pattern", "column plate: not of the form [A-Z]{2}|[0-9]+"),
    ({"night": "dark"}, "columns.night.type", "column night: not true or false"),
    ({"at": "2013-02-30T00:00Z"}, "columns.at.type", "column at: not an ISO 8601 time"),
    ({"at": None}, "columns.at.nullable", "column at: missing"),
    (
        {"kind": "bus", "fare": "50.5", "night": "0"},
        "checks.cheap_bus",
        "check cheap_bus: against the rule 'A bus by day costs at most 50'",
    ),
]


def _frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String))


@given(TABLES)
@settings(max_examples=40)
def test_a_table_as_declared_passes(rows: list[Row]) -> None:
    checked = _check(_frame(rows), _table())
    assert checked.report == check.CheckReport(len(rows), len(rows), 0, 0.0, {})
    assert checked.valid["id"].to_list() == list(range(len(rows)))
    assert checked.rejected.columns == [*checked.valid.columns, "reasons"] == [*_table().columns, "reasons"]
    assert set(checked.rejected.dtypes) == {pl.String}
    assert list(checked.valid.schema.values()) == [
        *(pl.Int64, pl.Float64, pl.Int64, pl.String, pl.String, pl.Boolean),
        pl.Datetime("us"),
    ]


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: f"{breach[1]}-{next(iter(breach[0].values()))!r}")
@given(rows=TABLES, data=st.data())
@settings(max_examples=8)
def test_one_breach_is_found_where_it_is(breach: tuple[Row, str, str], rows: list[Row], data: st.DataObject) -> None:
    planted, key, reason = breach
    at = data.draw(st.integers(0, len(rows) - 1))
    rows = [row | planted if index == at else row for index, row in enumerate(rows)]

    checked = _check(_frame(rows), _table("quarantine"))
    assert checked.report.checks == {key: 1}
    assert checked.rejected.to_dicts() == [rows[at] | {"reasons": reason}]
    assert checked.valid["id"].to_list() == [index for index in range(len(rows)) if index != at]

    with pytest.raises(UserError) as caught:
        _check(_frame(rows), _table("fail"))
    subject, _, what = reason.partition(": ")
    line = str(caught.value)
    assert line.startswith(f"data/raw/trips.parquet: {subject}: 1 row is {what}; row {at + 1} (")
    assert line.endswith(f", counted from 1 below the header; correct the data, or tables.trips.{key} in conf/contract")
    assert "\n" not in line


@given(TABLES, st.dictionaries(st.integers(0, 11), st.sampled_from(BREACHES), max_size=6))
@settings(max_examples=40)
def test_valid_and_rejected_rows_are_all_rows(rows: list[Row], plan: Mapping[int, tuple[Row, str, str]]) -> None:
    plan = {at: breach for at, breach in plan.items() if at < len(rows) - 1}
    # A tag that no rule reads tells the rows apart, since a breach may overwrite the id.
    rows = [row | plan.get(at, ({},))[0] | {"tag": str(at)} for at, row in enumerate(rows)]
    table = _table("quarantine")
    tag = table.columns["kind"].model_copy(update={"allowed": None})
    table = table.model_copy(update={"columns": table.columns | {"tag": tag}, "unique": ("tag",)})

    checked = _check(_frame(rows), table)
    assert checked.rejected.to_dicts() == [rows[at] | {"reasons": plan[at][2]} for at in sorted(plan)]
    assert checked.valid["tag"].to_list() == [str(at) for at in range(len(rows)) if at not in plan]
    assert checked.report.valid + checked.report.quarantined == checked.report.rows == len(rows)
    assert sum(checked.report.checks.values()) == len(plan)


GOOD: Row = {
    "fare": "1.5",
    "stops": "1",
    "kind": "bus",
    "plate": "AB",
    "night": "0",
    "at": "2013-01-05T10:00:00Z",
}


def _rows(*changes: Row) -> pl.DataFrame:
    return _frame([{"id": str(index)} | GOOD | change for index, change in enumerate(changes)])


def _message(raw: pl.DataFrame, table: TableContract, months: list[str] = MONTHS) -> str:
    with pytest.raises(UserError) as caught:
        _check(raw, table, months)
    return str(caught.value)


def test_quarantine_keeps_the_first_of_equal_keys() -> None:
    raw = _rows({"id": "7"}, {"id": "8"}, {"id": "7", "kind": "tram"}, {"id": "07", "fare": "2"}, {"id": "7"})
    checked = _check(raw, _table("quarantine"))
    assert checked.valid.select("id", "kind").rows() == [(7, "bus"), (8, "bus"), (7, "tram")]
    assert checked.rejected.select("id", "reasons").rows() == [
        ("07", "columns id, kind: not unique"),
        ("7", "columns id, kind: not unique"),
    ]
    assert _message(raw, _table()) == (
        "data/raw/trips.parquet: columns id, kind: 2 rows are not unique; first rows 4 (07, bus), 5 (7, bus), "
        "counted from 1 below the header; correct the data, or tables.trips.unique in conf/contract"
    )


def test_all_that_fails_is_reported_a_line_each() -> None:
    raw = _rows({"plate": "a b"}, {"fare": "101"}, {"fare": "102"}, {"fare": "103"}, {"fare": "1e9"}, {"at": None})
    end = "counted from 1 below the header; correct the data, or tables.trips"
    assert _message(raw, _table(checks={}), ["2013-01", "2013-02", "2013-03"]).split("\n") == [
        "data/raw/trips.parquet: column fare: 4 rows are above 100; first rows 2 (101), 3 (102), 4 (103), "
        f"{end}.columns.fare.max in conf/contract",
        "data/raw/trips.parquet: column plate: 1 row is not of the form [A-Z]{2}|[0-9]+; row 1 ('a b'), "
        f"{end}.columns.plate.pattern in conf/contract",
        f"data/raw/trips.parquet: column at: 1 row is missing; row 6 (missing), {end}.columns.at.nullable "
        "in conf/contract",
        "data/raw/trips.parquet: column at: no valid rows in 2013-02, 2013-03 (America/New_York); "
        "supply them, or move data.window",
    ]


def test_several_reasons_of_a_row_are_all_given() -> None:
    checked = _check(_rows({}, {"fare": "101", "kind": "taxi"}), _table("quarantine"))
    assert checked.rejected["reasons"].to_list() == ["column fare: above 100; column kind: not one of bus, tram"]
    assert checked.report == check.CheckReport(2, 1, 1, 0.5, {"columns.fare.max": 1, "columns.kind.allowed": 1})


def test_too_many_rows_for_quarantine() -> None:
    raw = _rows({}, {"plate": "?"}, {"fare": "60"}, {"fare": "70"})
    assert _check(raw, _table("quarantine", quarantine_limit=0.75)).report.quarantined == 3
    assert _message(raw, _table("quarantine", quarantine_limit=0.5)) == (
        "data/raw/trips.parquet: 3 of 4 rows (75.00%) would go to quarantine, more than 50.00%: 2 for check cheap_bus "
        "against the rule 'A bus by day costs at most 50', 1 for column plate not of the form [A-Z]{2}|[0-9]+; "
        "correct the data, or tables.trips.quarantine_limit in conf/contract"
    )


def test_a_month_is_local_and_must_hold_valid_rows() -> None:
    raw = _rows({"at": "2013-02-01T04:59:00Z"}, {"at": "2013-02-01T05:00:00Z", "plate": "?"})
    assert _check(raw, _table("quarantine"), ["2013-01"]).report.valid == 1
    assert "no valid rows in 2013-02 (" in _message(raw, _table("quarantine"), ["2013-01", "2013-02", "2013-02"])


def test_columns_that_are_not_as_declared() -> None:
    raw = _rows({}).rename({"plate": "plates"}).with_columns(night=pl.lit(date(2013, 3, 10)), extra=pl.lit("x"))
    assert _message(raw, _table()).split("\n") == [
        "data/raw/trips.parquet: column plate: is missing; supply it, or remove it from tables.trips.columns",
        "data/raw/trips.parquet: column plates: is not declared; declare it in tables.trips.columns; "
        "did you mean 'plate'?",
        "data/raw/trips.parquet: column extra: is not declared; declare it in tables.trips.columns; valid are: plate",
        "data/raw/trips.parquet: column night: is stored as Date, which is not true or false; "
        "correct tables.trips.columns.night.type",
    ]


def test_a_rule_that_cannot_be_decided_fails() -> None:
    # Python reads a look-ahead, polars does not.
    table = _table()
    column = table.columns["plate"].model_copy(update={"pattern": "(?=A)[A-Z]+"})
    table = table.model_copy(update={"columns": table.columns | {"plate": column}})
    message = _message(_rows({}), table)
    assert message.startswith("conf/contract: tables.trips.columns.plate.pattern: cannot be decided for data")
    assert "look-around" in message
    assert "\n" not in message


def test_a_failure_that_belongs_to_no_rule_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if another release of pandera named its checks otherwise.
    monkeypatch.setattr(check, "_key", lambda _: "renamed")
    assert "tables.trips.renamed: cannot be decided" in _message(_rows({"fare": "101"}), _table(checks={}))


def test_pandera_cannot_be_switched_off_from_outside() -> None:
    from pandera.config import ValidationDepth, config_context

    with config_context(validation_enabled=False, validation_depth=ValidationDepth.SCHEMA_ONLY):
        assert "1 row is above 100" in _message(_rows({"fare": "101"}), _table(checks={}))


def test_tables_are_those_of_the_sources() -> None:
    declared = Contract(tables={"trips": _table(), "stops": _table()})
    with pytest.raises(UserError) as caught:
        check.check_tables({"trips": _rows({}).lazy(), "stop": _rows({}).lazy()}, declared, ZONE, MONTHS)
    assert str(caught.value).split("\n") == [
        "conf/contract: tables.stop: has a source but no contract; declare it; did you mean 'stops'?",
        "conf/contract: tables.stops: is not in data.sources; remove it or add a source; did you mean 'stop'?",
    ]
    wrong = {"trips": _rows({"id": "x"}).lazy(), "stops": _rows({"id": "y"}).lazy()}
    with pytest.raises(UserError) as caught:
        check.check_tables(wrong, declared, ZONE, MONTHS)
    assert [line.partition(":")[0] for line in str(caught.value).split("\n")] == [
        "data/raw/trips.parquet",
        "data/raw/stops.parquet",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unique": []}, "at least 1 item"),
        ({"unique": ["ids"]}, "no column 'ids'; did you mean 'id'?"),
        ({"every_month": "id"}, "every_month: column 'id' is not of type time"),
        (
            {"columns": {"id": {"type": "text", "description": "An id", "allowed": [1]}}},
            "allowed: 1 is no value of",
        ),
        (
            {"columns": {"id": {"type": "text", "description": "An id", "pattern": "[A"}}},
            "not a regular expression",
        ),
        (
            {"columns": {"id": {"type": "number", "description": "An id", "max": float("inf")}}},
            "finite number",
        ),
        (
            {"checks": {"x": {"expression": "fares > 1", "description": "Some rule"}}},
            "checks.x.expression: no column 'fares'; did you mean 'fare'?",
        ),
        (
            {"checks": {"x": {"expression": "fare + 1", "description": "Some rule"}}},
            "checks.x.expression: must be true or false by the row's columns",
        ),
        (
            {"checks": {"x": {"expression": "plate > 1", "description": "Some rule"}}},
            "checks.x.expression: greater mixes integer and text",
        ),
    ],
)
def test_a_contract_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _table(**changes)
    assert message in str(caught.value)


def test_the_reference_problem(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "PIECE", 2**17)
    data, declared = (
        group.parse(yaml.safe_load((root / "conf" / group.key / "flights.yaml").read_text(encoding="utf-8")))
        for group in (Data, Contract)
    )
    months = [f"2013-{month:02d}" for month in range(1, 13)]
    raw = {name: read.read(name, source).table for name, source in data.sources.items()}
    checked = check.check_tables(raw, declared, data.timezone, months)

    assert {name: table.report.checks for name, table in checked.items()} == {
        "flights": {},
        "weather": {"columns.wind_speed.max": 1},
        "planes": {},
    }
    rejected = checked["weather"].rejected.select("origin", "time_hour", "wind_speed", "reasons").collect().row(0)
    assert rejected[:2] == ("EWR", "2013-02-12T08:00:00Z")
    assert float(rejected[2]) == pytest.approx(1048.36, abs=0.01)
    assert rejected[3] == "column wind_speed: above 150"
    assert checked["flights"].valid.collect().height == 336_776


DERIVED_TABLE = {
    "privacy": "public",
    "unique": ["sched"],
    "on_duplicate": "quarantine",
    "quarantine_limit": 0.99,
    "columns": {
        "dep": {"type": "integer", "description": "Left", "nullable": True, "on_failure": "quarantine"},
        "delay": {"type": "integer", "description": "Late by", "nullable": True, "on_failure": "quarantine"},
        "sched": {"type": "integer", "description": "Was to leave", "min": 0, "on_failure": "quarantine"},
    },
}
_CELL = st.none() | st.sampled_from(["x", "1.5"]) | st.integers(-9, 9).map(str)


@settings(max_examples=40)
@given(cells=st.lists(st.tuples(_CELL, _CELL), min_size=1, max_size=10))
def test_a_derived_column_is_checked_as_any_other(cells: list[tuple[str | None, str | None]]) -> None:
    cells = [*cells, ("99", "0")]  # quarantine never takes all
    raw = pl.DataFrame(cells, {"dep": pl.String, "delay": pl.String}, orient="row")
    derived = {"sched": expressions.parse("dep - delay")}
    checked = check.check("t", raw.lazy(), TableContract.model_validate(DERIVED_TABLE), ZONE, [], derived)
    seen: set[int | None] = set()
    reasons, valid = [], []
    for pair in cells:
        wrong = [name for name, cell in zip(("dep", "delay"), pair, strict=True) if cell in ("x", "1.5")]
        known = None not in pair and not wrong
        sched = int(pair[0]) - int(pair[1]) if known else None  # type: ignore[arg-type]
        why = [f"column {name}: not an integer" for name in wrong]
        why += ["column sched: missing"] if sched is None and not wrong else []
        why += ["column sched: below 0"] if sched is not None and sched < 0 else []
        why += ["column sched: not unique"] if sched in seen and not wrong else []
        seen.add(sched)
        reasons += ["; ".join(why)] if why else []
        valid += [] if why else [sched]
    assert checked.valid.collect()["sched"].to_list() == valid
    assert checked.rejected.collect()["reasons"].to_list() == reasons


def test_what_is_wrong_with_a_derived_column_is_told() -> None:
    table, raw = TableContract.model_validate(DERIVED_TABLE), pl.DataFrame({"dep": [2**62], "delay": [-(2**62)]})
    derived = {"sched": expressions.parse("dep - delay")}
    with pytest.raises(UserError, match=r"^data/raw/t.parquet: data.derive.t.sched: a value does not fit: "):
        check.check("t", raw.lazy(), table, ZONE, [], derived)
    with pytest.raises(UserError, match=r"column sched: is derived by data.derive, but the source has it; rename one"):
        check.check("t", raw.with_columns(sched=1).lazy(), table, ZONE, [], derived)
