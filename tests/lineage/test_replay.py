"""A log as it was written is what is recomputed, and whatever is changed in it is found and named."""

import base64
import json
import math
import random
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner

from tests import bundles
from tests.monitor import logs
from tests.serve.labels.project import file
from tests.serve.online import trips
from tests.serve.test_joined import CONTENT, PLAN, joined, tables_of, trips_of
from tests.serving import TRUNKLINE
from trunkline.bundle.contract import row_check
from trunkline.bundle.runtime import Bundle
from trunkline.cli.monitor import monitor
from trunkline.cli.replay import replay as verb
from trunkline.conf.serving import Online
from trunkline.core.errors import UserError
from trunkline.core.expressions import Column
from trunkline.core.features import EVENT_TIME
from trunkline.lineage import replay as lineage_replay
from trunkline.serve.batch import job as batch_job
from trunkline.serve.batch import run as batch_run
from trunkline.serve.labels import importing, join, store
from trunkline.serve.log import DIGEST, REQUEST, TIME
from trunkline.serve.online.features import OnlineFeatures, put
from trunkline.serve.online.store.sqlite import SQLiteStore
from trunkline.serve.prediction_log import sealed, segments
from trunkline.serve.prediction_log.messages import Scorer
from trunkline.serve.prediction_log.place import Place
from trunkline.serve.prediction_log.privacy import Privacy
from trunkline.serve.prediction_log.sealed import Keys
from trunkline.serve.prediction_log.segments import ScoredRows

