"""Declared features that would let a row see its own outcome, or another's before it could be known."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.core.errors import UserError
from trunkline.pipeline.features import availability, compiler, split
from trunkline.pipeline.features.duckdb import DuckDBEngine

ROWS = 400
SOURCE = {"package": "p", "version": "1", "path": "flights.csv"}
DATA = {
    "sources": {"flights": SOURCE},
    "observations": "flights",
    "unique_key": ["flight", "sched"],
    "event_time": "sched",
    "prediction_lead": "2h",
    "target": {"name": "late", "expression": "arr_delay > 15", "known_after": "1d"},
    "window": {"train": "2013-01-01..2013-01-10", "holdout": "2013-01-11..2013-01-20"},
}
COLUMNS = {
    "carrier": {"type": "text", "description": "Carrier"},
    "flight": {"type": "integer", "description": "Flight number"},
    "seats": {"type": "integer", "description": "Seats sold when it was scheduled"},
    "sched": {"type": "time", "description": "Scheduled departure"},
    "arr_delay": {"type": "integer", "nullable": True, "known": "outcome", "description": "Minutes late"},
}
TABLE = {"privacy": "public", "unique": ["flight", "sched"], "columns": COLUMNS}
PEEK = {"kind": "latest", "stream": "own", "keys": ["carrier", "flight"], "features": {"peek": "arr_delay"}}
COUNT = {"aggregate": "count"}
ROLLING = {"kind": "rolling", "stream": "own", "keys": ["carrier"], "window": "1h"}

EARLY = "sched - hours(3)"
DISGUISED = "sched - hours(3 + 0 * flight)"  # what compose cannot prove


def flights() -> pl.DataFrame:
    """A day apart for each flight number, so that the last event of a flight, if not its own, is yesterday's."""
    return pl.DataFrame(
        {
            "carrier": ["UA"] * ROWS,
            "flight": [row % 20 for row in range(ROWS)],
            "seats": [100 + row for row in range(ROWS)],
            "sched": [datetime(2013, 1, 1, 8) + timedelta(days=row // 20, minutes=row % 20) for row in range(ROWS)],
            "arr_delay": [(row * 7919) % 61 - 20 for row in range(ROWS)],
        }
    )


def planned(view: dict[str, Any], event_time: str, available_at: str, **data: Any) -> tuple[Any, Data]:
    streams = {"own": {"table": "flights", "event_time": event_time, "available_at": available_at}}
    declared = Data.parse(DATA | data)
    features = Features.parse({"streams": streams, "views": {"view": view}})
    return compiler.plan(features, declared, Contract.parse({"tables": {"flights": TABLE}})), declared


def holdout(folder: Path, plan: Any, data: Data, checked: bool = True) -> pl.DataFrame:
    """What the stage does; `checked` False leaves the check of the data away, for what the engine does by itself."""
    flights().write_parquet(folder / "flights.parquet")
    with DuckDBEngine(plan, folder) as engine:
        if checked:
            availability.check(engine, plan)
        split.materialize(engine, plan, data, folder / "features")
    joined = flights().select("flight", "sched", "arr_delay", own="seats")
    return pl.read_parquet(folder / "features/holdout.parquet").join(joined, on=["flight", "sched"], how="left")


def test_a_stream_that_is_known_before_its_own_flight_is_refused_where_it_is_declared() -> None:
    with pytest.raises(UserError) as refused:
        planned(PEEK, EARLY, "event_time")
    assert str(refused.value) == (
        "features.streams.own.available_at: the outcome of a row of flights is known 3h before the row's own event "
        "(data.event_time), whatever the data: declare when it became known, which is never before that event"
    )


def test_a_disguised_one_is_refused_by_the_data(tmp_path: Path) -> None:
    plan, data = planned(PEEK, DISGUISED, "event_time")
    with pytest.raises(UserError) as refused:
        holdout(tmp_path, plan, data)
    assert str(refused.value) == (
        "features.streams.own.available_at: the outcome of flight 0, sched 2013-01-01 08:00:00 is known at "
        "2013-01-01 05:00:00, before its own event at 2013-01-01 08:00:00 (data.event_time), as for 400 rows in all: "
        "declare when it became known, which is never before that event"
    )


def test_a_row_does_not_see_itself_though_it_was_known_before(tmp_path: Path) -> None:
    """The attack: each request reads its own outcome. With the engine alone it reads the flight of the day before."""
    plan, data = planned(PEEK, DISGUISED, "event_time")
    found = holdout(tmp_path, plan, data, checked=False)
    assert found.height == 200
    assert (found["peek"] == found["arr_delay"]).mean() < 0.05
    yesterday = flights().select("flight", pl.col("sched") + timedelta(days=1), before="arr_delay")
    assert found.join(yesterday, on=["flight", "sched"])["before"].equals(found["peek"])


def test_a_sum_leaves_the_own_flight_out(tmp_path: Path) -> None:
    view = {**ROLLING, "keys": ["carrier", "flight"], "window": "36h"}
    view["features"] = {"number": COUNT, "total": {"aggregate": "sum", "of": "arr_delay"}}
    plan, data = planned(view, DISGUISED, "event_time")
    found = holdout(tmp_path, plan, data, checked=False)
    assert found["number"].to_list() == [1] * found.height
    assert (found["total"] == found["arr_delay"]).mean() < 0.05


@pytest.mark.parametrize(
    ("event_time", "available_at", "counted"),
    [
        (DISGUISED, "event_time", {"aggregate": "sum", "of": "arr_delay"}),
        (DISGUISED, "event_time if arr_delay > 15 else None", COUNT),
        ("sched - hours(4) + minutes(arr_delay)", "event_time", COUNT),
    ],
    ids=["as a value", "by which events there are", "by their times"],
)
def test_an_outcome_that_is_known_too_early_is_refused_however_it_is_read(
    event_time: str, available_at: str, counted: dict[str, Any], tmp_path: Path
) -> None:
    plan, data = planned({**ROLLING, "features": {"counted": counted}}, event_time, available_at)
    with pytest.raises(UserError, match=r"features.streams.own.available_at: the outcome of flight"):
        holdout(tmp_path, plan, data)


def test_a_schedule_that_is_known_before_is_no_outcome(tmp_path: Path) -> None:
    seats = {"aggregate": "sum", "of": "seats"}
    plan, data = planned({**ROLLING, "features": {"planned": COUNT, "places": seats}}, EARLY, "event_time")
    found = holdout(tmp_path, plan, data)
    assert found["planned"].to_list() == [19 - row % 20 for row in range(200)], "those after it on its day, not itself"


def test_the_same_file_by_another_name_is_refused() -> None:
    contract = Contract.parse({"tables": {"flights": TABLE, "copy": TABLE}})
    stream = {"table": "copy", "event_time": EARLY, "available_at": "event_time"}
    features = Features.parse({"streams": {"own": stream}, "views": {"view": PEEK}})
    with pytest.raises(UserError, match=r"features.streams.own.table: copy has the same source as flights"):
        compiler.plan(features, Data.parse(DATA | {"sources": {"flights": SOURCE, "copy": SOURCE}}), contract)
