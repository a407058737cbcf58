"""Over HTTP and gRPC, who has no credential is refused, and none stands in a log or an answer."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceStub

from tests.serve.conftest import GOOD, PARAMS
from tests.serving import TRUNKLINE, Server, serving

AUTHENTICATION = "  authentication: {keys: keys.json, rate: 200}\n"
PREDICTING = ["/v1/predict", "/invocations", "/v2/models/sums/infer"]


def add_key(home: Path, name: str, *scopes: str) -> str:
    options = [option for scope in scopes for option in ("--scope", scope)]
    command = [TRUNKLINE, "key", "add", name, *options]
    return subprocess.run(command, cwd=home, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("guarded")
    (home / "params.yaml").write_text(PARAMS + AUTHENTICATION, encoding="utf-8")
    return home


@pytest.fixture(scope="module")
def keys(home: Path) -> dict[str, str]:
    return {name: add_key(home, name, name) for name in ("predict", "admin")}


@pytest.fixture(scope="module")
def guarded(home: Path, folder: Path, keys: dict[str, str]) -> Iterator[Server]:
    with serving(str(folder), "--bind", "0.0.0.0:0", cwd=home, grpc=True) as server:
        server.address = server.address.replace("0.0.0.0", "127.0.0.1")
        yield server


@pytest.mark.parametrize("path", PREDICTING)
@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer x.y", "Basic eDp5", "Bearer a.b.c"])
def test_without_a_credential_nothing_is_predicted(guarded, path, given):
    headers = {} if given is None else {"Authorization": given}
    answer = guarded.post(path, GOOD, **headers)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["detail"] == "give a valid credential in the header Authorization: Bearer"


def test_a_scope_is_needed_for_what_it_names(guarded, keys):
    predict, admin = ({"Authorization": f"Bearer {keys[name]}"} for name in ("predict", "admin"))
    assert guarded.post("/v1/predict", GOOD, **predict).status == 200
    for path in PREDICTING:
        assert guarded.post(path, GOOD, **admin).status == 403
    allowed = {path: guarded.get(path, **predict).status for path in ("/metrics", "/openapi.json", "/version")}
    assert allowed == {"/metrics": 403, "/openapi.json": 200, "/version": 200}
    assert guarded.get("/metrics", **admin).status == 200
    assert guarded.get("/metrics").status == 401


def test_grpc_is_held_to_the_same(guarded, keys):
    with grpc.insecure_channel(guarded.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert stub.ServerReady(protocol.ServerReadyRequest()).ready
        request = protocol.ModelMetadataRequest(name="sums")
        codes = []
        for credential in (None, "x.y", keys["admin"]):
            metadata = [] if credential is None else [("authorization", f"Bearer {credential}")]
            with pytest.raises(grpc.RpcError) as caught:
                stub.ModelMetadata(request, metadata=metadata)
            codes.append(caught.value.code().name)
        assert codes == ["UNAUTHENTICATED", "UNAUTHENTICATED", "PERMISSION_DENIED"]
        good = [("authorization", f"Bearer {keys['predict']}")]
        assert stub.ModelMetadata(request, metadata=good).name == "sums"


def test_a_key_is_revoked_and_one_is_added_without_a_restart(guarded, home):
    key = add_key(home, "short")
    header = {"Authorization": f"Bearer {key}"}
    assert guarded.post("/v1/predict", GOOD, **header).status == 200
    revoke = [TRUNKLINE, "key", "revoke", key.partition(".")[0]]
    subprocess.run(revoke, cwd=home, check=True, capture_output=True)
    assert guarded.post("/v1/predict", GOOD, **header).status == 401


def test_who_asks_too_often_is_told_when_to_come_again(home, folder, keys):
    (home / "seldom").mkdir()
    params = (PARAMS + AUTHENTICATION).replace("keys.json", str(home / "keys.json")).replace("rate: 200", "rate: 0.01")
    (home / "seldom/params.yaml").write_text(params, encoding="utf-8")
    with serving(str(folder), cwd=home / "seldom") as server:
        header = {"Authorization": f"Bearer {keys['predict']}"}
        answers = [server.post("/v1/predict", GOOD, **header) for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 429]
        assert 90 <= int(answers[1].headers["retry-after"]) <= 100
        assert server.post("/v1/predict", GOOD, Authorization="Bearer x").status == 401


def test_no_credential_stands_in_the_log(home, folder, keys):
    with serving(str(folder), cwd=home) as server:
        for path in (*PREDICTING, "/metrics", "/nowhere"):
            for credential in (*keys.values(), "wrong.secret"):
                server.post(path, b"{", Authorization=f"Bearer {credential}")
        server.process.terminate()
        log = server.logged_until("Finished server process")
        for credential in (*keys.values(), "wrong.secret"):
            assert credential.partition(".")[2] not in log


def test_a_file_of_keys_that_is_missing_stops_the_start(folder, tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS + AUTHENTICATION, encoding="utf-8")
    command = [TRUNKLINE, "serve", str(folder)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "keys.json: is missing; make it with: trunkline key add NAME" in done.stderr
