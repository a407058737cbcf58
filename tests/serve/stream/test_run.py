"""Each message of a stream is answered as POST /v1/predict answers it, once, whatever fails in between."""

import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from tests.brokers import Broker, Nats, scores, until
from tests.bundles import INPUTS, expected
from tests.serve.conftest import GOOD, golden_bundle
from tests.serve.stream.conftest import streaming
from tests.serve.stream.killed import POINTS
from tests.servers import free_port
from tests.serving import TRUNKLINE
from trunkline.conf.serving import Limits
from trunkline.core.errors import UserError
from trunkline.serve import predict
from trunkline.serve.http import Request
from trunkline.serve.model import load
from trunkline.serve.problems import ProblemError
from trunkline.serve.source import Delivery, Source

LIMITS = {"body": 2048, "depth": 8}
POISON = (
    b"no JSON",
    b"\xff",
    b"",
    json.dumps([GOOD]).encode(),
    json.dumps(GOOD | {"delay": 9999}).encode(),
    json.dumps(GOOD | {"origin": "\u2708", "dest": "Zürich"}).encode(),
    b'{"hour": 7, "hour": 8, "origin": "JFK"}',
    b'{"origin": ' + b"[" * 9 + b"]" * 9 + b"}",
    json.dumps(GOOD | {"origin": "x" * 2048}).encode(),
)


def rows(many: int) -> list[dict[str, Any]]:
    return [GOOD | {"delay": number / 7, "hour": number % 24} for number in range(many)]


def encoded(many: int) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows(many)]


