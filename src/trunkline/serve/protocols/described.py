"""What `/openapi.json` says of the protocols of others: as much as JSON Schema can say of their forms.

How many values a row or a tensor has depends on what stands beside it, which no schema says; so all that is accepted
is as described, but not all that is as described is accepted.
"""

from collections.abc import Callable, Iterator
from typing import Any

from trunkline.conf.serving import Limits, Protocols
from trunkline.serve.http import JSON
from trunkline.serve.model import Model
from trunkline.serve.operations import (
    OF_A_REQUEST,
    OF_A_SCOPE,
    TIMEOUT,
    Operation,
    answers,
    content,
    problem_with,
    record,
    ref,
)
from trunkline.serve.protocols import mlflow, open_inference, tensors

_MLFLOW, _OPEN_INFERENCE = "MlflowProblem", "OpenInferenceProblem"
SCHEMAS = {_MLFLOW: problem_with("error_code", "message"), _OPEN_INFERENCE: problem_with("error")}

_TEXT, _WHOLE = {"type": "string"}, {"type": "integer"}


def operations(model: Model, limits: Limits, protocols: Protocols) -> Iterator[Operation]:
    """Yield what the declared protocols add, for a model."""
    if protocols.mlflow:
        yield Operation("post", "/invocations", "predict", _invocations(model, limits))
        for path in ("/ping", "/health"):
            yield Operation("get", path, None, _state("Whether a model is served", record(status=_TEXT, name=_TEXT)))
    if protocols.open_inference:
        yield from _open_inference(model)


def row(model: Model) -> dict[str, Any]:
    """Return the schema of a row: one with every input, or where features are joined the columns of a request."""
    return {"anyOf": [ref("Row"), ref("Request")]} if model.online else ref("Row")


def _state(summary: str, schema: dict[str, Any], *refusals: str) -> dict[str, Any]:
    answer = {"description": summary, "content": content(JSON, schema)}
    return {"summary": summary, "responses": answers(answer, ["503", *refusals])}


# MLflow's scoring protocol


def _invocations(model: Model, limits: Limits) -> dict[str, Any]:
    rows = {"type": "array", "items": row(model), "maxItems": limits.rows}
    columns = {"type": "object", "description": "A list of values for each field, of which each has as many"}
    lists = {"type": "array", "items": {"type": "array"}, "maxItems": limits.rows}
    split = record(columns={"type": "array", "description": "Names of fields, in any order"}, data=lists)
    forms = {
        "dataframe_split": split,
        "dataframe_records": rows,
        "instances": {"anyOf": [rows, columns]},
        "inputs": {"anyOf": [rows, columns]},
    }
    no_parameters: dict[str, Any] = {"enum": [None, {}], "description": "The model takes none"}
    alternatives = [_only(name, form, params=no_parameters) for name, form in forms.items()]
    body = content(JSON, {"oneOf": alternatives}) | content(mlflow.CSV, {})
    body[JSON]["examples"] = {"golden_rows": {"value": {"dataframe_records": list(model.examples)}}}
    predictions = {"type": "array", "items": {"type": ["number", "array"], "items": {"type": "number"}}}
    answer = {"description": "The scores", "content": content(JSON, record(predictions=predictions))}
    return {
        "summary": "Score rows, as MLflow's scoring server does",
        "parameters": [TIMEOUT],
        "requestBody": {"required": True, "content": body},
        "responses": answers(answer, [*OF_A_REQUEST, "415"], _MLFLOW),
    }


def _only(name: str, form: dict[str, Any], **others: Any) -> dict[str, Any]:
    """Return the schema of an object that has this form, may have others, and nothing besides."""
    return {"type": "object", "required": [name], "properties": {name: form} | others, "additionalProperties": False}


# The Open Inference Protocol


def _open_inference(model: Model) -> Iterator[Operation]:
    texts = {"type": "array", "items": _TEXT}
    server = record(name=_TEXT, version=_TEXT, extensions=texts)
    yield Operation("get", "/v2", "predict", _state("What the server speaks", server, *OF_A_SCOPE))
    for path, member in (("/v2/health/live", "live"), ("/v2/health/ready", "ready")):
        yield Operation(
            "get", path, None, _state(f"Whether the server is {member}", record(**{member: {"const": True}}))
        )
    tensor = record(name=_TEXT, datatype=_TEXT, shape={"type": "array", "items": _WHOLE})
    tensor_list = {"type": "array", "items": tensor}
    described = record(name=_TEXT, versions=texts, platform=_TEXT, inputs=tensor_list, outputs=tensor_list)
    ready = record(name=_TEXT, ready={"const": True})
    for prefix, parameters in _named(model):
        asked = _asked(parameters)
        yield Operation("get", prefix, "predict", asked("The model's inputs and outputs", described))
        yield Operation("get", f"{prefix}/ready", "predict", asked("Whether the model is served", ready))
        yield Operation("post", f"{prefix}/infer", "predict", _infer(model, asked, tensor))


def _named(model: Model) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the paths that name the model, and the version if it has one, with their parameters."""
    of = {"in": "path", "required": True}
    name = {"name": "name", **of, "schema": {"enum": [model.version.name]}}
    yield "/v2/models/{name}", [name]
    if model.version.version:
        version = {"name": "version", **of, "schema": {"enum": [model.version.version]}}
        yield "/v2/models/{name}/versions/{version}", [name, version]


def _asked(parameters: list[dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def operation(summary: str, schema: dict[str, Any], *refusals: str) -> dict[str, Any]:
        answer = {"description": summary, "content": content(JSON, schema)}
        responses = answers(answer, [*OF_A_REQUEST, "404", *refusals], _OPEN_INFERENCE)
        return {"summary": summary, "parameters": [*parameters, TIMEOUT], "responses": responses}

    return operation


def _infer(model: Model, asked: Callable[..., dict[str, Any]], tensor: dict[str, Any]) -> dict[str, Any]:
    values = {"type": "array", "description": "A value for each row; null or NaN where it is missing"}
    datatype = {"enum": tensors.DATATYPES}
    of_input = tensor["properties"] | {"datatype": datatype, "data": values, "parameters": {"type": "object"}}
    inputs = {"type": "array", "items": tensor | {"properties": of_input}}
    body = record(inputs=inputs)
    body["properties"]["id"] = {"type": ["string", "null"]}
    described = tensors.describe(model)["inputs"]
    example = {"inputs": list(tensors.columns(described, model.examples))}
    output = record(**tensor["properties"], data={"type": "array", "items": {"type": "number"}})
    answer = record(model_name=_TEXT, model_version=_TEXT, id=_TEXT, outputs={"type": "array", "items": output})
    operation = asked("Score the rows of tensors", answer, "415")
    length = {
        "name": open_inference.BINARY,
        "in": "header",
        "description": "Bytes of JSON that the body begins with, where binary tensors follow it",
        "schema": {"type": "integer", "minimum": 0},
    }
    operation["parameters"] = [*operation["parameters"], length]
    media = content(JSON, body) | content(open_inference.OCTETS, {})
    media[JSON]["examples"] = {"golden_rows": {"value": example}}
    operation["requestBody"] = {"required": True, "content": media}
    return operation
