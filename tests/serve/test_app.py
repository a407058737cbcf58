"""The server's own routes: scores with their bundle, refusals with the right status, states, and limits."""

import http.client
import json
import socket
from contextlib import closing

import pytest
from jsonschema import Draft202012Validator
from openapi_core import OpenAPI

from tests.serve.conftest import GOOD
from tests.serving import Server
from trunkline.bundle.manifest import digest
from trunkline.conf.serving import Limits, Serving
from trunkline.serve import openapi
from trunkline.serve.model import Pointer, load

JWT = {"issuer": "https://issuer.example", "audience": "sums", "jwks": "https://issuer.example/keys"}
DEEP = b"[" * 33 + b"]" * 33
TLS = {"certificate": "server.crt", "key": "server.key", "clients": "ca.crt"}


def test_a_row_and_rows_are_scored_by_the_bundle_that_the_answer_names(server, bundle, folder):
    answer = server.post("/v1/predict", GOOD, X_Request_Id="mine").json
    assert answer == {"request_id": "mine", "digest": digest(folder), "version": None, "score": bundle.score(GOOD)}
    rows = [GOOD, {"hour": 1, "origin": ""}]
    answer = server.post("/v1/predict", rows)
    assert answer.json["scores"] == [bundle.score(row) for row in rows]
    assert answer.headers["x-request-id"] == answer.json["request_id"]