GOLDEN = Path(__file__).parents[1] / "golden/lineage"
OPEN = Privacy({}, "keep", frozenset(), None)
TRIPS = trips_of([(0, "Roma", 1, 30), (100, "Roma", 2, 45), (130, "東京", 3, 5), (400, "Roma", 4, 15)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle whose features are joined from trips and cities."""
    kinds = {"numeric": "number", "categorical": "text"}
    inputs = [bundles.field(output.name, kinds[output.role]) for output in PLAN.outputs]
    next(one for one in inputs if one["name"] == "people").update(type="integer", min=0, max=10_000_000)
    made = bundles.make(tmp_path_factory.mktemp("bundles") / "trips", inputs)
    (made / "features.json").write_bytes(CONTENT)
    bundles.seal(made)
    return made


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return tables_of(tmp_path_factory.mktemp("valid"), TRIPS)


def write(path, bundle, inputs, requests=(), times=(), *, privacy=OPEN):
    """Write a segment of inputs that were scored one by one; `requests` are columns as JSON, `times` predictions'."""
    check, now = row_check(bundle.contract), int(datetime.now(UTC).timestamp() * 1e6)
    values = [check(row) for row in inputs]
    scores = np.array([[bundle.score(row)] for row in inputs])
    given = {
        REQUEST: [f"r{number}" for number in range(len(inputs))],
        segments.ROW: [0] * len(inputs),
        TIME: [now] * len(inputs),
        DIGEST: [bundle.digest] * len(inputs),
        "route": ["/v1/predict"] * len(inputs),
    }
    if requests:
        given |= {segments.COLUMNS: requests, segments.PREDICTION_TIME: [int(time.timestamp() * 1e6) for time in times]}
    rows = ScoredRows(
        np.array([numbers for numbers, _ in values], np.float64),
        np.array([texts for _, texts in values], object),
        scores,
    )
    path.parent.mkdir(exist_ok=True)
    pq.write_table(segments.table(Scorer.of(bundle.contract, bundle.digest, "v1"), privacy, given, rows), path)
    return path


@pytest.fixture
def log(tmp_path, folder, tables):
    """A log of requests whose features were joined, each as of a time of its own."""
    bundle, raw = Bundle.load(folder), joined(tables)
    asked = TRIPS.select("at", "city", "row").with_columns(at=pl.col("at") + pl.duration(minutes=200))
    times = [at - timedelta(minutes=60 + 7 * place) for place, at in enumerate(asked["at"])]
    inputs = [
        raw.inputs(asked[place : place + 1].to_arrow(), pl.Series([times[place]]))[0].to_pylist()[0]
        for place in range(len(asked))
    ]
    requests = [json.dumps(row, default=datetime.isoformat) for row in asked.to_dicts()]
    write(tmp_path / "log" / "part-1.parquet", bundle, inputs, requests, [time.replace(tzinfo=UTC) for time in times])
    return tmp_path / "log"


def replay(log, folder, tables=None, tolerance=1e-9):
    return lineage_replay.replay([str(log)], lambda digest: folder, tables, tolerance)


def changed(log, **columns):
    """Replace columns of the only segment, or inputs of them; each by what a function makes of its list."""
    (path,) = log.iterdir()
    table = pq.read_table(path)
    rows = table.to_pylist()
    for name, change in columns.items():
        for row in rows:
            place = row if name in row else row["inputs"]
            place[name] = change(place[name]) if row[REQUEST] == "r3" else place[name]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def different(result):
    return {
        each.name: (each.different, each.first.request)
        for each in (*result.scores.values(), *result.features.values())
        if each.different
    }


def test_a_log_as_it_was_written_is_what_is_recomputed(log, folder, tables):
    result = replay(log, folder, tables)
    assert (result.holds, result.rows, different(result), result.left) == (True, 4, {}, {})
    assert set(result.features) == {output.name for output in PLAN.outputs}
    values = [row["inputs"]["trips_6h"] for row in pq.read_table(log / "part-1.parquet").to_pylist()]
    assert len(set(values)) > 1
    without = replay(log, folder)
    assert (without.holds, without.features) == (True, {})
    assert list(without.left.values()) == [4]


def test_segments_that_are_compared_together_are_compared_as_apart(log, folder, tables, monkeypatch):
    changed(log, people=lambda value: value + 1)
    shutil.copy(log / "part-1.parquet", log / "part-2.parquet")
    together = lineage_replay.content(replay(log, folder, tables))
    assert (together["segments"], together["features"]["people"]["different"]) == (2, 2)
    monkeypatch.setattr(lineage_replay, "_AT_ONCE", 1)
    assert lineage_replay.content(replay(log, folder, tables)) == together


def test_golden_and_random_rows_have_their_bits(tmp_path):
    made, generator = bundles.make(tmp_path / "sums"), random.Random(7)
    rows = [
        {
            "hour": generator.randrange(24),
            "origin": generator.choice(["EWR", "JFK", "Zürich ✈", ""]),
            "delay": generator.choice([None, generator.uniform(-120, 3000), -0.1, 1 / 3]),
            "engines": generator.choice([None, 1, 2, 4]),
            "holiday": generator.choice([None, True, False]),
            "dest": generator.choice([None, "LAX"]),
            "kind": generator.choice([None, "arrival"]),
        }
        for _ in range(5001)
    ]
    write(tmp_path / "log" / "part-1.parquet", Bundle.load(made), rows)
    result = replay(tmp_path / "log", made)
    assert (result.holds, result.scores["score"].rows) == (True, 5001)
    changed(tmp_path / "log", score=lambda score: math.nextafter(score, math.inf))
    assert different(replay(tmp_path / "log", made)) == {"score": (1, "r3")}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_raw_rows_of_a_batch_are_logged_with_what_their_outcomes_are_found_by(
    tmp_path, folder, tables, monkeypatch, suffix
):
    """What is personal is left out of the request's columns, as it is of the inputs; where keys are, all is sealed."""
    monkeypatch.setenv("AT_REST", base64.b64encode(bytes(32)).decode())
    keys = Keys("AT_REST") if suffix == "parquet" else None
    asked, source, privacy = (
        TRIPS.drop("delay"),
        tmp_path / f"trips.{suffix}",
        Privacy({"city": "leave_out"}, "keep", frozenset(), None),
    )
    asked.write_csv(source) if suffix == "csv" else asked.write_parquet(source)
    job = batch_job.plan(source, tmp_path / "scores.parquet", folder, batch_job.Options(tables=tables))
    batch_run.run(batch_job.logged(job, tmp_path / "log", privacy, keys), Bundle.load(folder).scores, 1, int)
    place = Place(str(tmp_path / "log"), keys)
    (segment,) = place.segments()
    assert sealed.is_sealed(tmp_path.joinpath("log", *segment).read_bytes()) == (keys is not None)
    with place.open(*segment) as opened:
        columns = [json.loads(text) for text in opened.read()["request_columns"].to_pylist()]
    assert columns == [
        {"at": f"{at}", "nr": nr, "row": row} for nr, at, row in asked.select("nr", "at", "row").iter_rows()
    ]
    outcomes = file(tmp_path / "late.parquet", {"nr": [0, 2, 9], "late": [True, False, True]})
    assert importing.run(outcomes, place, datetime.now(UTC), int).matched == 2
    assert join.table(place, store.read(place), datetime.now(UTC)).sort("request_id")["outcome"].to_list() == [
        True,
        None,
        False,
        None,
    ]


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"people": lambda value: value + 1}, {"people"}),
        ({"city": lambda value: "Ostia"}, {"city"}),
        ({"delay_6h": lambda value: value + 1e-3}, {"delay_6h"}),
        ({"delay_6h": lambda value: None}, {"delay_6h"}),
        (
            {"prediction_time": lambda value: value - timedelta(hours=5)},
            {"trips_6h", "delay_6h", "last_delay", "since"},
        ),
    ],
)
def test_what_is_changed_is_found_and_named(log, folder, tables, columns, named):
    changed(log, **columns)
    result = replay(log, folder, tables)
    assert not result.holds
    features = {each.name for each in result.features.values() if each.different}
    assert features == named
    assert {each.first.request for each in result.features.values() if each.different} == {"r3"}


