"""Whatever bytes come, the answer is one of the documented ones, and the log has no traceback."""

import asyncio
import json
import logging
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from open_inference.grpc import protocol

from tests.serve.conftest import GOOD
from tests.serving import serving
from trunkline.conf.serving import Limits, Protocols, Serving
from trunkline.serve import model
from trunkline.serve.app import App
from trunkline.serve.auth.authenticate import Authenticator
from trunkline.serve.limits import Queue
from trunkline.serve.metrics import Metrics
from trunkline.serve.protocols import grpc as over_grpc
from trunkline.serve.swap import Slot

DOCUMENTED = {200, 400, 408, 413, 415, 422}
PROBLEM = {"type", "title", "status", "detail", "request_id"}
LIMITS = Limits(body=65_536, rows=100)
ROUTES = ("/v1/predict", "/v1/predict?explain=true", "/invocations", "/v2/models/sums/infer")
TENSOR = {"name": "hour", "datatype": "INT64", "shape": [1], "data": [7]}
WHOLE = [
    GOOD,
    [GOOD, GOOD],
    {"inputs": [TENSOR]},
    {"dataframe_records": [GOOD]},
    {"instances": [GOOD]},
    {"inputs": GOOD},
]
WHOLE += [{"dataframe_split": {"columns": list(GOOD), "data": [list(GOOD.values())]}}]

# Each once at every place of a value that is right otherwise.
ODD = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-0",
    "1" * 5000,
    "[" * 90_000,
    '{"a":' * 9000,
    r'"\ud800"',
    '"\\u0000"',
)
ODD += (
    "[]",
    "{}",
    "null",
    "true",
    '{"hour": 1, "hour": 2}',
    "[[[[]]]]",
    '"' + "x" * 9000 + '"',
    "",
    "0x10",
    "1.",
    "\t",
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(2**70)
VALUES = st.recursive(SCALARS, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=4), part))
TYPES = ("application/json", "text/csv", "application/octet-stream", "application/json; charset=latin-1", "", "no type")


@st.composite
def nearly(draw: st.DrawFn) -> bytes:
    """A request in one of the forms, with an odd piece in place of a value, of a key, or of some bytes."""
    content = json.dumps(draw(st.sampled_from(WHOLE)))
    places = [match.span() for match in re.finditer(r'"[^"]*"|-?[0-9.]+|true|null', content)]
    start, end = draw(st.sampled_from(places))
    piece = draw(st.sampled_from(ODD) | VALUES.map(json.dumps))
    whole = (content[:start] + piece + content[end:]).encode()
    match draw(st.integers(0, 4)):
        case 0:
            return whole[: draw(st.integers(0, len(whole)))]
        case 1:
            place = draw(st.integers(0, len(whole)))
            return whole[:place] + draw(st.binary(min_size=1, max_size=4)) + whole[place:]
        case 2:
            return b"\xef\xbb\xbf" + whole
    return whole


MANY_KEYS = json.dumps({f"key {number}": number for number in range(4000)}).encode()
CSV = st.text(alphabet='hour,origin\n"\r\0 7é', max_size=60).map(str.encode)
BODIES = st.one_of(nearly(), nearly(), st.binary(max_size=60), VALUES.map(json.dumps).map(str.encode), CSV)
HEADERS = st.fixed_dictionaries(
    {"content-type": st.sampled_from(TYPES)},
    optional={
        "content-length": st.sampled_from(["0", "-1", "1e3", "99999999999", "²", ""]),
        "inference-header-content-length": st.sampled_from(["0", "7", "-1", "²", "9" * 5000, "x"]),
        "request-timeout": st.sampled_from(["1", "nan", "-1", "1e-9", "1e999", "", "1_0"]),
        "x-request-id": st.sampled_from(["mine", "", "é", "x" * 200, "a\tb"]),
    },
)


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[tuple[asyncio.AbstractEventLoop, App, Any, list[logging.LogRecord]]]:
    """A loop, the application in it, a way to call infer over gRPC with bytes, and what was logged."""
    serving = Serving(limits=LIMITS, protocols=Protocols(mlflow=True, open_inference=True))
    metrics, queue, authenticator = Metrics(), Queue(8), Authenticator(None)
    slot = Slot(on_change=metrics.show)
    slot.put(model.load(folder, LIMITS, 0.0))
    app = App(serving, slot, metrics, queue, authenticator)
    logged: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = logged.append  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    with asyncio.Runner() as runner:

        async def start() -> tuple[Any, Any, Any]:
            service = over_grpc.Service(slot, LIMITS, queue, metrics, authenticator)
            server, port = over_grpc.server("127.0.0.1:0", service, LIMITS)
            await server.start()
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
            return server, channel, channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

        server, channel, infer = runner.run(start())
        yield runner.get_loop(), app, infer, logged
        runner.run(channel.close())
        runner.run(server.stop(None))
    logging.getLogger().removeHandler(handler)


