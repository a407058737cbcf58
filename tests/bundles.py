"""Small bundles with a graph of known arithmetic, for the tests that load, check or break one."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx import GraphProto, NodeProto, TensorProto, helper

NO_NUMBER, NO_TEXT, OTHER_TEXT = 1000.0, 500.0, 0.0
WEIGHTS = {"EWR": 10.0, "JFK": 20.0, "": 30.0, "Zürich ✈": 40.0}


def field(name: str, type_: str, **limits: Any) -> dict[str, Any]:
    """One input of a contract."""
    role = "categorical" if type_ == "text" else "numeric"
    return {"name": name, "role": role, "type": type_, "nullable": True, "description": f"The {name}"} | limits


INPUTS = (
    field("delay", "number", min=-120, max=3000),
    field("hour", "integer", min=0, max=23, nullable=False),
    field("holiday", "boolean"),
    field("engines", "integer", allowed=[1, 2, 4]),
    field("origin", "text", nullable=False),
    field("dest", "text", pattern="[A-Z]{3}"),
    field("kind", "text", allowed=["arrival", "departure"]),
)


def expected(inputs: Sequence[Mapping[str, Any]], request: Mapping[str, Any]) -> float:
    """The score that the graph gives: the sum of the numbers, of the weights of the texts, and of what is missing."""
    total = 0.0
    for declared in inputs:
        value = request.get(declared["name"])
        if declared["role"] == "categorical":
            total += NO_TEXT if value is None else WEIGHTS.get(value, OTHER_TEXT)
        else:
            total += NO_NUMBER if value is None or math.isnan(value) else float(value)
    return total


def graph(numeric: int, categorical: int) -> bytes:
    """A model of the form that bundles hold, which sums its inputs."""
    nodes: list[NodeProto] = []
    if numeric:
        nodes += [
            helper.make_node("IsNaN", ["numeric"], ["absent"]),
            helper.make_node("Where", ["absent", "no_number", "numeric"], ["numbers"]),
            helper.make_node("ReduceSum", ["numbers", "columns"], ["of_numbers"], keepdims=0),
        ]
    if categorical:
        keys, values = [*WEIGHTS, "\ue000"], [*WEIGHTS.values(), NO_TEXT]
        nodes += [
            helper.make_node(
                "LabelEncoder", ["categorical"], ["codes"], domain="ai.onnx.ml", keys_strings=keys,
                values_floats=values, default_float=OTHER_TEXT,
            ),
            helper.make_node("Cast", ["codes"], ["weights"], to=TensorProto.DOUBLE),
            helper.make_node("ReduceSum", ["weights", "columns"], ["of_texts"], keepdims=0),
        ]  # fmt: skip
    terms = ["of_numbers"] * bool(numeric) + ["of_texts"] * bool(categorical)
    nodes.append(helper.make_node("Sum", terms, ["score"]))
    constants = [helper.make_tensor("columns", TensorProto.INT64, [1], [1])]
    if numeric:
        constants.append(helper.make_tensor("no_number", TensorProto.DOUBLE, [], [NO_NUMBER]))
    given = [helper.make_tensor_value_info("numeric", TensorProto.DOUBLE, ["n", numeric])] * bool(numeric)
    given += [helper.make_tensor_value_info("categorical", TensorProto.STRING, ["n", categorical])] * bool(categorical)
    score = helper.make_tensor_value_info("score", TensorProto.DOUBLE, ["n"])
    return model(helper.make_graph(nodes, "sum", given, [score], constants))


def model(content: GraphProto, domains: Sequence[str] = ()) -> bytes:
    """A graph with the operators' versions, as a file holds it."""
    operators = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 4)]
    operators += [helper.make_opsetid(domain, 1) for domain in domains]
    return bytes(helper.make_model(content, opset_imports=operators, ir_version=10).SerializeToString())


def make(
    folder: Path,
    inputs: Sequence[Mapping[str, Any]] = INPUTS,
    onnx: bytes | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> Path:
    """Write a bundle; `onnx` and the items of `manifest` replace what it would hold."""
    folder.mkdir(parents=True)
    widths = [sum(item["role"] == role for item in inputs) for role in ("numeric", "categorical")]
    contract = {"label": "late", "on_bad_row": "stop", "inputs": list(inputs), "request": {}}
    (folder / "contract.json").write_text(json.dumps(contract))
    (folder / "model.onnx").write_bytes(graph(*widths) if onnx is None else onnx)
    (folder / "card.md").write_text("# Sums\n")
    seal(folder, **(manifest or {}))
    return folder


def seal(folder: Path, **replaced: Any) -> None:
    """Write a manifest that lists the folder as it is."""
    names = sorted(path.name for path in folder.iterdir() if path.name != "manifest.json")
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    content = {"format": 1, "name": "sums", "runtime": "onnx", "task": "regression", "files": hashes} | replaced
    (folder / "manifest.json").write_text(json.dumps(content))
