"""Rows of one request by two arms: what is set aside stays in its place, and each arm joins its own features."""

import asyncio
import json
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.serve.conftest import GOOD, golden_bundle
from tests.serve.online import trips
from tests.serve.rollout.conftest import KEY, LATE, candidate_bundle, classes_bundle
from trunkline.bundle.runtime import Bundle
from trunkline.conf.serving import Limits, Online
from trunkline.serve import events, predict
from trunkline.serve.asked import Answered
from trunkline.serve.explain.explainer import WORK, Explainer
from trunkline.serve.http import Request
from trunkline.serve.limits import Queue
from trunkline.serve.model import Model, Pointer, Rollout, load
from trunkline.serve.online.store.sqlite import SQLiteStore
from trunkline.serve.problems import ProblemError
from trunkline.serve.protocols import arrow, mlflow, open_inference
from trunkline.serve.rollout.answers import Outcome, Work, answer
from trunkline.serve.rollout.arms import Arms
from trunkline.serve.rollout.parts import tried

REQUEST = Request("POST", "/v1/predict", "", {}, "id")
TRIP = {"number": 9, "station": "A", "line": 1, "starts": "2013-03-09T19:00:00+02:00"}


def arms(current: Model, candidate: Model, key: list[str], share: float = 50, kind: Any = "canary") -> Arms:
    pointer = Pointer("sums", "v2", candidate.version.digest, "nowhere")
    return Arms(current, candidate, Rollout(kind, share, tuple(key), pointer))


def outcome(of: Arms, body: Any, read: Any = predict.asked, limit: int = 8, seconds: float = 10) -> Outcome:
    async def asked() -> Outcome:
        work = Work(Queue(limit), 0, time.monotonic() + seconds)
        return await answer(of, read(of.current, REQUEST, json.dumps(body).encode()), work)

    return asyncio.run(asked())


def answered(of: Arms, rows: Any) -> Answered:
    result = outcome(of, rows).answered
    assert result
    return result


def model(folder: Path, version: str, **more: Any) -> Model:
    pointer = Pointer("sums", version, load(folder, Limits(), 1e-9, **more).version.digest, "nowhere")
    return load(folder, Limits(), 1e-9, pointer, **more)


@pytest.mark.parametrize("share", [0.01, 50, 99.99])
def test_what_is_set_aside_stays_in_its_place(tmp_path, share):
    current = model(golden_bundle(tmp_path / "v1", on_bad_row="quarantine"), "v1")
    both = arms(current, model(candidate_bundle(tmp_path / "v2"), "v2"), KEY, share)
    rows = [GOOD | {"hour": hour, "dest": dest} for hour in (*range(0, 24, 3), 99, 5, 98) for dest in ("LAX", "ORD")]
    result = answered(both, rows)
    assert list(result.refused) == [number for number, row in enumerate(rows) if row["hour"] > 90]
    for row, score, version in zip(
        rows, result.in_place(result.scores), result.in_place(versions(result)), strict=True
    ):
        takes = both.share.has(row) and row["hour"] < LATE
        bundle = both.candidate if takes else both.current
        assert score == (None if row["hour"] > 90 else bundle.bundle.score(row))
        assert version == (None if row["hour"] > 90 else bundle.version.version)
    said = json.loads(predict.respond(current, REQUEST, result).body)
    assert [each["row"] for each in said["refused"]] == list(result.refused)


def versions(result: Answered) -> list[str | None]:
    return [each.version for each in result.versions or [result.version] * len(result.scores)]


def test_a_request_that_a_version_fails_on_fails_as_it_does_without_a_rollout(tmp_path, monkeypatch):
    both = arms(model(golden_bundle(tmp_path / "v1"), "v1"), model(candidate_bundle(tmp_path / "v2"), "v2"), KEY)
    monkeypatch.setattr(type(both.current.bundle), "scores", lambda *_: 1 / 0)
    failed = outcome(both, [GOOD, GOOD | {"hour": 8}, GOOD | {"hour": 9}])
    assert isinstance(failed.error, ZeroDivisionError)
    problems = {(part.arm, number): text for part in failed.parts for number, text in part.problems.items()}
    assert set(problems.values()) == {"failed: ZeroDivisionError"}
    assert {number for arm, number in problems if arm == "current"} == {0, 1, 2}


