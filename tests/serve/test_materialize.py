"""`trunkline materialize` and `trunkline push` that are killed again and again store what one run stores."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.serve.online import trips
from tests.serve.online.filler import BATCH
from trunkline.serve.online.store.protocol import VALUE

ROOT = Path(__file__).parents[2]
ROWS, SECONDS = 60, 120
STATIONS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle, and tables of several batches of which many rows are of the same station."""
    folder, chance, hour = tmp_path_factory.mktemp("filled"), random.Random(3), timedelta(hours=1)
    trips.bundle(folder / "bundle", trips.planned())
    numbered = [
        {
            "number": number, "place": number, "code": "x", "station": chance.choice("abc"), "line": number % 3,
            "starts": trips.START + chance.randrange(20) * hour, "at": trips.START + chance.randrange(20) * hour,
            "told": trips.START + 21 * hour, "delay": chance.choice([None, 5, 300]), "load": chance.random(),
            "weight": chance.random(),
        }
        for number in range(ROWS)
    ]  # fmt: skip
    stations = [{"station": name, "platforms": 3, "opened": trips.START} for name in "abc"]
    (folder / "tables").mkdir()
    rows = {name: [{column: row[column] for column in trips.types_of(name)} for row in numbered]
            for name in ("trips", "alerts")}  # fmt: skip
    trips.write(folder / "tables", rows | {"stations": stations})
    return folder


def run(folder, store, verb, call=0):
    """Run a verb that is killed before a call; return its exit code and what it said."""
    command = [sys.executable, "-m", "tests.serve.online.filler", str(call), verb]
    file = folder / "tables" / "trips.parquet"
    given = {
        "materialize": [str(folder / "bundle"), "--tables", str(folder / "tables")],
        "push": ["trips", str(file), "--bundle", str(folder / "bundle")],
    }[verb]
    command += [*given, "--store", f"sqlite:///{store}", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert not call or done.returncode == -signal.SIGKILL, done.stderr
    return done.returncode, done.stdout


def values(store):
    with sqlite3.connect(store) as connection:
        rows = dict(connection.execute("SELECT key, value FROM features"))
    return {key: value for key, value in rows.items() if key.startswith(VALUE)}


@pytest.mark.parametrize(("verb", "calls"), [("materialize", (300, 700)), ("push", (180, 330))])
def test_a_verb_that_is_killed_again_and_again_stores_what_one_run_does(folder, tmp_path, verb, calls):
    """Each call is one that the store's code makes in the midst of a batch that is not the first."""
    assert run(folder, tmp_path / "once.db", verb)[0] == 0
    for call in calls:
        run(folder, tmp_path / "killed.db", verb, call)
    code, told = run(folder, tmp_path / "killed.db", verb)
    assert code == 0
    assert values(tmp_path / "killed.db") == values(tmp_path / "once.db") != {}
    if verb == "materialize":  # goes on after its last batch
        tables = json.loads(told)["tables"]
        assert [each["rows"] + each["before"] for each in tables.values()] == [ROWS, STATIONS, ROWS]
        assert sum(each["before"] for each in tables.values()) >= 2 * BATCH
