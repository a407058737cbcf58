"""What another bundle would have answered: nothing else for the same, what it moves for another, and what it cannot."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests import bundles
from trunkline.bundle.contract import row_check
from trunkline.bundle.runtime import Bundle
from trunkline.conf.previews import Previews
from trunkline.deploy.rollout.preview import Move, Reader, preview
from trunkline.review import preview as review_preview
from trunkline.serve.log import DIGEST, REQUEST, TIME
from trunkline.serve.prediction_log import segments
from trunkline.serve.prediction_log.messages import Scorer
from trunkline.serve.prediction_log.place import Place, folder
from trunkline.serve.prediction_log.privacy import Privacy
from trunkline.serve.prediction_log.segments import ScoredRows

NOW = datetime(2026, 11, 2, 12, 30, tzinfo=UTC)
OPEN = Privacy({}, "keep", frozenset(), None)
INPUTS = [bundles.field("delay", "number"), bundles.field("origin", "text")]
PREVIEWS = Previews(hours=6, requests=1000, threshold=25.0, slices=("origin", "nowhere"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle; one to which JFK weighs 7 more; and one that has a feature more."""
    base = tmp_path_factory.mktemp("bundles")
    folders = [bundles.make(base / "current", INPUTS)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(bundles.WEIGHTS, "JFK", bundles.WEIGHTS["JFK"] + 7)
        folders.append(bundles.make(base / "candidate", INPUTS))
    folders.append(bundles.make(base / "wider", [*INPUTS, bundles.field("speed", "number")]))
    return [Bundle.load(each) for each in folders]


def flights(count):
    return [{"delay": number % 10 + 0.1, "origin": ("EWR", "JFK", None)[number % 3]} for number in range(count)]


def write(log, bundle, rows, ago=timedelta(hours=1), *, privacy=OPEN, version="v1", **more):
    """Write a segment of rows that a bundle has scored, `more` being columns of each."""
    check, time = row_check(bundle.contract), NOW - ago
    values = [check(row) for row in rows]
    given = {
        REQUEST: [f"{ago}-{number}" for number in range(len(rows))],
        segments.ROW: [0] * len(rows),
        TIME: [int(time.timestamp() * 1e6) + number for number in range(len(rows))],
        DIGEST: [bundle.digest] * len(rows),
        "version": [version] * len(rows),
        "route": ["/v1/predict"] * len(rows),
        **{name: [value] * len(rows) for name, value in more.items()},
    }
    scored = ScoredRows(
        np.array([numbers for numbers, _ in values], np.float64),
        np.array([texts for _, texts in values], object),
        np.array([[bundle.score(row)] for row in rows]),
    )
    table = segments.table(Scorer.of(bundle.contract, bundle.digest, version), privacy, given, scored)
    log.write(folder(version, bundle.digest, time.timestamp()), f"{ago.seconds}-{more}-{version}.parquet", table)


@pytest.fixture
def log(tmp_path):
    return Place(str(tmp_path / "log"))


def of(log, bundle, previews=PREVIEWS, task="binary"):
    return preview(Reader(log, "staging", previews, bundle, NOW), task)


def test_a_version_itself_changes_nothing(log, made):
    write(log, made[0], flights(301))
    seen = of(log, made[0])
    assert (seen.whole, seen.version, seen.requests, seen.left) == (Move(301, 0.0, 0.0), "v1", 301, {})
    assert seen.absent == ("nowhere",)
    assert {(value, move.changed, move.mean) for _, value, move in seen.slices} == {
        (value, 0.0, 0.0) for value in ("EWR", "JFK", "(missing)")
    }


def test_what_moves_is_counted_and_its_slice_comes_first(log, made):
    write(log, made[0], flights(300))
    seen = of(log, made[1])
    assert seen.whole == Move(300, pytest.approx(50 / 300), pytest.approx(7 / 3))  # of JFK, those of 20 to 25
    assert seen.slices[0] == ("origin", "JFK", Move(100, pytest.approx(0.5), pytest.approx(7.0)))
    assert of(log, made[1], task="regression").whole == Move(300, None, pytest.approx(7 / 3))


def test_it_is_written_for_people(log, made):
    write(log, made[0], flights(1200))
    write(
        log,
        made[0],
        flights(15),
        timedelta(hours=2),
        privacy=Privacy({"delay": "leave_out"}, "keep", frozenset(), None),
    )
    nothing = review_preview.refused("production", "no recorder has signed what has built its bundle")
    previews = Previews(requests=1300, threshold=25.0, slices=("origin", "nowhere"))
    said = review_preview.section([review_preview.body(of(log, made[1], previews)), nothing])
    assert f"{said}\n" == (Path(__file__).parents[2] / "golden/comment/preview.md").read_text(encoding="utf-8")


def test_rows_of_others_and_of_other_times_are_not_asked_again(log, made):
    write(log, made[0], flights(40))
    for ago in (timedelta(hours=7), timedelta(hours=6, minutes=15), -timedelta(minutes=10), -timedelta(hours=1)):
        write(log, made[0], flights(40), ago)
    for more in ({"arm": "shadow"}, {"arm": "canary"}, {"environment": "production"}, {"problem": "failed: x"}):
        write(log, made[0], flights(40), **more)
    assert of(log, made[1]).whole.rows == 40
    write(log, made[0], flights(40), environment="staging", arm="current")
    assert of(log, made[1]).whole.rows == 80
    write(log, made[1], flights(40), timedelta(minutes=30), version="v2")
    seen = of(log, made[1])
    assert (seen.version, seen.whole, seen.left) == ("v2", Move(40, 0.0, 0.0), {"another version answered them": 80})


def test_the_newest_rows_are_taken(log, made):
    for hours in (3, 2, 1):
        write(log, made[0], flights(30), timedelta(hours=hours))
    reader = Reader(log, "staging", Previews(requests=40), made[1], NOW)
    times = reader.newest()[TIME].to_list()
    assert len(times) == 40
    assert [sum(time.hour == hour for time in times) for hour in (11, 10, 9)] == [30, 10, 0]


def test_what_cannot_be_answered_again_is_said(log, made, monkeypatch):
    monkeypatch.setenv("LOG_KEY", "salt")
    hashed, left_out = (
        Privacy({"origin": "hash"}, "keep", frozenset(), "LOG_KEY"),
        Privacy({"delay": "leave_out"}, "keep", frozenset(), None),
    )
    write(log, made[0], flights(20))
    write(log, made[0], flights(15), timedelta(hours=2), privacy=hashed)
    write(log, made[0], flights(10), timedelta(hours=3), privacy=left_out)
    seen = of(log, made[1])
    assert seen.whole.rows == 20
    assert seen.left == {"the log has its input origin hashed": 15, "the log has its input delay left out": 10}
    seen = of(log, made[2])
    assert (seen.version, seen.whole.rows) == (None, 0)
    assert seen.left["its input speed is not in the log: the version had no such feature"] == 20
    said = review_preview.section([review_preview.body(seen)])
    assert "Of `staging`, nothing: no request of the last 6 h is in the log that it could answer." in said
    assert "Not answered again: 20 rows, since its input speed is not in the log" in said


def test_rows_that_its_contract_refuses_are_said(log, made, tmp_path):
    stricter = [bundles.field("delay", "number", max=5), bundles.field("origin", "text", nullable=False)]
    candidate = Bundle.load(bundles.make(tmp_path / "stricter", stricter))
    write(log, made[0], flights(30))
    seen = of(log, candidate)
    assert seen.left == {"its contract refuses the field delay": 15, "its contract refuses the field origin": 5}
    assert seen.whole == Move(10, 0.0, 0.0)


def test_an_empty_log_and_hostile_values_are_shown_as_text(log, made):
    seen = of(log, made[0])
    assert (seen.version, seen.left, seen.slices) == (None, {}, ())
    bad = "x|<!-- trunkline:preview -->\n---\n@team `a`"
    write(log, made[0], [{"delay": 1.0, "origin": bad}] * 25)
    said = review_preview.section([review_preview.body(of(log, made[0]))])
    assert "<!--" not in said
    assert "\n---" not in said
    many = review_preview.section([review_preview.body(of(log, made[0]))] * 60)
    assert len(many) < 2_000
