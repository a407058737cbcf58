"""The Open Inference Protocol over gRPC: the bundle's scores of tensors, and the status of each refusal."""

import struct
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceStub

from tests.serve.conftest import GOOD
from trunkline.core.graphs import MISSING

ROWS: list[dict[str, Any]] = [GOOD, {"hour": 1, "origin": "EWR", "delay": None, "dest": None}]
TEXTS = ("origin", "dest", "kind")
NUMBERS = ("hour", "delay", "engines")


@pytest.fixture(scope="module")
def stub(server) -> Iterator[Any]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield GRPCInferenceServiceStub(channel)


def text(row: dict[str, Any], name: str) -> bytes:
    return str(MISSING if row.get(name) is None else row[name]).encode()


def number(row: dict[str, Any], name: str) -> float:
    return float("nan") if row.get(name) is None else float(row[name])


def request(**changed: Any) -> Any:
    def tensor(name: str, datatype: str, **contents: Any) -> dict[str, Any]:
        return {"name": name, "datatype": datatype, "shape": [len(ROWS)], "contents": contents}

    inputs = [tensor(name, "FP64", fp64_contents=[number(row, name) for row in ROWS]) for name in NUMBERS]
    inputs += [tensor(name, "BYTES", bytes_contents=[text(row, name) for row in ROWS]) for name in TEXTS]
    return protocol.ModelInferRequest(**{"model_name": "sums", "id": "mine", "inputs": inputs} | changed)


def scores(bundle) -> list[float]:
    return [bundle.score({name: row.get(name) for name in (*NUMBERS, *TEXTS)}) for row in ROWS]


def test_tensors_get_the_scores_of_the_bundle(stub, bundle):
    answer = stub.ModelInfer(request())
    assert list(answer.outputs[0].contents.fp64_contents) == scores(bundle)
    assert (answer.model_name, answer.id, list(answer.outputs[0].shape)) == ("sums", "mine", [2])


def test_raw_tensors_get_them_as_raw_ones(stub, bundle):
    inputs = [{"name": name, "datatype": "FP64", "shape": [2]} for name in NUMBERS]
    inputs += [{"name": name, "datatype": "BYTES", "shape": [2]} for name in TEXTS]
    raw = [np.array([number(row, name) for row in ROWS], "<f8").tobytes() for name in NUMBERS]
    raw += [
        b"".join(struct.pack("<I", len(each)) + each for each in (text(row, name) for row in ROWS)) for name in TEXTS
    ]
    answer = stub.ModelInfer(request(inputs=inputs, raw_input_contents=raw))
    assert np.frombuffer(answer.raw_output_contents[0], "<f8").tolist() == scores(bundle)
    with pytest.raises(grpc.RpcError, match="its raw content is cut off"):
        stub.ModelInfer(request(inputs=inputs, raw_input_contents=[*raw[:-1], raw[-1][:-1]]))


def test_states_and_metadata(stub):
    assert stub.ServerLive(protocol.ServerLiveRequest()).live
    assert stub.ServerReady(protocol.ServerReadyRequest()).ready
    assert stub.ModelReady(protocol.ModelReadyRequest(name="sums")).ready
    assert not stub.ModelReady(protocol.ModelReadyRequest(name="other")).ready
    assert stub.ServerMetadata(protocol.ServerMetadataRequest()).name == "trunkline"
    found = stub.ModelMetadata(protocol.ModelMetadataRequest(name="sums"))
    assert [each.name for each in found.inputs][:2] == ["delay", "hour"]


@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        ({"model_name": "other"}, grpc.StatusCode.NOT_FOUND, "is not served here"),
        ({"inputs": []}, None, ""),
        ({"inputs": [{"name": "hour", "datatype": "FP16", "shape": [1]}]}, grpc.StatusCode.INVALID_ARGUMENT, "FP16"),
        (
            {"inputs": [{"name": "hour", "datatype": "INT64", "shape": [1], "contents": {"int64_contents": [24]}}]},
            grpc.StatusCode.INVALID_ARGUMENT,
            "row 0: field hour: 24 is above 23",
        ),
    ],
)
def test_a_refusal_has_its_status(stub, changed, code, words):
    if code is None:
        assert list(stub.ModelInfer(request(**changed)).outputs[0].shape) == [0]
        return
    with pytest.raises(grpc.RpcError, match=words) as caught:
        stub.ModelInfer(request(**changed))
    assert caught.value.code() == code
