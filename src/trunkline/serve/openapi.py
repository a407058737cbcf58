"""What `/openapi.json` says: the routes in OpenAPI 3.1, with a row as the bundle's contract describes it."""

from collections.abc import Iterator
from typing import Any

from trunkline import __version__
from trunkline.bundle.contract import Contract
from trunkline.conf.serving import Limits, Serving
from trunkline.serve import events
from trunkline.serve.auth.principal import STATE_SCOPES, Scope
from trunkline.serve.explain.additive import IDENTITY, LINKS
from trunkline.serve.explain.explainer import ROWS
from trunkline.serve.http import ARROW
from trunkline.serve.model import Model
from trunkline.serve.operations import (
    OF_A_REQUEST,
    OF_A_SCOPE,
    PROBLEM,
    TIMEOUT,
    Operation,
    answers,
    content,
    record,
    ref,
)
from trunkline.serve.predict import EXPLAIN, FEATURES
from trunkline.serve.protocols import described


def document(model: Model, serving: Serving) -> dict[str, Any]:
    """Return the description of the API for a model's contract, with its golden rows as examples.

    `x-levels` are the texts of the training rows, by field. Security is what is declared.
    """
    contract = model.bundle.contract
    row = {key: value for key, value in contract.request.items() if not key.startswith("$")}
    score = _score(contract)
    schemas = {"Row": row, "Score": score, "Problem": PROBLEM, "Scored": _scored(), "ScoredRows": _scored_rows()}
    schemas |= {"Explanation": _explanation(contract), "Served": _SERVED} | described.SCHEMAS
    if model.online:
        schemas |= {"Request": model.online.request_schema(contract.request.get("properties", {}))}
    paths = {
        operation.path: {operation.method: operation.content | _security(serving, operation.scope)}
        for operation in _operations(model, serving)
    }
    info = {"title": f"Predicts {contract.label}", "version": __version__}
    components = {"schemas": schemas, "securitySchemes": _schemes(serving)}
    levels = {field.name: field.levels for field in contract.inputs if field.levels}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": components, "x-levels": levels}


def _operations(model: Model, serving: Serving) -> Iterator[Operation]:
    yield Operation("post", "/v1/predict", "predict", _predict(serving, model))
    if serving.online:
        yield Operation("post", events.PATH, "push", _events(serving.limits))
    yield from _states()
    yield from described.operations(model, serving.limits, serving.protocols)


def _schemes(serving: Serving) -> dict[str, Any]:
    """Return the kinds of credentials that are accepted, and the client's certificate where one is demanded."""
    declared, schemes = serving.authentication, {}
    if declared and declared.keys:
        schemes["key"] = {"type": "http", "scheme": "bearer", "description": "A key that trunkline key add made"}
    if declared and declared.jwt:
        issuer = f"A token of {declared.jwt.issuer} for {declared.jwt.audience}"
        schemes["jwt"] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": issuer}
    if serving.tls and serving.tls.clients:
        schemes["certificate"] = {"type": "mutualTLS", "description": "A certificate of an authority of the server's"}
    return schemes


def _security(serving: Serving, scope: Scope | None) -> dict[str, Any]:
    """Return what is needed for a route: any of the credentials with the scope, and the certificate besides."""
    schemes = _schemes(serving)
    always: dict[str, list[str]] = {"certificate": []} if "certificate" in schemes else {}
    credentials = [name for name in schemes if name != "certificate"] if scope else []
    needed = [{name: [str(scope)]} | always for name in credentials] or ([always] if always else [])
    return {"security": needed} if needed else {}


_FEATURES = {
    "name": FEATURES,
    "in": "query",
    "description": "Whether the joined features come with the scores, and how each view stood",
    "schema": {"type": "boolean", "default": False},
}
_STATES = {
    "/healthz": ("Whether the process is alive", "application/json"),
    "/readyz": ("Whether a model is served", "application/json"),
    "/version": ("Which model is served", "application/json"),
    "/metrics": ("Metrics in Prometheus' format", "text/plain"),
    "/docs": ("A page to score a row on", "text/html"),
    "/openapi.json": ("This description", "application/json"),
}
_ORIGIN = {
    "request_id": {"type": "string"},
    "digest": {"type": ["string", "null"], "description": "Digest of the bundle that scored; null where two did"},
    "version": {"type": ["string", "null"]},
}
# Of rows that two versions answered, while a rollout runs.
_ORIGINS = {name: {"type": "array", "items": {"type": ["string", "null"]}} for name in ("digests", "versions")}

