"""A server takes tokens of its issuer, over HTTP and gRPC, while the issuer renews its keys, is slow, and is gone."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceStub

from tests.serve.auth.issuer import AUDIENCE, ISSUER, ec_key, issuing, key_set, rsa_key
from tests.serve.auth.test_authenticate import add_key
from tests.serve.conftest import GOOD, PARAMS
from tests.serving import serving

OLD, NEW, OTHER = rsa_key("old"), ec_key("new"), ec_key("other")
JWT = "jwt: {{issuer: {issuer}, audience: {audience}, jwks: '{url}', cooldown: 1s, timeout: 5s}}"


def test_tokens_count_while_the_issuer_renews_its_keys_is_slow_and_is_gone(folder, tmp_path):
    with ExitStack() as stack:
        issuer = stack.enter_context(issuing(OLD))
        declared = JWT.format(issuer=ISSUER, audience=AUDIENCE, url=issuer.url)
        params = PARAMS + f"  authentication: {{keys: keys.json, {declared}}}\n"
        (tmp_path / "params.yaml").write_text(params, encoding="utf-8")
        key = add_key(tmp_path, "dashboard", "predict")
        with serving(str(folder), cwd=tmp_path, grpc=True) as server, ThreadPoolExecutor() as pool:

            def status(token: str) -> int:
                return server.post("/v1/predict", GOOD, Authorization=f"Bearer {token}").status

            assert [status(OLD.token()), status(key), status(OLD.token(scope="explain admin"))] == [200, 200, 403]
            assert [status(token) for token in (NEW.token(), OLD.token(aud="trains"), key + "x")] == [401, 401, 401]
            wrong = server.post("/v1/predict", GOOD, Authorization=f"Bearer {NEW.token()}")
            assert wrong.json["detail"] == "give a valid credential in the header Authorization: Bearer"
            assert "a token is refused: the issuer has no key of its id" in server.logged("a token is refused")

            issuer.content = key_set(OLD, NEW)
            end = time.monotonic() + 30
            while status(NEW.token()) != 200:
                assert time.monotonic() < end

            issuer.gate.clear()
            asked = issuer.asked
            waiting = pool.submit(status, OTHER.token())
            while issuer.asked == asked:  # the cooldown may not be over yet
                assert time.monotonic() < end
                waiting = waiting if not waiting.done() else pool.submit(status, OTHER.token())
            began = time.monotonic()
            assert status(NEW.token()) == 200
            assert (waiting.done(), time.monotonic() - began < 4) == (False, True)
            issuer.gate.set()
            assert waiting.result(30) == 401

            with grpc.insecure_channel(server.grpc) as channel:
                stub = GRPCInferenceServiceStub(channel)
                request = protocol.ModelMetadataRequest(name="sums")
                assert stub.ModelMetadata(request, metadata=[("authorization", f"Bearer {NEW.token()}")]).name == "sums"
                with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
                    stub.ModelMetadata(request, metadata=[("authorization", f"Bearer {OTHER.token()}")])
            stack.close()
            assert [status(token) for token in (OLD.token(), NEW.token(), OTHER.token())] == [200, 200, 401]


def test_without_its_issuer_a_server_starts_and_refuses_tokens_until_it_can_read_its_keys(folder, tmp_path):
    with issuing(OLD) as issuer:
        issuer.status = 500
        declared = JWT.format(issuer=ISSUER, audience=AUDIENCE, url=issuer.url)
        (tmp_path / "params.yaml").write_text(PARAMS + f"  authentication: {{{declared}}}\n", encoding="utf-8")
        with serving(str(folder), "--bind", "0.0.0.0:0", cwd=tmp_path) as server:
            server.address = server.address.replace("0.0.0.0", "127.0.0.1")
            header = {"Authorization": f"Bearer {OLD.token()}"}
            answer = server.post("/v1/predict", GOOD, **header)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert server.post("/v1/predict", GOOD).status == 401
            assert f"{issuer.url}: cannot be read: HTTP Error 500" in server.logged("the keys for tokens stay")
            issuer.status = 200
            end = time.monotonic() + 30
            while server.post("/v1/predict", GOOD, **header).status != 200:
                assert time.monotonic() < end
