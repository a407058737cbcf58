"""Rules of times, by a clock that the test moves: no assertion here depends on how fast the machine is."""

import json

import numpy as np
import pytest

from tests import bundles
from tests.evidences import gates
from trunkline.bundle import manifest
from trunkline.pipeline.gate import timing
from trunkline.pipeline.reports import GatesReport as Judged

LATENCY = {"kind": "operational", "measure": "latency_ratio", "maximum": 1.5}
THROUGHPUT = {"kind": "operational", "measure": "throughput_ratio", "minimum": 0.7}


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Two bundles of other weights, the challenger's where the pipeline leaves it; returns what was judged."""
    monkeypatch.chdir(tmp_path)
    for name, folder in (("ours", "models/bundle"), ("theirs", "data/champion/bundle")):
        made = bundles.make(tmp_path / folder)
        requests = [{"delay": 1.5, "hour": hour, "origin": "EWR", "dest": None} for hour in range(5)]
        rows = [{field["name"]: None for field in bundles.INPUTS} | request for request in requests]
        (made / "golden.json").write_text(json.dumps([{"request": row, "score": 0.0} for row in rows]))
        bundles.seal(made, name=name)
    digests = [manifest.digest(tmp_path / folder) for folder in ("models/bundle", "data/champion/bundle")]
    return judged(*digests)


def judged(challenger, champion):
    content = {"verdict": "fail", "challenger": challenger, "gates": []}
    return Judged.model_validate(content | {"champion": champion and {"version": "flights@v3", "digest": champion}})


@pytest.fixture
def clock(monkeypatch):
    """Make the seconds of the challenger and of the champion, in turn, what the test wants them to be."""

    def set_to(ours, theirs):
        def seconds(action):
            action()
            bundle = action.__closure__[0].cell_contents
            return ours() if bundle.manifest.name == "ours" else theirs()

        monkeypatch.setattr(timing, "_seconds", seconds)

    return set_to


def only(rule, found):
    [verdict] = timing.judge(gates({"fast": rule}), found)
    return verdict


@pytest.mark.parametrize(
    ("rule", "times_slower", "answer"),
    [(LATENCY, 1.0, "pass"), (LATENCY, 2.0, "fail"), (THROUGHPUT, 1.2, "pass"), (THROUGHPUT, 2.0, "fail")],
)
def test_a_slower_bundle_breaks_the_limit(places, clock, rule, times_slower, answer):
    clock(lambda: times_slower, lambda: 1.0)
    verdict = only(rule, places)
    assert verdict.verdict == answer
    assert verdict.observed == pytest.approx(times_slower if rule is LATENCY else 1 / times_slower)


def test_noise_breaks_no_limit(places, clock):
    random = np.random.default_rng(1)
    clock(lambda: 1.55 * random.lognormal(0, 0.5), lambda: random.lognormal(0, 0.5))
    verdict = only(LATENCY, places)
    low, high = verdict.interval
    assert low < 1.5 < high
    assert verdict.verdict == "pass"


def test_the_real_clock_finds_a_ratio(places):
    for rule in (LATENCY, THROUGHPUT):
        verdict = only(rule | {"maximum": 1e9}, places)
        low, high = verdict.interval
        assert 0 < low <= verdict.observed <= high


@pytest.mark.parametrize(
    ("champion", "reason"),
    [(None, "production has no champion yet"), ("own", "same model: the bundle is that of flights@v3 in production")],
)
def test_without_another_model_there_is_nothing_to_compare(places, champion, reason):
    verdict = only(LATENCY, judged(places.challenger, champion and places.challenger))
    assert (verdict.verdict, verdict.reason) == ("not_applicable", reason)


def test_another_bundle_than_the_judged_one_fails(places):
    verdict = only(LATENCY, judged(places.challenger, "f" * 64))
    assert (verdict.verdict, verdict.blocking) == ("fail", True)
    assert "is not the bundle that was judged; run: dvc repro" in verdict.reason


def test_a_bundle_that_is_missing_fails(tmp_path, places):
    (tmp_path / "data/champion/bundle/model.onnx").unlink()
    verdict = only(LATENCY | {"advisory": True}, places)
    assert (verdict.verdict, verdict.blocking) == ("fail", False)
    assert "model.onnx" in verdict.reason
