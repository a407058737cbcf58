"""The server as a process: it drains, its workers count together, and it follows deliveries under load."""

import http.client
import json
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from tests.releases import declare_trust, released
from tests.serve.conftest import GOOD, golden_bundle
from tests.serving import TRUNKLINE, serving
from trunkline.bundle.manifest import digest
from trunkline.bundle.runtime import Bundle
from trunkline.deploy.reconcile.store import BundleStore


def test_sigterm_ends_it_once_what_is_in_work_is_answered(folder, tmp_path):
    body = json.dumps(GOOD).encode()
    with serving(str(folder), cwd=tmp_path) as server:
        with closing(http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=30)) as connection:
            connection.putrequest("POST", "/v1/predict")
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body[:5])
            while b"requests_in_work 1.0" not in server.get("/metrics").body:
                pass
            server.process.send_signal(signal.SIGTERM)
            server.logged("Shutting down")
            connection.send(body[5:])
            assert connection.getresponse().status == 200
        assert server.process.wait(30) == 0


def test_workers_share_a_port_and_count_together(folder, tmp_path):
    with serving(str(folder), "--workers", "2", cwd=tmp_path) as server:
        server.logged("startup complete")
        for _ in range(40):  # each on a connection of its own, which either worker may take
            assert server.post("/v1/predict", GOOD).status == 200
        counted = {server.get("/metrics").body.partition(b"\ntrunkline_rows_total ")[2].split()[0] for _ in range(10)}
        assert counted == {b"40.0"}
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--bind", "0.0.0.0:0"], 2, "0.0.0.0:0: others than this machine could ask"),
        (["--bind", "flights.example.org:80"], 2, "others than this machine could ask"),
        (["--bind", "127.0.0.1"], 2, "--bind: "),
        (["--bind", "127.0.0.1:99999"], 3, "cannot listen there"),
        (["nowhere"], 2, "nowhere: is missing"),
        (["nowhere", "--env", "production"], 2, "leave one out"),
        (["--env", "production"], 2, "params.yaml: is missing, and so is who signs what may be served"),
    ],
)
def test_what_cannot_be_served_is_told_at_once(folder, tmp_path, arguments, code, words):
    bundle = [] if {"nowhere", "--env"} & {*arguments} else [str(folder)]
    command = [TRUNKLINE, "serve", *bundle, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr


def test_versions_follow_each_other_under_load_without_a_failed_request(tmp_path):
    store = BundleStore(tmp_path / "store")
    store.folder.mkdir()
    declare_trust(tmp_path, "sums")
    scores = {}
    for number in (1, 2, 3):
        made = golden_bundle(tmp_path / f"v{number}", label=f"label {number}")
        scores[digest(made)] = Bundle.load(made).score(GOOD)
        store.put(digest(made), partial(shutil.copytree, made))
    digests = list(scores)
    (store.bundle(digests[2]) / "model.onnx").write_bytes(b"broken")

    def deliver(number: int) -> None:
        store.deliver("production", released(digests[number - 1], number, "sums"))

    with (
        serving("--env", "production", "--store", str(store.folder), cwd=tmp_path) as server,
        ThreadPoolExecutor() as pool,
    ):
        assert [server.get("/healthz").status, server.get("/readyz").status, server.get("/version").status] == [
            200,
            503,
            503,
        ]
        deliver(1)
        server.logged("serves sums v1")
        stop: list[bool] = []

        def ask() -> int:
            asked = 0
            while not stop:
                answer = server.post("/v1/predict", GOOD)
                assert answer.status == 200
                assert answer.json["score"] == scores[answer.json["digest"]]
                asked += 1
            return asked

        asking = [pool.submit(ask) for _ in range(2)]
        try:
            for _ in range(5):
                deliver(2)
                server.logged("serves sums v2")
                deliver(3)
                assert "model.onnx: was changed" in server.logged("does not serve what is delivered")
                assert (server.get("/readyz").status, server.get("/version").json["version"]) == (200, "v2")
                assert "model.onnx: was changed" in server.get("/version").json["problem"]
                assert b"trunkline_delivery_problem 1.0" in server.get("/metrics").body
                deliver(1)
                server.logged("serves sums v1")
        finally:
            stop.append(True)
        assert min(each.result(30) for each in asking) > 0