_TEXT = {"type": "string"}
_MAYBE = {"type": ["string", "null"]}
_VERSION = record(name=_TEXT, digest=_TEXT, version=_MAYBE, commit=_MAYBE)
_ROLLOUT = record(
    kind={"enum": ["shadow", "canary"]},
    share={"type": "number", "exclusiveMinimum": 0, "maximum": 100, "description": "Percent of the rows"},
    candidate=_VERSION,
    problem=_MAYBE | {"description": "Why the candidate is not tried; null if it is"},
)
_SERVED = record(
    **_VERSION["properties"],
    previous={"anyOf": [_VERSION, {"type": "null"}]},
    problem=_MAYBE | {"description": "Why what was delivered last is not served; null if it is"},
    rollout={"anyOf": [_ROLLOUT, {"type": "null"}], "description": "What is tried beside it"},
)


def _score(contract: Contract) -> dict[str, Any]:
    number = {"type": "number"}
    if not contract.classes:
        return number
    return {"type": "object", "properties": dict.fromkeys(contract.classes, number), "required": contract.classes}


def _scored() -> dict[str, Any]:
    values = {"score": ref("Score"), "explanation": ref("Explanation")}
    return {"type": "object", "required": [*_ORIGIN, "score"], "properties": _ORIGIN | values}


def _scored_rows() -> dict[str, Any]:
    place = {"row": {"type": "integer"}, "field": {"type": "string"}, "detail": {"type": "string"}}
    refused = {"type": "array", "items": {"type": "object", "required": [*place], "properties": place}}
    scores, explanations = (
        {"type": "array", "items": {"anyOf": [ref(name), {"type": "null"}]}} for name in ("Score", "Explanation")
    )
    return {
        "type": "object",
        "required": [*_ORIGIN, "scores"],
        "properties": _ORIGIN | _ORIGINS | {"scores": scores, "explanations": explanations, "refused": refused},
    }


def _explanation(contract: Contract) -> dict[str, Any]:
    value = _score(contract)
    names = [field.name for field in contract.inputs]
    properties = {
        "of": {"const": "margin", "description": "What is explained: what the link makes the score of"},
        "link": {"enum": [*LINKS.values(), IDENTITY]},
        "background_rows": {"type": "integer", "description": "How many golden rows the row is compared with"},
        "base": value | {"description": "Mean margin of the golden rows"},
        "contributions": {
            "type": "object",
            "description": "What each feature adds to the base: together they are the margin",
            "required": names,
            "properties": dict.fromkeys(names, value),
        },
    }
    return {"type": "object", "required": [*properties], "properties": properties}


def _predict(serving: Serving, model: Model) -> dict[str, Any]:
    row = described.row(model)
    rows = {"type": "array", "items": row, "maxItems": serving.limits.rows}
    body = content("application/json", {"oneOf": [row, rows]})
    body["application/json"]["examples"] = {
        f"golden_row_{number}": {"value": row} for number, row in enumerate(model.examples)
    }
    scored = content("application/json", {"oneOf": [ref("Scored"), ref("ScoredRows")]})
    if serving.protocols.arrow:
        stream = {"description": "A stream of Arrow IPC: columns without dictionaries, as they are"}
        body, scored = body | content(ARROW, stream), scored | content(ARROW, {})
    explained = {
        "name": EXPLAIN,
        "in": "query",
        "description": f"Whether each score comes with its explanation; of {ROWS} rows at most, fewer of large trees",
        "schema": {"type": "boolean", "default": False},
    }
    return {
        "summary": "Score a row, or rows",
        "parameters": [TIMEOUT, explained, *([_FEATURES] if model.online else [])],
        "requestBody": {"required": True, "content": body},
        "responses": answers({"description": "The scores", "content": scored}, [*OF_A_REQUEST, "415", "422", "501"]),
    }


def _events(limits: Limits) -> dict[str, Any]:
    rows = {"type": "array", "items": {"type": "object"}, "maxItems": limits.rows}
    stored = record(request_id={"type": "string"}, stored={"type": "integer"}, conflicts={"type": "array"})
    return {
        "summary": "Add rows of a table, of which features of later requests are made",
        "parameters": [TIMEOUT],
        "requestBody": {
            "required": True,
            "content": content("application/json", record(table={"type": "string"}, rows=rows)),
        },
        "responses": answers(
            {"description": "All of them are stored", "content": content("application/json", stored)},
            [*OF_A_REQUEST, "422"],
        ),
    }


def _states() -> Iterator[Operation]:
    for path, (summary, media_type) in _STATES.items():
        scope = STATE_SCOPES.get(path)
        schema = ref("Served") if path == "/version" else {}
        answer = {"description": summary, "content": content(media_type, schema)}
        refusals = ["503", *(OF_A_SCOPE if scope else ())]
        yield Operation("get", path, scope, {"summary": summary, "responses": answers(answer, refusals)})