async def asked(app: App, path: str, headers: dict[str, str], parts: list[bytes]) -> tuple[int, dict[str, str], bytes]:
    """What the application answers to a body that comes in parts."""
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[Any] = []

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    path, _, query = path.partition("?")
    scope = {"type": "http", "method": "POST", "path": path, "query_string": query.encode(), "headers": raw}
    await app(scope, receive, send)
    names = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], names, sent[1]["body"]


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(st.sampled_from(ROUTES), HEADERS, BODIES, st.integers(0, 3))
@example("/v1/predict", {}, MANY_KEYS, 0)
@example("/invocations", {}, MANY_KEYS, 0)
@example("/invocations", {"content-type": "text/csv"}, b"\xef\xbb\xbfhour,origin\n7,JFK\n", 0)
@example("/v1/predict", {}, b"\xef\xbb\xbf{}", 0)
@example("/v1/predict", {}, b"[" * 60_000, 2)
@example("/v1/predict", {}, b'[{"\\ud800": 1}]', 0)
@example("/invocations", {}, b'{"dataframe_records": [{"\\ud800": 1}]}', 0)
@example(
    "/v2/models/sums/infer", {}, b'{"inputs": [{"name": "\\ud800", "datatype": "FP64", "shape": [1], "data": [1]}]}', 0
)
@example("/v2/models/sums/infer", {}, b'{"\\ud800": 1, "inputs": []}', 0)
@example("/v2/models/sums/infer", {}, b'{"inputs": [{"\\ud800": 1}]}', 0)
@example("/invocations", {}, b'{"\\ud800": 1, "inputs": []}', 0)
@example("/v2/models/sums/infer", {"inference-header-content-length": "²"}, b"{}", 0)
def test_any_body_of_any_route_has_a_documented_answer(served, path, headers, body, cuts):
    loop, app, _, logged = served
    size = len(body) // (cuts + 1) + 1
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    status, names, answer = loop.run_until_complete(asked(app, path, headers, parts))
    late = {504, 408} if headers.get("request-timeout") == "1e-9" else set()
    unexplained = {501} if path.endswith("explain=true") else set()
    assert status in DOCUMENTED | late | unexplained, (status, answer)
    content = json.loads(answer)
    if status != HTTPStatus.OK:
        assert names["content-type"] == "application/problem+json"
        assert content.keys() >= PROBLEM
        assert (content["status"], content["request_id"]) == (status, names["x-request-id"])
    assert [record for record in logged if record.exc_info] == []


