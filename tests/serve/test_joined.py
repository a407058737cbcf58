"""Raw rows get the features of training where the tables are at hand, and tables that do not fit are refused."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.core.errors import UserError
from trunkline.core.files import canonical_json
from trunkline.pipeline.bundle import raw as bundle_raw
from trunkline.pipeline.features import compiler
from trunkline.pipeline.features.duckdb import DuckDBEngine
from trunkline.serve import raw
from trunkline.serve.joined import OfflineTables

DATA = Data.parse(
    {
        "sources": {
            name: {"kind": "files", "url": "in/", "files": {f"{name}.csv": None}} for name in ("trips", "cities")
        },
        "observations": "trips",
        "unique_key": ["nr"],
        "timezone": "Europe/Rome",
        "event_time": "at",
        "prediction_lead": "1h",
        "target": {"name": "late", "expression": "delay > 5", "known_after": "1d"},
        "window": {"train": "2013-01..2013-02", "holdout": "2013-03"},
    }
)
TYPES = {
    "trips": {"nr": "integer", "at": "time", "city": "text", "row": "integer", "delay": "integer"},
    "cities": {"city": "text", "people": "integer"},
}
NULLABLE = {"city", "row", "delay"}
CONTRACT = Contract.parse(
    {
        "tables": {
            table: {
                "privacy": "public",
                "unique": [next(iter(types))],
                "columns": {
                    name: {"type": kind, "description": "What it is", "nullable": table == "trips" and name in NULLABLE}
                    | ({"known": "outcome"} if name == "delay" else {})
                    for name, kind in types.items()
                },
            }
            for table, types in TYPES.items()
        }
    }
)
FEATURES = Features.parse(
    {
        "streams": {
            "ends": {"table": "trips", "event_time": "at", "available_at": "event_time + minutes(abs(delay))"},
        },
        "views": {
            "own": {
                "kind": "expression",
                "features": {"city": "city", "row": "row", "since": "minutes_between(last_at, event_time)"},
            },
            "past": {
                "kind": "rolling", "stream": "ends", "keys": ["city"], "window": "6h",
                "features": {"trips_6h": {"aggregate": "count"}, "delay_6h": {"aggregate": "mean", "of": "delay"}},
            },
            "last": {
                "kind": "latest", "stream": "ends", "keys": ["city"], "max_age": "2d",
                "features": {"last_delay": "delay", "last_at": "event_time"},
            },
            "place": {"kind": "lookup", "table": "cities", "keys": ["city"], "features": {"people": "people"}},
        },
        "hidden": ["last_at"],
    }
)  # fmt: skip
PLAN = compiler.plan(FEATURES, DATA, CONTRACT)
CONTENT = canonical_json(bundle_raw.features_content(PLAN, DATA, CONTRACT), digits=None).encode()
CITIES = st.sampled_from(["Roma", "東京", None])
TRIPS = st.lists(
    st.tuples(st.integers(0, 2000), CITIES, st.none() | st.integers(0, 9), st.none() | st.integers(-30, 300)),
    min_size=2,
    max_size=30,
)


def trips_of(cells: list[tuple[int, str | None, int | None, int | None]]) -> pl.DataFrame:
    start = datetime(2013, 3, 1)
    rows = [(nr, start, *cell) for nr, cell in enumerate(cells)]
    schema = {"nr": pl.Int64, "at": pl.Datetime("us"), "minutes": pl.Int64, "city": pl.String, "row": pl.Int64,
              "delay": pl.Int64}  # fmt: skip
    frame = pl.DataFrame(rows, schema, orient="row")
    return frame.with_columns(at=pl.col("at") + pl.duration(minutes=pl.col("minutes"))).drop("minutes")


def tables_of(folder: Path, trips: pl.DataFrame) -> Path:
    trips.write_parquet(folder / "trips.parquet")
    pl.DataFrame({"city": ["Roma"], "people": [3_000_000]}).write_parquet(folder / "cities.parquet")
    return folder


def joined(folder: Path) -> raw.RawRows:
    rows = raw.raw_rows(Path("rows.parquet"), ["at", "city", "row"], None, CONTENT, folder)  # type: ignore[arg-type]
    assert rows is not None
    return rows


@settings(max_examples=25)
@given(cells=TRIPS, share=st.integers(1, 4))
def test_raw_rows_have_the_features_of_training_bit_for_bit(cells, share, tmp_path_factory):
    folder = tables_of(tmp_path_factory.mktemp("valid"), trips_of(cells))
    with DuckDBEngine(PLAN, folder) as engine:
        engine.load_requests()
        for primitive in PLAN.primitives:
            engine.compute(primitive)
        engine.write(folder / "trained.parquet")
    trained = pl.read_parquet(folder / "trained.parquet").sort("nr")
    rows = joined(folder)
    assert set(rows.read) == {"at", "city", "row"}
    chosen = trips_of(cells)[::share]
    inputs, breaches = rows.inputs(chosen.select("city", "row", "at").to_arrow())
    assert breaches == ()
    assert pl.DataFrame(pl.from_arrow(inputs)).equals(trained[::share].select(inputs.column_names))


@settings(max_examples=10)
@given(cells=TRIPS, leads=st.lists(st.integers(0, 3000), min_size=2, max_size=4))
def test_a_row_may_be_predicted_at_a_time_of_its_own(cells, leads, tmp_path_factory):
    folder = tables_of(tmp_path_factory.mktemp("valid"), trips_of(cells))
    rows, chosen = joined(folder), trips_of(cells).select("at", "city", "row")[: len(leads)]
    leads = leads[: len(chosen)]
    times = chosen["at"] - pl.Series([timedelta(minutes=lead) for lead in leads], dtype=pl.Duration("us"))
    values = pl.DataFrame(pl.from_arrow(rows.inputs(chosen.to_arrow(), times)[0]))
    for place, lead in enumerate(leads):
        request = replace(rows.plan.request, lead=timedelta(minutes=lead))
        alone = replace(rows, plan=replace(rows.plan, request=request)).inputs(chosen[place : place + 1].to_arrow())[0]
        assert values[place].equals(pl.DataFrame(pl.from_arrow(alone)))


@settings(max_examples=10)
@given(cells=TRIPS, after=st.integers(0, 600), keyless=st.integers(0, 3))
def test_at_a_time_after_its_own_event_is_known_a_row_does_not_see_it(cells, after, keyless, tmp_path_factory):
    trips, folder = trips_of(cells[:6]), tmp_path_factory.mktemp("valid")
    asked = trips.drop("delay").with_columns(nr=pl.when(pl.int_range(pl.len()) != keyless).then("nr"))
    times = trips.select(pl.col("at") + pl.duration(minutes=after))["at"]
    rows = joined(tables_of(folder, trips))
    values = pl.DataFrame(pl.from_arrow(rows.inputs(asked.to_arrow(), times)[0]))
    for place in range(len(trips)):
        others = trips if place == keyless else trips.filter(pl.col("nr") != place)
        tables_of(folder, others)
        nameless = asked[place : place + 1].drop("nr")
        alone, _ = rows.inputs(nameless.to_arrow(), times[place : place + 1])
        assert values[place].equals(pl.DataFrame(pl.from_arrow(alone)))


def test_at_a_time_of_its_own_a_row_sees_what_was_known_then_and_its_event_time_stays(tmp_path):
    folder = tables_of(tmp_path, trips_of([(0, "Roma", 1, 30)]))
    rows = pl.DataFrame({"at": [datetime(2013, 3, 1, 10)] * 2, "city": ["Roma"] * 2, "row": [1, 1]})
    times = pl.Series([datetime(2013, 3, 1, 0, 30), datetime(2013, 3, 1, 0, 31)])
    values = pl.DataFrame(pl.from_arrow(joined(folder).inputs(rows.to_arrow(), times)[0]))
    assert values.select("trips_6h", "last_delay", "since").rows() == [(0, None, None), (1, 30, 600.0)]


def test_what_becomes_known_after_a_row_is_not_seen_and_rows_do_not_see_each_other(tmp_path):
    trips = trips_of([(0, "Roma", 1, 30), (600, "Roma", 2, 60)])
    row = pl.DataFrame({"at": [datetime(2013, 3, 1, 1, 29)] * 2, "city": ["Roma"] * 2, "row": [1, 1]})
    late = row.with_columns(at=pl.col("at") + pl.duration(minutes=2))
    folder = tables_of(tmp_path, trips)
    values = [pl.DataFrame(pl.from_arrow(joined(folder).inputs(each.to_arrow())[0])) for each in (row, late)]
    assert [each["trips_6h"].to_list() for each in values] == [[0, 0], [1, 1]]
    assert values[1]["last_delay"].to_list() == [30, 30]
    assert OfflineTables(folder).known_until(PLAN) == {"ends": datetime(2013, 3, 1, 11)}


def test_a_refused_row_costs_no_other_its_features(tmp_path):
    folder = tables_of(tmp_path, trips_of([(0, "Roma", 1, 30), (60, "Roma", 1, 30)]))
    rows = pl.DataFrame({"at": ["x", "2013-03-01T02:00:00"], "city": ["Roma", "Roma"], "row": ["1", "2"]})
    inputs, breaches = joined(folder).inputs(rows.to_arrow())
    assert [(each.field, each.rows.tolist()) for each in breaches] == [("at", [True, False])]
    assert pl.DataFrame(pl.from_arrow(inputs))["trips_6h"].to_list() == [None, 1]


def test_tables_that_do_not_fit_are_refused_by_name(tmp_path):
    folder = tables_of(tmp_path, trips_of([(0, "Roma", 1, 30)]))
    with pytest.raises(UserError, match="column city: is missing; with --tables"):
        raw.raw_rows(Path("rows.csv"), ["at", "row"], None, CONTENT, folder)  # type: ignore[arg-type]
    pl.read_parquet(folder / "trips.parquet").with_columns(delay=pl.lit("x")).write_parquet(folder / "trips.parquet")
    with pytest.raises(UserError, match="its tables do not fit the model's features"):
        joined(folder).inputs(pl.DataFrame({"at": [None], "city": ["Roma"], "row": [1]}).to_arrow())
    pl.read_parquet(folder / "trips.parquet").drop("delay").write_parquet(folder / "trips.parquet")
    with pytest.raises(UserError, match=r"trips\.parquet: column delay: is missing"):
        joined(folder)
    tables_of(folder, trips_of([(0, "Roma", 1, 30)]))
    (folder / "cities.parquet").unlink()
    with pytest.raises(UserError, match=r"cities\.parquet: cannot be read"):
        joined(folder)
    before = json.dumps({key: value for key, value in json.loads(CONTENT).items() if key != "columns"}).encode()
    with pytest.raises(UserError, match="build it again"):
        raw.raw_rows(Path("rows.csv"), ["at", "row", "city"], None, before, folder)  # type: ignore[arg-type]
