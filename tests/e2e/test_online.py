"""The features of requests, joined by a running server from events that come as they happen, are those of training."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from tests.e2e.conftest import Checkout
from tests.forkserver import commands
from tests.servers import feature_store
from tests.serving import Server, serving
from trunkline.bundle.columns import graph_scores
from trunkline.bundle.runtime import Bundle

pytestmark = pytest.mark.e2e

FIRST, LAST = date(2013, 4, 30), date(2013, 6, 14)  # no window is longer than the two weeks before the month
START, END = datetime(2013, 5, 15), datetime(2013, 6, 15)  # of the month, in UTC
STEP = timedelta(hours=12)
TOLERANCE = 1e-9
SKEW = {"of": "skew", "measure": "share", "above": 0.0, "rows": 1000, "then": "issue"}
DEPARTS = (
    pl.datetime("year", "month", "day", pl.col("sched_dep_time") // 100, pl.col("sched_dep_time") % 100)
    .dt.replace_time_zone("America/New_York")
    .dt.convert_time_zone("UTC")
    .dt.replace_time_zone(None)
)
REQUESTED = ["year", "month", "day", "sched_dep_time", "carrier", "flight", "tailnum", "origin", "dest", "distance"]


@pytest.fixture(scope="module")
def tables(small: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The validated tables, those of events from the time that the holdout can see."""
    folder = tmp_path_factory.mktemp("tables")
    for name in ("flights", "weather", "planes"):
        table = pl.read_parquet(small.root / f"data/valid/{name}.parquet")
        if name != "planes":
            table = table.filter(pl.date("year", "month", "day").is_between(FIRST, LAST))
        table.write_parquet(folder / f"{name}.parquet")
    return folder


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "redis"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with feature_store(request.param, tmp_path_factory.mktemp("store")) as url:
        yield url