def test_answers_and_refusals_are_those_of_predict(
    broker: Broker, declared: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    good = encoded(25)
    bodies = [*good[:13], *POISON, *good[13:]]
    ids = [f"id-{number}" for number in range(len(bodies))]
    broker.send(declared["requests"], bodies, ids)
    port = free_port()
    log = {"to": str(tmp_path / "log"), "interval": "1s"}
    with streaming(folder, declared | {"metrics": f"127.0.0.1:{port}"}, limits=LIMITS, log=log):
        until(lambda: len(broker.read(declared["answers"])) == len(good), "not all are answered")
        until(lambda: len(broker.read(declared["dead_letters"])) == len(POISON), "not all are refused")
        counted = "trunkline_stream_messages_total{outcome="
        text = until(lambda: metrics(port, counted), "no metrics")
    logged = pl.concat(pl.read_parquet(path) for path in tmp_path.rglob("*.parquet"))
    assert set(logged["request_id"]) == {key for key, _, _ in broker.read(declared["answers"])}
    assert (logged.height, set(logged["route"])) == (25, {"stream"})
    model = load(folder, Limits(**LIMITS), 0.0)
    answers = {key: body for key, body, _ in broker.read(declared["answers"])}
    dead = {key: (body, headers) for key, body, headers in broker.read(declared["dead_letters"])}
    for identity, body in zip(ids, bodies, strict=True):
        request = Request("POST", "/v1/predict", "", {}, identity)
        if body in POISON:
            original, headers = dead[identity]
            said = json.loads(headers["trunkline-problem"])
            assert (original, said["request_id"]) == (body, identity)
            assert (said["status"], said["detail"]) == refusal(model, request, body)
        else:
            assert answers[identity] == predict.predict(model, request, body)[0].body
    topic = f'topic="{declared["requests"]}"'
    assert f'{counted}"answered",{topic}}} 25.0' in text
    assert f'{counted}"dead",{topic}}} 9.0' in text
    assert f"trunkline_stream_lag{{{topic}}} 0.0" in text


def metrics(port: int, holds: str) -> str | None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return text if holds in text else None


def refusal(model: Any, request: Request, body: bytes) -> tuple[int, str]:
    """What POST /v1/predict says of a body; what it does not refuse is refused here for what a message has to be."""
    try:
        if len(body) > LIMITS["body"]:
            return 413, f"the body is larger than {LIMITS['body']:,} bytes"
        predict.predict(model, request, body)
    except ProblemError as problem:
        return problem.status, problem.detail
    return 400, "the body is not one row, a JSON object"


@pytest.fixture
def project(declared: dict[str, Any], tmp_path: Path) -> Path:
    bundle = {"on_bad_row": "stop", "tolerance": 1e-9, "golden_rows": 20, "card": {"intended_use": "to add up numbers"}}
    params = {"bundle": bundle, "serving": {"stream": declared, "limits": LIMITS}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return tmp_path


def test_a_process_that_is_killed_loses_and_doubles_nothing(broker, declared, folder, project):
    good = encoded(160)
    bodies = [body for number, body in enumerate(good) for body in ([body, POISON[0]] if number % 8 == 3 else [body])]
    broker.send(declared["requests"], bodies)
    for point in POINTS:
        kill(point, 2, folder, project)
    command = [TRUNKLINE, "stream", str(folder)]
    with subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: broker.is_done(declared["requests"], declared["group"]), "it does not come to an end")
            process.send_signal(signal.SIGTERM)
            errors = process.communicate(timeout=30)[1]
        finally:
            process.kill()
        assert (process.returncode, errors.splitlines()[-1]) == (0, "stopped"), errors
    answered = scores(broker.read(declared["answers"]))
    assert sorted(answered.values()) == sorted(expected(INPUTS, row) for row in rows(160))
    sources = [headers["trunkline-source"] for _, _, headers in broker.read(declared["dead_letters"])]
    assert len(sources) == len(set(sources)) == 20


def kill(point: str, batch: int, folder: Path, project: Path) -> None:
    """Run a process until it is killed at a point of its so-many-th batch."""
    command = [sys.executable, "-m", "tests.serve.stream.killed", point, str(batch), str(folder)]
    command += ["--project", str(project)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_what_a_killed_process_has_written_is_done_though_nothing_comes_after_it(broker, declared, folder, project):
    broker.send(declared["requests"], encoded(1))
    kill("before the commit", 1, folder, project)
    with streaming(folder, declared):
        until(lambda: broker.is_done(declared["requests"], declared["group"]), "it does not come to an end")
    assert len(scores(broker.read(declared["answers"]))) == 1


def test_a_broker_that_goes_away_is_waited_for(broker, declared, folder, caplog):
    with streaming(folder, declared):
        broker.send(declared["requests"], encoded(5))
        until(lambda: len(broker.read(declared["answers"])) == 5, "not all are answered")
        broker.pause()
        if isinstance(broker, Nats):
            until(lambda: "waits: NATS" in caplog.text, "no word")
        broker.resume()
        broker.send(declared["requests"], encoded(30)[5:])
        until(lambda: len(broker.read(declared["answers"])) >= 30, "not all are answered")
    answered = scores(broker.read(declared["answers"]))
    assert sorted(answered.values()) == sorted(expected(INPUTS, row) for row in rows(30))


def test_a_version_that_is_delivered_answers_from_the_next_batch_on(broker, declared, folder, tmp_path):
    other = golden_bundle(tmp_path / "other", ({"hour": 1, "origin": "JFK"},))
    digests = {}

    def deliver(bundle: Path) -> str:
        digest = digests[bundle.name] = load(bundle, Limits(), 0.0).version.digest
        shutil.copytree(bundle, tmp_path / "store" / bundle.name, dirs_exist_ok=True)
        pointer = {"name": "sums", "version": bundle.name, "digest": digest, "bundle": bundle.name}
        (tmp_path / "store/production.json").write_text(json.dumps(pointer), encoding="utf-8")
        return digest

    first = deliver(folder)
    with streaming(Source(tmp_path / "store", Delivery("production", lambda pointer: None)), declared):
        broker.send(declared["requests"], encoded(3))
        until(lambda: len(broker.read(declared["answers"])) == 3, "not all are answered")
        second = deliver(other)
        last = lambda: [json.loads(body)["digest"] for _, body, _ in broker.read(declared["answers"])]  # noqa: E731
        until(lambda: broker.send(declared["requests"], encoded(2)) or second in last(), "the old one goes on")
    assert first in last()
    assert first != second


def test_topics_that_do_not_fit_are_refused(broker, declared, folder, tmp_path):
    with pytest.raises(UserError, match="gone"), streaming(folder, declared | {"requests": "gone"}):
        pass
    if isinstance(broker, Nats):
        broker.make("short", window=0.5)
        words = r"remembers duplicates for 0\.5 s .* may come again after 1 s"
        with pytest.raises(UserError, match=words), streaming(folder, declared | {"answers": "short"}):
            pass
    else:
        foreign = {"": "is of something else, not of", "other:0:0": "is of other:0:0, not of"}
        foreign[f"{declared['requests']}:0:99"] = "answers offset 99 of .*, which ends before it"
        for number, (source, words) in enumerate(foreign.items()):
            broker.make(answers := f"{declared['answers']}.{number}")
            broker.send(answers, [b"{}"], **{"trunkline-source": source})
            with pytest.raises(UserError, match=words), streaming(folder, declared | {"answers": answers}):
                pass


def test_a_request_that_is_sent_twice_has_one_answer_in_nats_and_one_key_in_kafka(broker, declared, folder):
    many = 3 if isinstance(broker, Nats) else 6
    with streaming(folder, declared):
        broker.send(declared["requests"], encoded(3) * 2, ["a", "b", "c"] * 2)
        until(lambda: broker.is_done(declared["requests"], declared["group"]), "it does not come to an end")
    answers = broker.read(declared["answers"])
    assert (len(answers), {key for key, _, _ in answers}) == (many, {"a", "b", "c"})


def test_processes_share_what_there_is_to_do(broker, declared, folder):
    broker.send(declared["requests"], encoded(40))
    with streaming(folder, declared, frozenset({1, 7})):
        until(lambda: len(broker.read(declared["answers"])) >= 20, "not all are answered")
        sources = {headers["trunkline-source"].split(":")[-2] for _, _, headers in broker.read(declared["answers"])}
        assert isinstance(broker, Nats) or sources == {"1"}
        with streaming(folder, declared, frozenset({0})):
            until(lambda: broker.is_done(declared["requests"], declared["group"]), "it does not come to an end")
    answered = scores(broker.read(declared["answers"]))
    assert sorted(answered.values()) == sorted(expected(INPUTS, row) for row in rows(40))