def test_too_many_rows_are_refused_before_any_is_scored(tmp_path):
    both = arms(model(golden_bundle(tmp_path / "v1"), "v1"), model(candidate_bundle(tmp_path / "v2"), "v2"), KEY)
    rows = [GOOD | {"hour": number % LATE} for number in range(Limits().rows + 1)]
    for read, body in ((predict.asked, rows), (mlflow.asked, {"dataframe_records": rows})):
        with pytest.raises(ProblemError, match="rows, of which"):
            outcome(both, body, read)


def test_each_arm_joins_its_own_features_and_what_is_pushed_is_kept_for_both(tmp_path):
    declared = deepcopy(trips.FEATURES)
    declared["views"]["recent"]["window"] = "12h"
    store = (Online(store="sqlite:///x.db"), SQLiteStore(tmp_path / "x.db"))
    current = model(trips.bundle(tmp_path / "v1", trips.planned()), "v1", online=store)
    both = arms(current, model(trips.bundle(tmp_path / "v2", trips.planned(declared)), "v2", online=store), ["number"])
    row = {"number": 1, "station": "A", "line": 1, "starts": "2013-03-09T13:30:00Z", "delay": 7, "load": 0.5}
    early = row | {"number": 2, "starts": "2013-03-09T08:30:00Z"}
    body = json.dumps({"table": "trips", "rows": [row, early]}).encode()
    events.push_to_both(both.candidate, current, REQUEST, body)
    rows = [TRIP | {"number": number} for number in range(10, 30)]
    result = answered(both, rows)
    assert {each.version for each in result.versions or ()} == {"v1", "v2"}
    joined = {number: each.features["trips_6h"] for number, each in result.joined.items()}
    assert joined == {number: 1 + both.share.has(row) for number, row in enumerate(rows)}
    asked = replace(REQUEST, query="features=true")
    said = json.loads(predict.respond(current, asked, result).body)["features"]
    assert [each["values"]["trips_6h"] for each in said] == [joined[number] for number in range(len(rows))]
    for arm in (current, both.candidate):
        (features,) = arm.online.requested([TRIP]).joined.values()
        assert features.features["last_delay"] == 7
    shadow = arms(current, both.candidate, ["number"], 100, "shadow")
    assert answered(shadow, rows).version == current.version


def test_of_a_row_without_a_score_the_log_keeps_what_is_declared_and_plain(tmp_path):
    both = arms(model(golden_bundle(tmp_path / "v1"), "v1"), model(candidate_bundle(tmp_path / "v2"), "v2"), KEY, 99.99)
    row = GOOD | {"hour": 99, "delay": [7], "kind": "x" * 1000, "dest": "\ud800", "passport": "C01X0006H"}
    refused = outcome(both, [GOOD, row])
    kept = {part.arm: [json.loads(text or "") for text in part.asked] for part in refused.parts}
    expected = GOOD | {"hour": 99, "delay": None, "kind": None, "dest": "?"}
    assert kept == {"canary": [expected], "current": [expected]}


def test_several_classes_keep_their_columns_in_every_protocol(tmp_path):
    names = ("a", "b", "c")
    current = model(classes_bundle(tmp_path / "v1", names, 1), "v1")
    both = arms(current, model(classes_bundle(tmp_path / "v2", names, 2), "v2"), KEY)
    rows = [GOOD | {"hour": hour} for hour in range(24)]
    expected = [(both.candidate if both.share.has(row) else current).bundle.score(row) for row in rows]
    assert {row["b"] / row["a"] for row in expected} == {2.0}
    result = answered(both, rows)
    assert json.loads(predict.respond(current, REQUEST, result).body)["scores"] == expected
    with pa.ipc.open_stream(arrow.respond(current, REQUEST, result).body) as stream:
        table = stream.read_all().select([f"score_{name}" for name in names])
    assert [list(row.values()) for row in table.to_pylist()] == [list(row.values()) for row in expected]
    (output,) = json.loads(open_inference.respond(current, REQUEST, result).body)["outputs"]
    assert output["shape"] == [len(rows), len(names)]
    assert output["data"] == [score for row in expected for score in row.values()]


