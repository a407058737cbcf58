"""The features of requests, joined by a running server from events that come as they happen, are those of training."""

import json
import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from tests.e2e.conftest import Checkout
from tests.serving import TRUNKLINE, Server, serving
from trunkline.bundle.columns import graph_scores
from trunkline.bundle.runtime import Bundle

pytestmark = pytest.mark.e2e

FIRST, LAST = date(2013, 5, 15), date(2013, 6, 14)  # no window is longer than the two weeks before the holdout
START = date(2013, 6, 1)
TOLERANCE = 1e-9
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


@pytest.fixture(scope="module")
def project(small: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("served")
    params = yaml.safe_load(small.read("params.yaml"))
    params["serving"]["online"] = {"store": "sqlite:///online/features.db", "views": {}}
    params["serving"]["log"] = {"to": "log", "interval": "1s"}
    (home / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return home


@pytest.fixture(scope="module")
def server(small: Checkout, project: Path, tables: Path) -> Iterator[Server]:
    bundle = str(small.root / "models/bundle")
    command = [TRUNKLINE, "materialize", bundle, "--tables", str(tables), "--until", "2013-06-01", "--json"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True, timeout=300)
    assert [each["conflicts"] for each in json.loads(done.stdout)["tables"].values()] == [[], [], []]
    with serving(bundle, cwd=project) as running:
        yield running


def test_what_is_pushed_or_asked_is_held_to_the_contract(small, server, project, tables, tmp_path):
    flights = on(pl.read_parquet(tables / "flights.parquet"), START - timedelta(days=9))
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
    given = {"temperature": 0.5, "prediction_time": "2013-05-22T00:00Z"}
    own = server.post("/v1/predict?features=true", request | given)
    assert own.json["features"]["prediction_time"] == "2013-05-22T00:00:00Z" != first["features"]["prediction_time"]
    assert own.json["score"] != first["score"]
    absent = {name: value for name, value in request.items() if name != "tailnum"}
    assert server.post("/v1/predict", [request, absent]).status == 200  # which may be missing
    wrong = server.post("/v1/predict", [request, request | {"origin": "LAX"}])
    assert (wrong.status, wrong.json["row"], wrong.json["field"]) == (422, 1, "origin")
    assert b'trunkline_online_views_total{state="fresh",view="origin_recent"}' in server.get("/metrics").body

    flights.write_csv(tmp_path / "flights.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
    command = [
        TRUNKLINE,
        "push",
        "flights",
        str(tmp_path / "flights.csv"),
        "--bundle",
        str(small.root / "models/bundle"),
    ]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, f"{flights.height:,} rows stored" in done.stdout) == (0, True), done.stdout + done.stderr


def test_a_fortnight_of_events_and_requests_gives_the_features_of_training(small, server, tables, project):
    bundle = Bundle.load(small.root / "models/bundle")
    names = [*bundle.numeric, *bundle.categorical]
    holdout = pl.read_parquet(small.root / "data/features/holdout.parquet").gather_every(4)
    events = {name: pl.read_parquet(tables / f"{name}.parquet") for name in ("flights", "weather")}
    seen = 0
    # The last evening in May is in June by UTC: what of that day is stored already comes again.
    for day in pl.date_range(START - timedelta(days=1), LAST, eager=True):
        for name, table in events.items():
            pushed(server, name, on(table, day))
        asked = on(holdout, day)
        if asked.height:
            answer = server.post("/v1/predict?features=true", asked.select(REQUESTED).to_dicts())
            assert answer.status == 200, answer.body[:500]
            joined = [each["values"] for each in answer.json["features"]]
            assert_alike(pl.DataFrame(joined, schema=asked.select(names).schema), asked.select(names))
            even = asked.vstack(asked.head(asked.height % 2))  # of an odd number of rows, the last has other bits
            assert answer.json["scores"] == graph_scores(bundle, even.select(names)).tolist()[: asked.height]
        seen += asked.height
    assert seen == holdout.height > 2000
    replayed = replay(small, server, project, tables)
    assert (replayed.returncode, f"{len(names)} features of" in replayed.stdout) == (0, True), replayed.stdout
    late = pl.read_parquet(tables / "flights.parquet").with_columns(pl.col("dep_delay") + 1)
    late.write_parquet(tables / "flights.parquet")
    replayed = replay(small, server, project, tables)
    assert (replayed.returncode, "origin_departure_delay_1h" in replayed.stdout) == (1, True), replayed.stdout


def replay(small: Checkout, server: Server, project: Path, tables: Path) -> "subprocess.CompletedProcess[str]":
    """Replay what the server has logged, which it has written when it ends."""
    server.process.terminate()
    server.process.wait(60)
    command = [TRUNKLINE, "replay", str(project / "log"), "--tables", str(tables)]
    return subprocess.run(command, cwd=small.root, capture_output=True, text=True, check=False, timeout=300)


def on(table: pl.DataFrame, day: date) -> pl.DataFrame:
    return table.filter(pl.date("year", "month", "day") == day)


def pushed(server: Server, name: str, table: pl.DataFrame) -> None:
    answer = server.post("/v1/events", {"table": name, "rows": json_rows(table)})
    assert (answer.status, answer.json["stored"], answer.json["conflicts"]) == (200, table.height, []), answer.body


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
