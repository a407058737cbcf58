"""The features of requests, joined by a running server from events that come as they happen, are those of training."""

import json
import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

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
    assert (replayed.returncode, f"{seen:,}" in replayed.stdout) == (0, True), replayed.stdout + replayed.stderr
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
    times = [column for column, kind in table.schema.items() if kind == pl.Datetime]
    rows = table.with_columns(pl.col(times).dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_dicts()
    answer = server.post("/v1/events", {"table": name, "rows": rows})
    assert (answer.status, answer.json["stored"], answer.json["conflicts"]) == (200, table.height, []), answer.body


def assert_alike(joined: pl.DataFrame, trained: pl.DataFrame) -> None:
    """Hold features to those of training: counts, categories and what is missing exactly, others to 1e-9."""
    for name in trained.columns:
        if trained[name].dtype == pl.Float64:
            assert joined[name].is_null().equals(trained[name].is_null()), name
            assert ((joined[name] - trained[name]).abs() <= TOLERANCE).all(), name
        else:
            assert joined[name].equals(trained[name]), name