class _Explained:
    """Explains a score by its first feature alone."""

    base = np.zeros(1)

    def __init__(self, bundle: Any, most: int) -> None:
        self._bundle, self.work = bundle, WORK // most

    def contributions(self, numeric: Any, texts: Any) -> Any:
        every = np.zeros((len(numeric), len(self._bundle.contract.inputs), 1))
        every[:, 0, 0] = self._bundle.scores(numeric, texts)
        return every


def explained(of: Model, most: int = 100) -> Model:
    """Return a model that is explained, so many rows at once."""
    return replace(of, explainer=Explainer(1, "identity", of.bundle, _Explained(of.bundle, most)))


def test_who_asks_for_explanations_has_them_of_an_arm_that_has_some(tmp_path):
    current, candidate = model(golden_bundle(tmp_path / "v1"), "v1"), model(candidate_bundle(tmp_path / "v2"), "v2")
    rows = [GOOD | {"hour": hour} for hour in range(LATE)]
    read = lambda model, request, body: replace(predict.asked(model, request, body), explained=True)  # noqa: E731
    every = arms(explained(current), explained(candidate), KEY)
    result = outcome(every, rows, read).answered
    assert {each.version for each in result.versions} == {"v1", "v2"}
    assert [sum(each["contributions"].values()) for each in result.explanations] == result.scores.tolist()
    for without in (candidate, explained(candidate, len(rows) - 1)):
        asked = outcome(arms(explained(current), without, KEY), rows, read)
        assert (versions(asked.answered), len(asked.answered.explanations)) == (["v1"] * len(rows), len(rows))
        assert not any(part.problems for part in asked.parts)
    nobody = outcome(arms(current, candidate, KEY), rows, read)
    assert (nobody.error.status, nobody.parts) == (501, [])
    beside = tried(candidate, read(current, REQUEST, json.dumps(rows).encode()), range(len(rows)))
    assert (len(beside.scores), beside.problems) == (len(rows), {})


def test_a_candidate_that_hangs_takes_no_thread_of_what_is_served(tmp_path, monkeypatch):
    current, candidate = model(golden_bundle(tmp_path / "v1"), "v1"), model(candidate_bundle(tmp_path / "v2"), "v2")
    scores, ends = Bundle.scores, Event()

    def hangs(self: Bundle, *matrices: Any) -> Any:
        if self.digest == candidate.bundle.digest:
            ends.wait(10)
        return scores(self, *matrices)

    monkeypatch.setattr(Bundle, "scores", hangs)
    monkeypatch.setattr(Model, "waits", True)  # as that of a pipeline
    try:
        result = outcome(arms(current, candidate, KEY, 99.99), [GOOD], limit=1, seconds=0.5)
        assert result.answered.version.version == "v1"
        assert [problem for part in result.parts for problem in part.problems.values()] == ["failed: Gateway Timeout"]
    finally:
        ends.set()


def test_both_arms_are_logged_as_late_where_both_are(tmp_path, monkeypatch):
    both = arms(model(golden_bundle(tmp_path / "v1"), "v1"), model(candidate_bundle(tmp_path / "v2"), "v2"), KEY)
    scores = Bundle.scores
    monkeypatch.setattr(Bundle, "scores", lambda self, *matrices: (time.sleep(0.1), scores(self, *matrices))[1])
    rows = [GOOD | {"hour": hour} for hour in range(LATE)]
    late = outcome(both, rows, seconds=0.1)
    assert late.error.status == 504
    failed = {(part.arm, number): text for part in late.parts for number, text in part.problems.items()}
    assert set(failed.values()) == {"failed: Gateway Timeout"}
    assert sorted(number for arm, number in failed if arm == "current") == list(range(len(rows)))
    taken = [number for number, row in enumerate(rows) if both.share.has(row)]
    assert sorted(number for arm, number in failed if arm == "canary") == taken
