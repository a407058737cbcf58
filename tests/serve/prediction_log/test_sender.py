"""A server's log: every answered row once, whatever is killed, and answers that never wait for it."""

import hashlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import grpc
import psutil
import pyarrow.parquet as pq
import pytest
from open_inference.grpc.service import GRPCInferenceServiceStub

from tests.serve.conftest import GOOD
from tests.serve.prediction_log.conftest import (
    ROWS,
    SECONDS,
    declare,
    drained,
    logged,
    logging,
    metric,
    places,
    until,
    writer,
)
from tests.serve.protocols import test_grpc
from tests.serve.protocols.test_open_inference import INPUTS
from tests.serving import TRUNKLINE
from trunkline.bundle.runtime import Bundle
from trunkline.serve.auth import keys

KEY = "reader.1f1c6ab8a26b4a4f9f6f0d8f"


@contextmanager
def asked(server, threads: int = 4) -> Iterator[list[tuple[str, float]]]:
    """Ask all the time; yields a list that grows by the id of each answered row and when its answer had come."""
    answered: list[tuple[str, float]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answer = server.post("/v1/predict", GOOD)
            except OSError:  # the server was killed
                return
            if answer.status == 200:
                answered.append((answer.json["request_id"], time.time()))

    with ThreadPoolExecutor(threads) as pool:
        asking = [pool.submit(ask) for _ in range(threads)]
        try:
            yield answered
        finally:
            stop.set()
            for each in asking:
                each.result(SECONDS)


def test_every_answered_row_is_in_the_log_once(sums, tmp_path):
    bundle, serves = Bundle.load(sums), {"protocols": {"grpc": "127.0.0.1:0"}, "authentication": {"keys": "keys.json"}}
    identifier, secret = KEY.split(".")
    key = keys.Key(identifier, "reader", ["predict", "explain", "admin"], hashlib.sha256(secret.encode()).hexdigest())
    (tmp_path / "keys.json").write_text(keys.format_keys([key]), encoding="utf-8")
    bearer = {"Authorization": f"Bearer {KEY}"}
    before = datetime.now(UTC)
    with logging(sums, tmp_path, serves=serves) as server:
        assert server.post("/v1/predict", ROWS[0], X_Request_ID="one", **bearer).status == 200
        many = [*ROWS[1:4], {"hour": 99, "origin": "JFK"}, *ROWS[4:6]]
        assert "refused" in server.post("/v1/predict", many, X_Request_ID="many", **bearer).json
        split = {"dataframe_records": ROWS[6:9]}
        assert server.post("/invocations", split, X_Request_ID="mlflow", **bearer).status == 200
        assert server.post("/v2/models/sums/infer", {"id": "v2", "inputs": INPUTS}, **bearer).status == 200
        with grpc.insecure_channel(server.grpc) as channel:
            infer = GRPCInferenceServiceStub(channel).ModelInfer
            infer(test_grpc.request(id="grpc"), metadata=[("authorization", f"Bearer {KEY}")])
        assert server.post("/v1/predict", {"hour": 99}, X_Request_ID="refused", **bearer).status == 422
        assert server.post("/v1/predict", GOOD, X_Request_ID="unknown").status == 401
        assert server.get("/metrics", **bearer).body.count(b"\ntrunkline_rows_refused_total 1.0") == 1
        drained(server)
        assert "cannot be written" not in server.logged_until("Finished server process")
    rows = logged(tmp_path / "log")
    expected = [("one", 0), *(("many", row) for row in (0, 1, 2, 4, 5)), *(("mlflow", row) for row in range(3))]
    expected += [("v2", 0), ("v2", 1), ("grpc", 0), ("grpc", 1)]
    assert places(rows) == sorted(expected)
    assert {(row["request_id"], row["route"]) for row in rows} == {
        ("one", "/v1/predict"), ("many", "/v1/predict"), ("mlflow", "/invocations"), ("v2", "/v2/infer"),
        ("grpc", "grpc/ModelInfer"),
    }  # fmt: skip
    for row in rows:
        assert row["score"] == bundle.score(row["inputs"])
        assert (row["digest"], row["version"], row["arm"], row["principal"]) == (
            bundle.digest,
            None,
            None,
            "key:reader",
        )
        assert before < row["time"] < datetime.now(UTC)
        assert 0 < row["latency"] < SECONDS
        assert row["environment"] is None  # of a folder
    (one,) = (row for row in rows if row["request_id"] == "one")
    assert one["inputs"] == ROWS[0]
    files = [path.relative_to(tmp_path / "log").parts for path in (tmp_path / "log").rglob("*.parquet")]
    assert {version for version, _, _ in files} == {bundle.digest[:12]}
    assert {hour for _, hour, _ in files} == {f"{row['time']:%Y-%m-%dT%H}" for row in rows}


def test_no_secret_and_no_personal_value_is_in_any_byte(sums, tmp_path):
    identifier, secret = KEY.split(".")
    key = keys.Key(identifier, "ann", ["predict"], hashlib.sha256(secret.encode()).hexdigest())
    (tmp_path / "keys.json").write_text(keys.format_keys([key]), encoding="utf-8")
    hashes = "0f6cbe0e1a8a4e0f8d59"
    declared = {"columns": {"dest": "hash", "hour": "leave_out"}, "principal": "hash", "key": "LOG_KEY"}
    with logging(
        sums, tmp_path, log=declared, serves={"authentication": {"keys": "keys.json"}}, LOG_KEY=hashes
    ) as server:
        for dest in ("ZZQ", "ZZQ", "ZZR"):
            row = GOOD | {"dest": dest, "hour": 23}
            assert server.post("/v1/predict", row, Authorization=f"Bearer {KEY}").status == 200
        drained(server)
    (path,) = (tmp_path / "log").rglob("*.parquet")
    content = path.read_bytes() + repr(pq.read_table(path).to_pylist()).encode() + repr(pq.read_schema(path)).encode()
    for text in (b"ZZQ", b"ZZR", secret.encode(), hashes.encode(), b"key:ann"):
        assert text not in content
    rows = logged(tmp_path / "log")
    assert "hour" not in rows[0]["inputs"]
    first, second, third = (row["inputs"]["dest"] for row in rows)
    assert first == second != third
    assert len(first) == len(rows[0]["principal"]) == 64


def test_a_killed_writer_loses_nothing_and_doubles_nothing(sums, tmp_path):
    with logging(sums, tmp_path) as server:
        with asked(server) as answered:
            for _ in range(3):
                begun = metric(server, "trunkline_log_rows_total")
                until(lambda: metric(server, "trunkline_log_rows_total") > begun, "nothing was written")  # noqa: B023
                killed = writer(server)
                killed.kill()
                until(lambda: not killed.is_running(), "the writer stayed")  # noqa: B023
                assert writer(server).pid != killed.pid
        drained(server)
    rows = logged(tmp_path / "log")
    assert places(rows) == sorted((request, 0) for request, _ in answered)


def test_a_killed_server_leaves_what_was_answered_before_the_interval(sums, tmp_path):
    with logging(sums, tmp_path) as server:
        process = writer(server)
        with asked(server) as answered:
            until(lambda: metric(server, "trunkline_log_rows_total") > 0, "nothing was written")
            killed = time.time()
            server.process.kill()
        psutil.wait_procs([process], SECONDS)
        assert not process.is_running()
    rows = places(logged(tmp_path / "log"))
    assert len(set(rows)) == len(rows)
    assert {request for request, moment in answered if moment < killed - 1} <= {request for request, _ in rows}


def test_a_writer_that_gets_no_time_makes_nobody_wait_and_another_takes_its_place(sums, tmp_path):
    with logging(sums, tmp_path, log={"queue": 60}) as server:
        stopped = writer(server)
        until(lambda: os.sched_getscheduler(stopped.pid) == os.SCHED_IDLE, "the writer does not give way")
        stopped.suspend()
        ids = [server.post("/v1/predict", ROWS).json["request_id"] for _ in range(5)]
        assert metric(server, "trunkline_log_rows_dropped_total") == 3 * len(ROWS)
        assert metric(server, "trunkline_log_rows_waiting") <= 60
        until(lambda: metric(server, "trunkline_log_rows_total") == 2 * len(ROWS), "nobody wrote what waited")
        assert os.sched_getscheduler(writer(server).pid) == os.SCHED_OTHER
        drained(server)
    assert places(logged(tmp_path / "log")) == sorted((request, row) for request in ids[:2] for row in range(len(ROWS)))


def test_a_writer_that_stands_still_does_not_keep_the_server_from_ending(sums, tmp_path):
    with logging(sums, tmp_path, serves={"drain": "1s"}) as server:
        writer(server).suspend()
        assert server.post("/v1/predict", ROWS).status == 200
        server.process.send_signal(signal.SIGTERM)
        server.logged("24 rows could not be written to the prediction log before the end")
        assert server.process.wait(SECONDS) == 0


def test_workers_write_beside_each_other(sums, tmp_path):
    with logging(sums, tmp_path, "--workers", "2") as server:
        server.logged("startup complete")
        ids = [server.post("/v1/predict", ROWS[:3]).json["request_id"] for _ in range(40)]
        drained(server)
    assert places(logged(tmp_path / "log")) == sorted((request, row) for request in ids for row in range(3))


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"to": "file/log"}, "cannot be made"),
        ({"to": "ftp://bucket/log"}, "is neither a folder nor an address such as s3://bucket/log"),
        ({"principal": "hash", "key": "NO_SUCH_KEY"}, "serving.log.key: the environment variable NO_SUCH_KEY has to"),
        ({"principal": "hash"}, "hash needs a key"),
        ({"interval": "0s"}, "must be longer than 0s"),
    ],
)
def test_a_log_that_cannot_be_written_is_told_at_once(sums, tmp_path, declared, words):
    (tmp_path / "file").touch()
    declare(tmp_path, declared)
    command = [TRUNKLINE, "serve", str(sums), "--bind", "127.0.0.1:0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
