"""`trunkline labels`, from a real server's log to what is known of a prediction."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from tests.serve.labels.project import PARAMS, after, log
from tests.serve.prediction_log.conftest import ROWS, drained, logging
from tests.serve.prediction_log.conftest import sums as sums  # noqa: PLC0414  a fixture
from trunkline.cli.labels import labels
from trunkline.core.errors import UserError
from trunkline.lineage import predictions
from trunkline.serve.prediction_log.place import Place

IMPORTED = """\
late.csv: 5 rows: 3 stored, 1 not known yet, 1 refused
of the outcomes, 2 have a prediction in the log, 1 of which arrived before it was made; without one: 1
late.csv: row 2: late: is not true or false ('perhaps')
late.csv: row 4: arrived at 2026-11-01T00:05:00Z, before the prediction b, made at 2026-11-01T00:20:00Z
"""
AGAIN = """\
late.csv: 5 rows: 3 stored before, 1 not known yet, 1 refused
of the outcomes, 2 have a prediction in the log, 1 of which arrived before it was made; without one: 1
late.csv: row 2: late: is not true or false ('perhaps')
late.csv: row 4: arrived at 2026-11-01T00:05:00Z, before the prediction b, made at 2026-11-01T00:20:00Z
"""
JOINED = """\
as of 2026-11-01 00:25:00 UTC
version   environment   predictions   with outcome   share   arrived before
v1                                2              1   50.0%                1
"""


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(labels, arguments, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project in whose log are two predictions, and the outcomes of three."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(json.dumps(PARAMS | {"serving": {"log": {"to": "log"}}}))
    log(Place("log"), [("a", 0, after(10), 1), ("b", 0, after(20), 2)])
    times = [after(minute).isoformat() for minute in (30, 30, 40, 5)] + ["2999-01-01"]
    rows = {"nr": [1, 2, 3, 2, 1], "late": ["true", "perhaps", "0", "1", "false"], "arrived": times}
    pl.DataFrame(rows).write_csv("late.csv")
    return tmp_path


def test_an_import_and_a_join_say_what_they_did(project):
    assert run("import", "late.csv", "--at", "arrived", code=1) == IMPORTED
    assert run("import", "late.csv", "--at", "arrived", code=1) == AGAIN
    assert run("join", "--as-of", "2026-11-01T00:25", "-o", "joined.csv") == JOINED
    assert Path("joined.csv").read_text() == (
        "request_id,row,time,prediction_time,version,digest,arm,environment,outcome,arrived_at,score\n"
        f"a,0,2026-11-01T00:10:00.000000Z,,v1,{'d' * 64},,,,,0.5\n"
        f"b,0,2026-11-01T00:20:00.000000Z,,v1,{'d' * 64},,,true,2026-11-01T00:05:00.000000Z,0.5\n"
    )
    counts = json.loads(run("join", "--json"))["versions"]
    assert counts == [{"version": "v1", "environment": None, "predictions": 2, "with_outcome": 2, "early": 1}]


def test_environments_that_log_to_one_place_are_counted_apart(project):
    log(Place("log"), [("c", 0, after(10), 1)], environment="staging")
    log(Place("log"), [("d", 0, after(10), 2), ("e", 0, after(10), 3)], environment="production")
    counts = json.loads(run("join", "--json"))["versions"]
    assert [(each["version"], each["environment"], each["predictions"]) for each in counts] == [
        ("v1", None, 2),
        ("v1", "production", 2),
        ("v1", "staging", 1),
    ]


def test_without_a_file_the_declared_table_is_imported(project):
    trips = {"nr": [1, 2], "at": [after(60), after(60)], "city": ["Roma", None], "delay": [6, None]}
    Path("data/valid").mkdir(parents=True)
    pl.DataFrame(trips).write_parquet("data/valid/trips.parquet")
    assert run("import", "--dry-run").startswith(
        "data/valid/trips.parquet: 2 rows: 1 would be stored, 1 without an outcome\n"
    )
    assert run("import").startswith("data/valid/trips.parquet: 2 rows: 1 stored, 1 without an outcome\n")
    counts = [
        json.loads(run("join", "--as-of", f"2026-11-02T{time}", "--json"))["versions"] for time in ("00:59", "01:00")
    ]
    assert [each[0]["with_outcome"] for each in counts] == [0, 1]


def test_what_is_missing_is_named_with_what_to_do(project):
    with pytest.raises(UserError, match=r"data/valid/trips\.parquet: there is no such file; run: dvc repro validate"):
        run("import")
    with pytest.raises(UserError, match="elsewhere: no prediction log is there"):
        run("join", "--log", "elsewhere")
    assert "--row: is of a request; name the column of its id too" in run("import", "late.csv", "--row", "nr", code=2)


def test_the_log_of_a_server_has_its_outcomes_by_id_and_by_key(sums, tmp_path):
    with logging(sums, tmp_path) as server:
        assert server.post("/v1/predict", ROWS[:3], X_Request_ID="many").status == 200
        assert server.post("/v1/predict", ROWS[7], X_Request_ID="one").status == 200
        drained(server)
    params = json.loads((tmp_path / "params.yaml").read_text())
    trips = PARAMS["contract"]["tables"]["trips"]
    columns = trips["columns"] | {"hour": trips["columns"]["nr"]}
    tables = {"trips": trips | {"unique": ["hour"], "columns": columns}}
    keyed = {"data": PARAMS["data"] | {"unique_key": ["hour"]}, "contract": {"tables": tables}}
    (tmp_path / "params.yaml").write_text(json.dumps(params | keyed))
    by_id, by_key, place = tmp_path / "by_id.parquet", tmp_path / "by_key.csv", ("--project", str(tmp_path))
    pl.DataFrame({"id": ["many", "many"], "place": [0, 2], "late": [True, False]}).write_parquet(by_id)
    pl.DataFrame({"hour": [7.0, 9.0], "late": ["false", "true"]}).write_csv(by_key)
    assert "2 have a prediction in the log; without one: 0" in run(
        "import", str(by_id), "--id", "id", "--row", "place", *place
    )
    assert "1 have a prediction in the log; without one: 1" in run("import", str(by_key), *place)
    run("join", "-o", str(tmp_path / "joined.parquet"), *place)
    rows = pl.read_parquet(tmp_path / "joined.parquet").sort("request_id", "row")
    columns = rows.select("request_id", "row", "outcome").rows()
    assert columns == [("many", 0, True), ("many", 1, None), ("many", 2, False), ("one", 0, False)]
    traced = predictions.find([str(tmp_path / "log")], "one")
    assert [outcome.value for outcome in traced.outcomes] == [False]
    assert traced.outcomes[0].arrived == traced.outcomes[0].imported