def test_a_difference_within_the_tolerance_is_none(log, folder, tables):
    changed(log, delay_6h=lambda value: value + 1e-6)
    assert "delay_6h" in different(replay(log, folder, tables))
    assert "delay_6h" not in different(replay(log, folder, tables, tolerance=1e-5))


def test_what_is_hashed_or_left_out_is_not_compared_and_that_is_said(tmp_path, folder):
    bundle = Bundle.load(folder)
    row = {one.name: None for one in bundle.contract.inputs} | {"city": "Roma"}
    write(
        tmp_path / "log" / "part-1.parquet",
        bundle,
        [row],
        privacy=Privacy({"city": "leave_out"}, "keep", frozenset(), None),
    )
    result = replay(tmp_path / "log", folder)
    assert not result.holds  # nothing was compared
    assert result.left == {"the input city is not in the log as the model saw it (leave_out)": 1}


def test_a_table_of_others_is_refused(tmp_path, folder):
    pq.write_table(pa.table({"request_id": ["a"], "digest": ["b"]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match=r"other\.parquet: is no segment that trunkline serve"):
        replay(tmp_path, folder)


def test_the_verb_says_what_was_compared_and_exits_1_at_a_difference(log, folder, tables):
    command = [TRUNKLINE, "replay", str(log), "--bundle", str(folder), "--tables", str(tables)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (
        0,
        "4 rows of 1 segments\n1 score of 4 rows: as logged\n7 features of 4 rows: as logged\n",
    )
    changed(log, people=lambda value: value + 1)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    words = (
        "feature people of view place: differs in 1 of 4 rows, by 1 at most; the first is row 0 of request r3: logged "
    )
    assert words in done.stdout


HOUR = timedelta(hours=1)
DAY: trips.Tables = {
    "trips": [
        {
            "number": each, "station": "ab"[each % 2], "line": 1 + each % 2, "starts": trips.START + each * HOUR,
            "delay": 60 + each * 50 % 300, "load": each / 4,
        }
        for each in range(24)
    ],
    "alerts": [
        {
            "place": each, "code": "x", "station": "ab"[each % 2], "line": 1 + each % 2,
            "at": trips.START + each * HOUR, "told": trips.START + (each + 1) * HOUR, "weight": each / 8,
        }
        for each in range(24)
    ],
    "stations": [{"station": each, "platforms": 3, "opened": trips.START - 9999 * HOUR} for each in "ab"],
}  # fmt: skip


def in_another_zone(plan):
    return replace(plan, timezone="UTC")


def without_a_transformation(plan):
    """Sum the weights instead of their squares."""
    view = trips.FEATURES["views"]["alerts_day"]
    features = view["features"] | {"weight_sum": {"aggregate": "sum", "of": "weight"}}
    return trips.planned(
        trips.FEATURES | {"views": trips.FEATURES["views"] | {"alerts_day": view | {"features": features}}}
    )


def seen_too_early(plan):
    """Take trips for known once they happen, which no declaration is allowed to say of an outcome."""
    done = next(view.events for view in plan.primitives if view.name == "last")
    early = replace(done, available_at=Column(EVENT_TIME))
    views = [replace(view, events=early) if view.name in ("last", "recent") else view for view in plan.primitives]
    return replace(plan, primitives=tuple(views))


OF_STREAM = {"delay_sum_6h", "last_delay", "last_load", "load_mean_6h", "since_last", "since_last_hours", "trips_6h"}

# How a server computes otherwise than training did, and the features that show it.
SKEWS = {
    "none": (lambda plan: plan, set()),
    "zone": (in_another_zone, {"local_hour"}),
    "dropped": (without_a_transformation, {"weight_sum"}),
    "early": (seen_too_early, OF_STREAM),
}


def joined_by(folder, plan, trained):
    """Join a day of requests by a plan, and score them by a bundle; return the log that a server writes."""
    skewed, bundle = trips.bundle(folder / "skewed", plan), Bundle.load(trained)
    names = [each.name for each in bundle.contract.inputs]
    store = SQLiteStore(folder / "online.db")
    online = OnlineFeatures.read(skewed, names, Online(store="sqlite:///online.db"), store)
    for name, rows in DAY.items():
        assert put(online.tables[name], store, rows) == []
    requested = online.requested([trips.request(trip) for trip in DAY["trips"]])
    times = [each.predicted_at.replace(tzinfo=UTC) for each in requested.joined.values()]
    write(folder / "log" / "part-1.parquet", bundle, requested.rows, list(requested.columns.values()), times)
    return folder / "log"


@pytest.mark.parametrize("name", SKEWS)
def test_what_is_computed_otherwise_than_in_training_is_found_and_named(tmp_path, name):
    skew, named = SKEWS[name]
    trained = trips.bundle(tmp_path / "trained", trips.planned())
    log = joined_by(tmp_path, skew(trips.planned()), trained)
    trips.write(tmp_path, DAY)
    arguments = [str(log), "--bundle", str(trained), "--tables", str(tmp_path)]
    text = CliRunner().invoke(verb, [*arguments], catch_exceptions=False)
    told = json.loads(CliRunner().invoke(verb, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert (text.exit_code, told["holds"]) == ((1, False) if named else (0, True)), text.output
    assert {feature for feature, each in told["features"].items() if each["different"]} == named
    if named:
        assert text.stdout == (GOLDEN / f"skew_{name}.txt").read_text(encoding="utf-8")


def test_the_monitor_alerts_of_a_joined_feature_that_is_computed_otherwise(tmp_path, root, monkeypatch):
    trained = trips.bundle(tmp_path / "trained", trips.planned())
    reference = logs.reference_of(logs.rows(500, seed=1))
    (trained / "reference.json").write_text(json.dumps(reference), encoding="utf-8")
    bundles.seal(trained)
    trips.write(tmp_path, DAY)
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    rule = {"of": "skew", "measure": "share", "above": 0.0, "rows": 10, "then": "issue"}
    params["monitoring"] = {"read": "3d", "rules": {"skew": rule}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def logged(plan, name):
        """Return the log of a plan, in the folders of one, and the end of its only day."""
        written = joined_by(tmp_path / name, plan, trained) / "part-1.parquet"
        [moment] = set(pq.read_table(written)[TIME].to_pylist())
        hour = tmp_path / name / f"watched/v1/{moment:%Y-%m-%dT%H}"
        hour.mkdir(parents=True)
        written.rename(hour / written.name)
        return f"{name}/watched", f"{moment + timedelta(days=1):%Y-%m-%d}"

    def watched(log, over, *more):
        given = ["--bundle", "trained", "--log", log, "--as-of", over, "--json", *more]
        done = CliRunner().invoke(monitor, given, catch_exceptions=False)
        return done.exit_code, json.loads(done.stdout)

    replayed = "--replay", "--tables", "."
    code, report = watched(*logged(trips.planned(), "right"), *replayed)
    skew = {row["subject"]: row["value"] for row in report["table"] if row["kind"] == "skew"}
    assert (code, report["alerts"], {*skew.values()}) == (0, [], {0.0})
    assert {"score", "local_hour", "weight_sum"} <= skew.keys()
    zone = logged(in_another_zone(trips.planned()), "zone")
    code, report = watched(*zone, *replayed)
    [alert] = report["alerts"]
    cause = alert["cause"]
    assert (code, cause["rule"], cause["subject"], cause["rows"]) == (1, "skew", "local_hour", len(DAY["trips"]))
    assert alert["then"] == "issue"
    code, report = watched(*zone, "--replay")  # of scores alone: they are of what was logged
    assert (code, {row["subject"] for row in report["table"] if row["kind"] == "skew"}) == (0, {"score"})