FIELDS = st.sampled_from(["hour", "origin", "delay", "holiday", "orign", ""])
CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "int64_contents": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
        "fp64_contents": st.lists(st.floats(), max_size=3),
        "bool_contents": st.lists(st.booleans(), max_size=3),
        "bytes_contents": st.lists(st.binary(max_size=5), max_size=3),
    },
)
TENSORS = st.fixed_dictionaries(
    {"name": FIELDS, "datatype": st.sampled_from(["INT64", "FP64", "BOOL", "BYTES", "FP16", ""])},
    optional={
        "shape": st.lists(st.sampled_from([-1, 0, 1, 2, 3, 2**62]), max_size=3),
        "contents": CONTENTS,
        "parameters": st.just({"binary_data_size": {"int64_param": -1}}),
    },
)
INFERS = st.fixed_dictionaries(
    {"model_name": st.sampled_from(["sums", "other"]), "inputs": st.lists(TENSORS, max_size=3)},
    optional={"raw_input_contents": st.lists(st.binary(max_size=24), max_size=3), "id": st.text(max_size=3)},
).map(lambda content: protocol.ModelInferRequest(**content).SerializeToString())
CODES = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.one_of(INFERS, INFERS, st.binary(max_size=80)))
@example(b"\xff")
def test_any_message_over_grpc_has_a_documented_status(served, message):
    loop, _, infer, logged = served

    async def call() -> tuple[Any, str]:
        try:
            protocol.ModelInferResponse.FromString(await infer(message))
        except grpc.RpcError as error:
            return error.code(), error.details()
        return grpc.StatusCode.OK, ""

    code, details = loop.run_until_complete(call())
    assert code in CODES, (code, details)
    assert [record for record in logged if record.exc_info or "Traceback" in record.getMessage()] == []


def test_a_fault_of_the_server_is_told_to_its_log_alone(served, monkeypatch):
    loop, _, infer, logged = served
    monkeypatch.setattr(over_grpc, "_infer", lambda *_: 1 / 0)
    message = protocol.ModelInferRequest(model_name="sums").SerializeToString()

    async def call() -> None:
        await infer(message)

    with pytest.raises(grpc.RpcError) as caught:
        loop.run_until_complete(call())
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.INTERNAL,
        "the server failed; see its log",
    )
    assert logged.pop().exc_info


LENGTHS = st.sampled_from(
    ["", "Content-Length: {size}", "Content-Length: 0", "Content-Length: {more}", "Content-Length: -1"]
)
CODINGS = st.sampled_from(
    ["", "", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Content-Encoding: gzip"]
)
CHUNKS = st.sampled_from(
    [b"%x\r\n%s\r\n0\r\n\r\n", b"%x;a=b\r\n%s\r\n0\r\n\r\n", b"fffffffffffffffff%x\r\n%s", b"%x\r\n%s\r\n"]
)
REQUESTS = st.tuples(st.sampled_from(ROUTES), LENGTHS, CODINGS, st.none() | CHUNKS, BODIES)


def exchanged(address: tuple[str, int], path: str, lines: list[str], body: bytes) -> bytes:
    """Send a request whose body may be shorter or longer than announced; return all that comes back."""
    head = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", "Request-Timeout: 0.05", *filter(None, lines)]
    answer = b""
    with socket.create_connection(address, timeout=10) as connection, suppress(ConnectionError):
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
        while part := connection.recv(65_536):
            answer += part
    return answer


def test_bodies_that_are_not_as_long_as_announced_are_answered_or_cut_off(folder, tmp_path):
    with serving(str(folder), cwd=tmp_path) as server:
        host, port = server.address.removeprefix("http://").split(":")
        answers: list[bytes] = []

        @settings(max_examples=150, deadline=None, derandomize=True, database=None)
        @given(REQUESTS)
        def hold(request: tuple[str, str, str, bytes | None, bytes]) -> None:
            path, length, coding, chunks, body = request
            announced = length.format(size=len(body), more=len(body) + 7)
            sent = body if chunks is None else chunks % (len(body), body)
            answer = exchanged((host, int(port)), path, [announced, coding], sent)
            assert answer == b"" or int(answer.split(maxsplit=2)[1]) in DOCUMENTED | {504}, answer
            answers.append(answer)

        hold()
        assert answers.count(b"") < len(answers) / 4
        assert server.get("/healthz").status == 200
        server.process.terminate()
        assert "Traceback" not in server.logged_until("Finished server process")