@pytest.fixture(scope="module")
def project(small: Checkout, store: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("served")
    params = yaml.safe_load(small.read("params.yaml"))
    params["serving"]["online"] = {"store": store, "views": {}}
    params["serving"]["log"] = {"to": "log", "interval": "1s"}
    params["monitoring"] = {"read": "2d", "rules": {"skew": SKEW}}
    (home / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return home


@pytest.fixture(scope="module")
def server(small: Checkout, project: Path, tables: Path) -> Iterator[Server]:
    bundle = str(small.root / "models/bundle")
    done = ran(project, "materialize", bundle, "--tables", str(tables), "--until", str(START.date()), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [each["conflicts"] for each in json.loads(done.stdout)["tables"].values()] == [[], [], []]
    with serving(bundle, cwd=project) as running:
        yield running


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_what_is_pushed_or_asked_is_held_to_the_contract(small, server, project, tables, tmp_path):
    flights = on(pl.read_parquet(tables / "flights.parquet"), date(2013, 5, 6))
    good = json_rows(flights.head(1))[0]
    refused = {
        "table": ({"table": "flight", "rows": []}, "no feature is made of it; did you mean 'flights'?"),
        "dep_delay": (
            {"table": "flights", "rows": [good, good | {"dep_delay": 99999}]},
            "row 1: field dep_delay: 99999",
        ),
        "origin": ({"table": "flights", "rows": [good | {"origin": None}]}, "row 0: field origin: is missing"),
        "delay": ({"table": "flights", "rows": [good | {"delay": 1}]}, "row 0: field 'delay': is not in the contract"),
        "schedule_is_one_time": (
            {"table": "flights", "rows": [good | {"minute": (good["minute"] + 1) % 60}]},
            "the row breaks it",
        ),
        "time_hour": ({"table": "flights", "rows": [good | {"time_hour": "noon"}]}, "is not an ISO 8601 time"),
    }
    for field, (body, words) in refused.items():
        answer = server.post("/v1/events", body)
        assert (answer.status, answer.json["field"], words in answer.json["detail"]) == (422, field, True), answer.body
    assert server.post("/v1/events", [good]).status == 400
    again = server.post("/v1/events", {"table": "flights", "rows": [good | {"dep_delay": good["dep_delay"] + 1}]})
    assert (again.status, again.json["conflicts"] != []) == (200, True)

    request = {name: good[name] for name in REQUESTED}
    first = server.post("/v1/predict?features=true", request).json
    given = {"temperature": 0.5, "prediction_time": "2013-05-05T00:00Z"}
    own = server.post("/v1/predict?features=true", request | given)
    assert own.json["features"]["prediction_time"] == "2013-05-05T00:00:00Z" != first["features"]["prediction_time"]
    assert own.json["score"] != first["score"]
    absent = {name: value for name, value in request.items() if name != "tailnum"}
    assert server.post("/v1/predict", [request, absent]).status == 200  # which may be missing
    wrong = server.post("/v1/predict", [request, request | {"origin": "LAX"}])
    assert (wrong.status, wrong.json["row"], wrong.json["field"]) == (422, 1, "origin")
    assert b'trunkline_online_views_total{state="fresh",view="origin_recent"}' in server.get("/metrics").body

    flights.write_csv(tmp_path / "flights.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
    file = str(tmp_path / "flights.csv")
    done = ran(project, "push", "flights", file, "--bundle", str(small.root / "models/bundle"))
    assert (done.returncode, f"{flights.height:,} rows stored" in done.stdout) == (0, True), done.stdout + done.stderr


@dataclass(frozen=True)
class Hours:
    """Some hours of the month: what became known, as bodies with their numbers of rows, and what is asked."""

    known: list[tuple[bytes, int]]
    asked: pl.DataFrame


@pytest.fixture(scope="module")
def month(small: Checkout, tables: Path) -> list[Hours]:
    """The month in order: each flight comes when it has left, and again when it has arrived."""
    flights, weather = (pl.read_parquet(tables / f"{name}.parquet") for name in ("flights", "weather"))
    left = DEPARTS + pl.duration(minutes=pl.max_horizontal("dep_delay", 0))
    arrived = DEPARTS + pl.duration(minutes=pl.col("dep_delay") + pl.col("air_time") + 60)
    unknown = [pl.lit(None, flights.schema[name]).alias(name) for name in ("arr_time", "arr_delay", "air_time")]
    events = {
        "flights": pl.concat([flights.with_columns(unknown, known=left), flights.with_columns(known=arrived)]),
        "weather": weather.with_columns(known=pl.col("time_hour") + timedelta(hours=1)),
    }
    rows = pl.concat(pl.read_parquet(small.root / f"data/features/{name}.parquet") for name in ("train", "holdout"))
    asked = rows.with_columns(known=DEPARTS - timedelta(hours=2)).sort("known").gather_every(4)
    starts = pl.datetime_range(START, END, STEP, closed="left", eager=True)
    return [
        Hours([pushed(name, within(table, start)) for name, table in events.items()], within(asked, start))
        for start in starts
    ]


def within(table: pl.DataFrame, start: datetime) -> pl.DataFrame:
    """The rows of a step, in the order in which they became known, or are asked."""
    return table.filter(pl.col("known").is_between(start, start + STEP, closed="left")).sort("known").drop("known")


def pushed(name: str, table: pl.DataFrame) -> tuple[bytes, int]:
    return json.dumps({"table": name, "rows": json_rows(table)}).encode(), table.height


def test_a_month_of_events_and_requests_gives_the_features_of_training(small, server, month, tables, project):
    bundle = Bundle.load(small.root / "models/bundle")
    names = [*bundle.numeric, *bundle.categorical]
    for hours in month:
        for body, rows in hours.known:
            answer = server.post("/v1/events", body)
            assert (answer.status, answer.json["stored"], answer.json["conflicts"]) == (200, rows, []), answer.body
        if hours.asked.height:
            assert_joined(server, bundle, hours.asked, names)
    assert sum(hours.asked.height for hours in month) > 6000
    replayed = replay(small, server, project, tables)
    assert (replayed.returncode, f"{len(names)} features of" in replayed.stdout) == (0, True), replayed.stdout
    declared = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    if "sqlite" in declared["serving"]["online"]["store"]:  # the log is the same, whatever the store
        plant_skew(project, tables)
        assert_found(small, server, project)
        assert_monitored(small, project)


def plant_skew(project: Path, tables: Path) -> None:
    """Write the tables to the project, with departures that were changed since by a minute."""
    for name in ("flights", "weather", "planes"):
        table = pl.read_parquet(tables / f"{name}.parquet")
        changed = [pl.col("dep_delay") + 1] if name == "flights" else []
        table.with_columns(changed).write_parquet(project / f"{name}.parquet")


def assert_found(small: Checkout, server: Server, project: Path) -> None:
    """Hold a replay to finding the features that are joined otherwise."""
    replayed = replay(small, server, project, project)
    words = "feature origin_departure_delay_1h of view origin_hour: differs in"
    assert (replayed.returncode, words in replayed.stdout) == (1, True), replayed.stdout


def assert_monitored(small: Checkout, project: Path) -> None:
    """Hold the monitor to one alert of the features of departures, and to none of others or of scores."""
    midnight = datetime.now(UTC).date() + timedelta(days=1)  # what is incomplete is not judged
    options = ["--bundle", str(small.root / "models/bundle"), "--as-of", str(midnight), "--json"]
    done = ran(project, "monitor", *options, "--replay", "--tables", str(project))
    assert done.returncode == 1, done.stdout + done.stderr
    [alert] = json.loads(done.stdout)["alerts"]
    cause, more = alert["cause"], {each["subject"] for each in alert["consequences"]}
    assert (cause["rule"], cause["subject"], cause["value"]) == ("skew", "origin_departure_delay_24h", 1.0)
    assert {"origin_departure_delay_1h", "carrier_departure_delay_6h"} <= more
    assert not more & {"score", "temperature", "distance", "plane_seats", "weekday"}


def assert_joined(server: Server, bundle: Bundle, asked: pl.DataFrame, names: list[str]) -> None:
    """Hold what a server joins and scores to the features of training, and to their scores, bit for bit."""
    answer = server.post("/v1/predict?features=true", asked.select(REQUESTED).to_dicts())
    assert answer.status == 200, answer.body[:500]
    joined = [each["values"] for each in answer.json["features"]]
    assert_alike(pl.DataFrame(joined, schema=asked.select(names).schema), asked.select(names))
    even = asked.vstack(asked.head(asked.height % 2))  # of an odd number of rows, the last has other bits
    assert answer.json["scores"] == graph_scores(bundle, even.select(names)).tolist()[: asked.height]


def replay(small: Checkout, server: Server, project: Path, tables: Path) -> "subprocess.CompletedProcess[str]":
    """Replay what the server has logged, which it has written when it ends."""
    server.process.terminate()
    server.process.wait(60)
    return ran(small.root, "replay", str(project / "log"), "--tables", str(tables))


def ran(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [str(commands() / "trunkline"), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def on(table: pl.DataFrame, day: date) -> pl.DataFrame:
    return table.filter(pl.date("year", "month", "day") == day)


def assert_alike(joined: pl.DataFrame, trained: pl.DataFrame) -> None:
    """Hold features to those of training: counts, categories and what is missing exactly, others to 1e-9."""
    for name in trained.columns:
        if trained[name].dtype == pl.Float64:
            assert joined[name].is_null().equals(trained[name].is_null()), name
            assert ((joined[name] - trained[name]).abs() <= TOLERANCE).all(), name
        else:
            assert joined[name].equals(trained[name]), name


def json_rows(table: pl.DataFrame) -> list[dict[str, Any]]:
    times = [column for column, kind in table.schema.items() if kind == pl.Datetime]
    return table.with_columns(pl.col(times).dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_dicts()
