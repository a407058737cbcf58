"""A small problem with every kind of view: trips that are observed, alerts from elsewhere, and a table of stations."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from hypothesis import strategies as st

from tests import bundles
from trunkline.bundle.contract import Input
from trunkline.bundle.schema import request_schema
from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.core.expressions import Type
from trunkline.pipeline.bundle.inputs import inputs
from trunkline.pipeline.bundle.raw import features_content
from trunkline.pipeline.features.compiler import column_types, plan
from trunkline.pipeline.features.duckdb import DuckDBEngine
from trunkline.pipeline.features.plan import FeaturePlan

START = datetime(2013, 3, 9, 12)
DATA = {
    "sources": {
        name: {"package": "p", "version": "1", "path": f"{name}.csv"} for name in ("trips", "alerts", "stations")
    },
    "observations": "trips",
    "unique_key": ["number"],
    "timezone": "America/New_York",
    "event_time": "starts",
    "prediction_lead": "2h",
    "target": {"name": "late", "expression": "delay > 15", "known_after": "1d"},
    "window": {"train": "2013-03-01..2013-03-09", "holdout": "2013-03-10"},
}


def _column(kind: str, nullable: bool = True, **more: str) -> dict[str, Any]:
    return {"type": kind, "nullable": nullable, "description": "One of its columns", **more}


CONTRACT = {
    "tables": {
        "trips": {
            "privacy": "public",
            "unique": ["number"],
            "columns": {
                "number": _column("integer", nullable=False),
                "station": _column("text"),
                "line": _column("integer"),
                "starts": _column("time", nullable=False),
                "delay": _column("integer", known="outcome"),
                "load": _column("number", known="outcome"),
            },
        },
        "alerts": {
            "privacy": "public",
            "unique": ["place", "code"],
            "columns": {
                "place": _column("integer", nullable=False),
                "code": _column("text", nullable=False),
                "station": _column("text"),
                "line": _column("integer"),
                "at": _column("time"),
                "told": _column("time"),
                "weight": _column("number"),
            },
        },
        "stations": {
            "privacy": "public",
            "unique": ["station"],
            "columns": {
                "station": _column("text", nullable=False),
                "platforms": _column("integer"),
                "opened": _column("time"),
            },
        },
    }
}
FEATURES = {
    "streams": {
        "done": {"table": "trips", "event_time": "starts - hours(3)", "available_at": "event_time + minutes(delay)"},
        "alerts": {"table": "alerts", "event_time": "at", "available_at": "told"},
    },
    "views": {
        "last": {
            "kind": "latest",
            "stream": "done",
            "keys": ["station"],
            "max_age": "9h",
            "features": {"last_delay": "delay", "last_start": "event_time", "last_load": "load / 3"},
        },
        "last_alert": {
            "kind": "latest",
            "stream": "alerts",
            "keys": ["line"],
            "features": {"alert_code": "joined(code, station)", "alert_weight": "weight", "alert_heavy": "weight > 1"},
        },
        "recent": {
            "kind": "rolling",
            "stream": "done",
            "keys": ["station"],
            "window": "6h",
            "features": {
                "trips_6h": {"aggregate": "count"},
                "delay_sum_6h": {"aggregate": "sum", "of": "delay"},
                "late_share_6h": {"aggregate": "mean", "of": "delay > 15"},
                "load_mean_6h": {"aggregate": "mean", "of": "load * 0.1", "default": -1.0},
            },
        },
        "alerts_day": {
            "kind": "rolling",
            "stream": "alerts",
            "keys": ["station", "line"],
            "window": "24h",
            "features": {
                "weights": {"aggregate": "count", "of": "weight"},
                "weight_sum": {"aggregate": "sum", "of": "weight * weight"},
                "weight_mean": {"aggregate": "mean", "of": "weight"},
            },
        },
        "station": {
            "kind": "lookup",
            "table": "stations",
            "keys": ["station"],
            "features": {"tracks": "platforms * 2", "opened": "opened"},
        },
        "row": {
            "kind": "expression",
            "features": {
                "since_last": "minutes_between(last_start, event_time)",
                "since_last_hours": "since_last / 60",
                "busy": "trips_6h > 2 and coalesce(tracks, 0) < 9",
                "year_opened": "year(opened)",
                "local_hour": "hour(event_time)",
                "line": "line",
            },
        },
    },
    "hidden": ["last_start", "opened"],
    "categorical": ["line"],
}
SCHEMAS: dict[Type, Any] = {"integer": pl.Int64, "number": pl.Float64, "text": pl.String, "time": pl.Datetime("us")}
Row = dict[str, Any]
Tables = Mapping[str, Sequence[Row]]


def planned(features: Row = FEATURES) -> FeaturePlan:
    return plan(Features.parse(features), Data.parse(DATA), Contract.parse(CONTRACT))


def declared_inputs() -> list[Row]:
    """The inputs of a model that reads all features, as a contract of a bundle declares them."""
    data, contract = Data.parse(DATA), Contract.parse(CONTRACT)
    return [msgspec.to_builtins(each) for each in inputs(Features.parse(FEATURES), planned(), contract, data.sources)]


def bundle(folder: Path, feature_plan: FeaturePlan) -> Path:
    """Make a bundle of a model that reads all features, which are joined by a plan; return its folder."""
    declared = declared_inputs()
    made = bundles.make(folder, declared)
    row = {each["name"]: None if each["nullable"] else 0 for each in declared}
    golden = [{"request": row, "score": bundles.expected(declared, row)}]
    (made / "golden.json").write_text(json.dumps(golden), encoding="utf-8")
    contract = json.loads((made / "contract.json").read_text(encoding="utf-8"))
    contract["request"] = request_schema(msgspec.convert(declared, list[Input]))
    (made / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
    content = features_content(feature_plan, Data.parse(DATA), Contract.parse(CONTRACT))
    (made / "features.json").write_text(json.dumps(content), encoding="utf-8")
    bundles.seal(made)
    return made


def types_of(table: str) -> dict[str, Type]:
    return column_types(Contract.parse(CONTRACT), table, table)


def request(trip: Row) -> Row:
    """What is known of a trip when it is asked for."""
    return {name: trip[name] for name in ("number", "station", "line", "starts")}


def write(folder: Path, tables: Tables) -> None:
    """Write tables as `validate` does."""
    for name, rows in tables.items():
        schema = {column: SCHEMAS[kind] for column, kind in types_of(name).items()}
        pl.DataFrame(rows, schema=schema, orient="row").write_parquet(folder / f"{name}.parquet")


def offline(folder: Path, tables: Tables) -> dict[int, Row]:
    """The features of every trip by the engine that computes them for training, by number of the trip."""
    feature_plan = planned()
    write(folder, tables)
    with DuckDBEngine(feature_plan, folder) as engine:
        engine.load_requests()
        for primitive in feature_plan.primitives:
            engine.compute(primitive)
        engine.write(folder / "out.parquet")
    rows = pl.read_parquet(folder / "out.parquet").iter_rows(named=True)
    return {row["number"]: {each.name: row[each.name] for each in feature_plan.outputs} for row in rows}


# Full hours, so that many an event is just as old as a window, or happens when another does.
HOURS = st.integers(0, 20).map(lambda hours: START + timedelta(hours=hours))
STATIONS = st.sampled_from(["a", "b", "a", "é" * 40, None])
LINES = st.sampled_from([1, -(2**63), 1, None])
LOADS = st.sampled_from([None, 0.0, 1.0000005, -2.5e-6, 1e11, 999_999_999_999.5]) | st.floats(-1e5, 1e5)


@st.composite
def tables(draw: st.DrawFn, most: int = 16) -> dict[str, list[Row]]:
    """Tables of such rows."""
    delays = st.none() | st.sampled_from([-700, -20, 0, 10, 60, 300, 2000])
    trips = [
        {
            "number": 2**60 + number, "station": draw(STATIONS), "line": draw(LINES), "starts": draw(HOURS),
            "delay": draw(delays), "load": draw(LOADS),
        }
        for number in range(draw(st.sampled_from([most, most // 2, 1])))
    ]  # fmt: skip
    alerts = [
        {
            "place": number // 2, "code": "xy"[number % 2], "station": draw(STATIONS), "line": draw(LINES),
            "at": draw(st.none() | HOURS), "told": draw(st.none() | HOURS), "weight": draw(LOADS.map(small)),
        }
        for number in range(draw(st.sampled_from([most, most // 2, 0])))
    ]  # fmt: skip
    stations = [
        {"station": name, "platforms": draw(st.none() | st.integers(0, 9)), "opened": draw(st.none() | HOURS)}
        for name in draw(st.lists(st.sampled_from(["a", "é" * 40, "c"]), unique=True))
    ]
    return {"trips": trips, "alerts": alerts, "stations": stations}


def small(value: float | None) -> float | None:
    """A weight whose square fits."""
    return None if value is None else value % 1000.0
