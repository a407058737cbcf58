"""The Open Inference Protocol over REST: metadata, readiness, and the bundle's scores of tensors."""

import json

import numpy as np
import pytest

from tests.serve.conftest import GOOD

ROWS = [GOOD, {"hour": 1, "origin": "EWR", "delay": None, "dest": None}]
TYPES = {"origin": "BYTES", "dest": "BYTES", "kind": "BYTES", "holiday": "BOOL", "hour": "INT64"}


def tensor(name: str, values: list[object], datatype: str | None = None) -> dict[str, object]:
    return {"name": name, "datatype": datatype or TYPES.get(name, "FP64"), "shape": [len(values)], "data": values}


INPUTS = [tensor(name, [row.get(name) for row in ROWS]) for name in GOOD]


def test_tensors_get_the_scores_of_the_bundle(server, bundle):
    answer = server.post("/v2/models/sums/infer", {"id": "mine", "inputs": INPUTS}).json
    scores = [bundle.score(row) for row in ROWS]
    output = {"name": "score", "datatype": "FP64", "shape": [2], "data": scores}
    assert answer == {"model_name": "sums", "model_version": "", "id": "mine", "outputs": [output]}


def binary(change: int = 0) -> tuple[bytes, dict[str, str]]:
    """A request whose hours are binary, as tritonclient sends it, and its header; `change` of the size is a mistake."""
    hours = np.array([row["hour"] for row in ROWS], "<i8").tobytes()
    hour = {"name": "hour", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": len(hours) + change}}
    header = json.dumps({"inputs": [hour, *(each for each in INPUTS if each["name"] != "hour")]}).encode()
    return header + hours, {"Inference_Header_Content_Length": str(len(header))}


def test_binary_tensors_get_them_too(server, bundle):
    body, header = binary()
    answer = server.post("/v2/models/sums/infer", body, "application/octet-stream", **header).json
    assert answer["outputs"][0]["data"] == [bundle.score(row) for row in ROWS]


@pytest.mark.parametrize(
    ("change", "words"), [(1, "more than the body holds"), (-8, "of shape [2] with 1 values"), (-1, "is cut off")]
)
def test_a_binary_tensor_of_another_size_is_refused(server, change, words):
    body, header = binary(change)
    answer = server.post("/v2/models/sums/infer", body, **header)
    assert (answer.status, words in answer.json["error"]) == (400, True)
    answer = server.post("/v2/models/sums/infer", body, Inference_Header_Content_Length="1000000")
    assert "length of the JSON" in answer.json["error"]


def test_metadata_and_readiness(server):
    assert server.get("/v2").json["name"] == "trunkline"
    found = server.get("/v2/models/sums").json
    assert found["inputs"][0] == {"name": "delay", "datatype": "FP64", "shape": [-1]}
    assert found["outputs"] == [{"name": "score", "datatype": "FP64", "shape": [-1]}]
    paths = ("/v2/health/live", "/v2/health/ready", "/v2/models/sums/ready", "/v2/models/other/ready")
    assert [server.get(path).status for path in paths] == [200, 200, 200, 404]
    assert [server.get(path).json for path in paths[:2]] == [{"live": True}, {"ready": True}]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([tensor("hour", [24]), tensor("origin", ["JFK"])], "row 0: field hour: 24 is above 23"),
        ([tensor("hour", [1]), tensor("hour", [1])], "input 'hour': is there twice"),
        ([tensor("hour", [1, 2]), tensor("origin", ["JFK"])], "the inputs have 1, 2 rows"),
        ([tensor("hour", [1]) | {"shape": [2]}], "input 'hour': is of shape [2] with 1 values"),
        ([tensor("hour", [1], "FP16")], "datatype 'FP16'"),
        ([{"name": "hour"}], "missing required field `datatype`"),
    ],
)
def test_what_is_wrong_is_told_as_the_protocol_does(server, inputs, words):
    answer = server.post("/v2/models/sums/infer", {"inputs": inputs})
    assert answer.status == 400
    assert words in answer.json["error"]