@pytest.mark.parametrize(
    ("path", "body", "headers", "refusal"),
    [
        ("/v1/predict", b"{", {}, (400, "not JSON")),
        ("/v1/predict", b"\xff", {}, (400, "not UTF-8")),
        ("/v1/predict", DEEP, {}, (400, "nested too deeply: 32 arrays")),
        ("/invocations", b'{"inputs":' + DEEP + b"}", {}, (400, "nested too deeply: 32 arrays")),
        ("/v2/models/sums/infer", b'{"inputs":' + DEEP + b"}", {}, (400, "nested too deeply: 32 arrays")),
        ("/v1/predict", GOOD | {"hour": 24}, {}, (422, "field hour: 24 is above 23")),
        ("/v1/predict", [GOOD, {"hour": 1}], {}, (422, "row 1: field origin: is missing")),
        ("/v1/predict", [GOOD] * 101, {}, (413, "101 rows")),
        ("/v1/predict", b" " * 70_000, {}, (413, "larger than 65,536 bytes")),
        ("/v1/predict", GOOD, {"media_type": "text/plain"}, (415, "application/json")),
        ("/v1/predict", GOOD, {"Request_Timeout": "soon"}, (400, "request-timeout")),
        ("/v1/predict?features=true", GOOD, {}, (400, "parameter features: this server joins none")),
        ("/nowhere", GOOD, {}, (404, "nothing at this path")),
        ("/version", GOOD, {}, (405, "GET only")),
    ],
)
def test_a_refusal_is_a_problem_document_with_its_status(server: Server, path, body, headers, refusal):
    status, words = refusal
    answer = server.post(path, body, **headers)
    assert answer.status == answer.json["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json["detail"]
    assert answer.json["request_id"] == answer.headers["x-request-id"]


def test_a_refusal_names_row_and_field(server):
    answer = server.post("/v1/predict", [GOOD, GOOD | {"hour": 24}]).json
    assert (answer["row"], answer["field"]) == (1, "hour")


def test_a_body_that_does_not_arrive_or_is_longer_than_announced_is_refused(server):
    host = server.address.removeprefix("http://")
    with closing(http.client.HTTPConnection(host, timeout=30)) as connection:
        connection.putrequest("POST", "/v1/predict")
        connection.putheader("Content-Length", "10")
        connection.putheader("Request-Timeout", "0.1")
        connection.endheaders(b"{")
        assert connection.getresponse().status == 408
    with closing(http.client.HTTPConnection(host, timeout=30)) as connection:
        chunks = (b"x" * 50_000 for _ in range(2))
        connection.request("POST", "/v1/predict", chunks, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
        assert connection.getresponse().status == 413


def test_more_requests_than_the_queue_holds_are_told_to_come_again(server):
    host, port = server.address.removeprefix("http://").split(":")
    waiting = []
    for _ in range(8):  # each is in work until its body arrives, or its time is over
        waiting.append(socket.create_connection((host, int(port))))
        waiting[-1].sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
    while b"trunkline_requests_in_work 8.0" not in (server.get("/metrics").body):
        pass
    answer = server.post("/v1/predict", GOOD)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    for each in waiting:
        each.sendall(b"{}")
        assert each.recv(12) == b"HTTP/1.1 422"
        each.close()
    assert server.post("/v1/predict", GOOD).status == 200


def test_states_and_metrics(server, folder):
    assert [server.get(path).status for path in ("/healthz", "/readyz")] == [200, 200]
    version = {"name": "sums", "digest": digest(folder), "version": None, "commit": None}
    assert server.get("/version").json == version | {"previous": None, "problem": None, "rollout": None}
    before = server.get("/metrics").body.decode()
    server.post("/v1/predict", [GOOD] * 3)
    after = server.get("/metrics").body.decode()

    def value(text: str, name: str) -> float:
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    assert value(after, "trunkline_rows_total") - value(before, "trunkline_rows_total") == 3
    name = 'trunkline_requests_total{route="/v1/predict",status="200"}'
    assert value(after, name) - value(before, name) == 1
    assert value(after, "trunkline_model_info") == 1


def test_the_description_is_openapi_and_says_of_a_row_what_the_contract_says(server, folder):
    document = server.get("/openapi.json").json
    OpenAPI.from_dict(document)  # raises for what is none
    assert document["openapi"].startswith("3.1")
    schema = document["components"]["schemas"]["Row"]
    Draft202012Validator.check_schema(schema)
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    assert schema == contract["request"]


def test_the_description_holds_what_each_protocol_is_asked_and_its_examples_are_scored(server):
    paths = server.get("/openapi.json").json["paths"]
    asked = {path: operation for path, item in paths.items() for method, operation in item.items() if method == "post"}
    assert set(asked) == {"/v1/predict", "/invocations", "/v2/models/{name}/infer"}
    for path, operation in asked.items():
        examples = operation["requestBody"]["content"]["application/json"]["examples"]
        for example in examples.values():
            assert server.post(path.replace("{name}", "sums"), example["value"]).status == 200, path
        assert examples


def test_the_description_names_the_version_that_is_served_and_no_protocol_that_is_not_spoken(folder):
    pointer = Pointer("sums", "v3", digest(folder), "")
    model = load(folder, Limits(rows=1), tolerance=1e-9, pointer=pointer)
    paths = openapi.document(model, Serving())["paths"]
    [_, version] = paths["/v2/models/{name}/versions/{version}/infer"]["post"]["parameters"][:2]
    assert version["schema"] == {"enum": ["v3"]}
    silent = Serving.parse({"protocols": {"mlflow": False, "open_inference": False}})
    own = openapi.document(model, silent)["paths"]
    assert set(own) < set(paths)
    assert not [path for path in own if path.startswith("/v2") or path in ("/invocations", "/ping", "/health")]


@pytest.mark.parametrize(
    ("declared", "schemes", "security"),
    [
        ({}, {}, None),
        ({"authentication": {"keys": "k"}}, {"key": "http"}, [{"key": ["predict"]}]),
        (
            {"authentication": {"keys": "k", "jwt": JWT}},
            {"key": "http", "jwt": "http"},
            [{"key": ["predict"]}, {"jwt": ["predict"]}],
        ),
        (
            {"authentication": {"jwt": JWT}, "tls": TLS},
            {"jwt": "http", "certificate": "mutualTLS"},
            [{"jwt": ["predict"], "certificate": []}],
        ),
        ({"tls": TLS}, {"certificate": "mutualTLS"}, [{"certificate": []}]),
        ({"tls": TLS | {"clients": None}}, {}, None),
    ],
)
def test_the_description_has_the_credentials_that_are_declared_with_their_scopes(folder, declared, schemes, security):
    document = openapi.document(load(folder, Limits(rows=1), tolerance=1e-9), Serving.parse(declared))
    OpenAPI.from_dict(document)
    assert {name: scheme["type"] for name, scheme in document["components"]["securitySchemes"].items()} == schemes
    paths = document["paths"]
    for path in ("/v1/predict", "/invocations", "/v2/models/{name}/infer"):
        assert paths[path]["post"].get("security") == security
    admin = security and [{name: scopes and ["admin"] for name, scopes in each.items()} for each in security]
    assert paths["/metrics"]["get"].get("security") == admin
    assert paths["/healthz"]["get"].get("security") == ([{"certificate": []}] if "certificate" in schemes else None)
