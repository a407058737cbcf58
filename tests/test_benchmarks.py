"""Benchmarks: each one can be imported, and those that are cheap when small agree with what they are compared to."""

import importlib
import shutil
from collections import Counter
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from benchmarks import bootstrap, error_rates, models, paired_auc, serving, soak
from benchmarks.peers import catalog, load
from benchmarks.peers.process import Question

from tests.bundles import INPUTS, expected
from tests.serve.conftest import GOOD, golden_bundle
from trunkline.core import paths
from trunkline.pipeline.compose.compose import compose
from trunkline.pipeline.compose.judge import check

NAMES = sorted(file.stem for file in (Path(__file__).parent.parent / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_can_be_imported(name):
    assert callable(importlib.import_module(f"benchmarks.{name}").main)


@pytest.mark.parametrize(("rows", "clusters"), [(1000, 31), (300, 300)])
def test_resamples_small(rows, clusters):
    assert bootstrap.compare(list(bootstrap.JUDGES), rows, clusters, resamples=100, loops=2).count("x") == 2


def test_paired_areas_small():
    assert paired_auc.compare(rows=2000, resamples=100, loops=2).startswith("100 resamples of 2,000 rows")


def test_error_rates_of_one_pair():
    difference = error_rates.compared(1, "roc_auc", 14, error_rates.NOISIER)
    assert error_rates.declared([difference], margin=-1) == 1
    assert error_rates.declared([difference], margin=1) == 0


@pytest.mark.parametrize("name", models.NAMED)
def test_every_data_set_declares_what_conf_takes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models.make(models.NAMED[name], share=0)
    check(compose(paths.CONF), fallback=paths.PARAMS, registry=paths.REGISTRY)


def test_a_model_is_the_plain_scripts_to_the_last_digit(tmp_path):
    of = models.measure(models.NAMED["patients"], tmp_path)
    assert of.scores["trunkline"] == of.scores["plain"]
    assert (of.scores["pipeline"], of.scores["bundle"] < 1e-9, of.scores["runtime"]) == (0, True, "onnx")
    assert models.Measured.of(asdict(of)) == of
    assert [line.count("|") for line in models.table([of]).splitlines()] == [12, 12, 12]
    assert models.draw([of]).startswith("<?xml")


def test_a_question_is_asked_over_connections_with_its_headers(tmp_path, wrk):
    model = catalog.Model(golden_bundle(tmp_path / "sums"), tmp_path, tmp_path, tmp_path, GOOD, expected(INPUTS, GOOD))
    peers = [peer for peer in catalog.PEERS if peer.name in ("floor", "trunkline")]
    cells, missing = serving.measured(model, peers, seconds=1, rounds=1, connections=[2])
    assert (missing, [cell.failed for each in cells.values() for cell in each]) == ({}, [0, 0])
    assert min(cell.rate * cell.cpu * cell.resident for each in cells.values() for cell in each) > 0
    table = serving.table({place: each[0] for place, each in cells.items()}).splitlines()
    assert [line.count("|") for line in table] == [9, 9, 9, 9]
    assert "(1.00)" in table[-1]


def test_questions_are_asked_in_turn(tmp_path, wrk):
    asked = Counter()

    class Counting(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            asked[self.rfile.read(int(self.headers["Content-Length"])), self.headers["Key"]] += 1
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        question = Question("/", b'{"a": 1}', {"Key": "k"}, [b'{"a": 2}', b'{"a": 33}'])
        done = load.ask(server.server_port, question, 1, 1, tmp_path)
        server.shutdown()
    assert (done.failed, set(asked)) == (0, {(body, "k") for body in (b'{"a": 1}', b'{"a": 2}', b'{"a": 33}')})
    assert max(asked.values()) - min(asked.values()) <= 1


def test_a_server_that_answers_another_score_is_not_measured(tmp_path):
    model = catalog.Model(
        golden_bundle(tmp_path / "sums"), tmp_path, tmp_path, tmp_path, GOOD, expected(INPUTS, GOOD) + 1
    )
    with pytest.raises(SystemExit, match="but the score is"):
        serving.ask(catalog.OURS, model, seconds=1, connections=[1])


def test_what_a_peer_lacks_is_told_and_it_is_left_out(tmp_path):
    model = catalog.Model(golden_bundle(tmp_path / "sums"), tmp_path, tmp_path / "none", tmp_path, GOOD, 0.0)
    ends = catalog.Peer("ends", lambda *_: ["false"], lambda model: ("/", model.row), None)
    cells, missing = serving.measured(model, [ends], seconds=1, rounds=1, connections=[1])
    assert (cells, list(missing)) == ({}, ["ends"])
    assert missing["ends"].startswith("did not answer")


def test_a_soak_swaps_under_load(tmp_path, wrk):
    seen = soak.soak(golden_bundle(tmp_path / "sums"), seconds=3, every=0.5, sample=0.25)
    assert (seen.failed, seen.swaps > 3, seen.requests > 100) == (0, True, True)
    assert min(size for _, size in seen.samples) > 1
    assert abs(soak.Soak([(0, 9), (5, 1), (10, 2)], 0, 0, 0, 0).slope() - 720) < 1e-6


@pytest.fixture(scope="module")
def wrk() -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed: apt-get install wrk")
