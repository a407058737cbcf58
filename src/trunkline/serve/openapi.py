"""What `/openapi.json` says: the routes in OpenAPI 3.1, with a row as the bundle's contract describes it."""

from collections.abc import Sequence
from typing import Any

from trunkline import __version__
from trunkline.bundle.contract import Contract
from trunkline.conf.serving import Limits, Serving
from trunkline.serve.auth.principal import STATE_SCOPES, Scope
from trunkline.serve.explain.additive import IDENTITY, LINKS
from trunkline.serve.explain.explainer import ROWS
from trunkline.serve.model import Model
from trunkline.serve.predict import EXPLAIN
from trunkline.serve.problems import MEDIA_TYPE

_PROBLEMS = {
    "400": "The body is not JSON, or not rows",
    "401": "No valid credential was given",
    "403": "The credential lacks the scope",
    "408": "The body did not arrive in time",
    "413": "The body is too large, or has too many rows",
    "415": "The body's type is not one that is read",
    "422": "A row is not as the contract says; `row` and `field` name it",
    "429": "The credential is used too often",
    "501": "The model cannot be explained exactly",
    "503": "No model is served, or too many requests wait",
    "504": "The time of the request was over",
}


def document(model: Model, serving: Serving) -> dict[str, Any]:
    """Return the description of the API for a model's contract, with its golden rows as examples.

    `x-levels` are the texts of the training rows, by field. Security is what is declared.
    """
    contract = model.bundle.contract
    row = {key: value for key, value in contract.request.items() if not key.startswith("$")}
    score = _score(contract)
    schemas = {"Row": row, "Score": score, "Problem": _PROBLEM, "Scored": _scored(), "ScoredRows": _scored_rows()}
    schemas["Explanation"] = _explanation(contract)
    predict = _predict(serving.limits, model.examples) | _security(serving, "predict")
    states = {path: _state(*of) | _security(serving, STATE_SCOPES.get(path)) for path, of in _STATES.items()}
    paths = {"/v1/predict": {"post": predict}} | {path: {"get": state} for path, state in states.items()}
    info = {"title": f"Predicts {contract.label}", "version": __version__}
    components = {"schemas": schemas, "securitySchemes": _schemes(serving)}
    levels = {field.name: field.levels for field in contract.inputs if field.levels}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": components, "x-levels": levels}


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


_STATES = {
    "/healthz": ("Whether the process is alive", "application/json"),
    "/readyz": ("Whether a model is served", "application/json"),
    "/version": ("Which model is served", "application/json"),
    "/metrics": ("Metrics in Prometheus' format", "text/plain"),
    "/docs": ("A page to score a row on", "text/html"),
    "/openapi.json": ("This description", "application/json"),
}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "row": {"type": "integer", "description": "Number of the row in the request, from 0"},
        "field": {"type": "string"},
    },
}
_ORIGIN = {
    "request_id": {"type": "string"},
    "digest": {"type": "string", "description": "Digest of the bundle that scored"},
    "version": {"type": ["string", "null"]},
}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _score(contract: Contract) -> dict[str, Any]:
    number = {"type": "number"}
    if not contract.classes:
        return number
    return {"type": "object", "properties": dict.fromkeys(contract.classes, number), "required": contract.classes}


def _scored() -> dict[str, Any]:
    values = {"score": _ref("Score"), "explanation": _ref("Explanation")}
    return {"type": "object", "required": [*_ORIGIN, "score"], "properties": _ORIGIN | values}


def _scored_rows() -> dict[str, Any]:
    place = {"row": {"type": "integer"}, "field": {"type": "string"}, "detail": {"type": "string"}}
    refused = {"type": "array", "items": {"type": "object", "required": [*place], "properties": place}}
    scores, explanations = (
        {"type": "array", "items": {"anyOf": [_ref(name), {"type": "null"}]}} for name in ("Score", "Explanation")
    )
    return {
        "type": "object",
        "required": [*_ORIGIN, "scores"],
        "properties": _ORIGIN | {"scores": scores, "explanations": explanations, "refused": refused},
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


def _content(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {media_type: {"schema": schema}}


def _predict(limits: Limits, examples: Sequence[Any]) -> dict[str, Any]:
    rows = {"type": "array", "items": _ref("Row"), "maxItems": limits.rows}
    content = _content("application/json", {"oneOf": [_ref("Row"), rows]})
    content["application/json"]["examples"] = {
        f"golden_row_{number}": {"value": row} for number, row in enumerate(examples)
    }
    body = {"required": True, "content": content}
    answer = {"oneOf": [_ref("Scored"), _ref("ScoredRows")]}
    responses = {"200": {"description": "The scores", "content": _content("application/json", answer)}}
    responses |= {status: _problem(words) for status, words in _PROBLEMS.items()}
    timeout = {
        "name": "Request-Timeout",
        "in": "header",
        "description": "Seconds after which no answer is needed",
        "schema": {"type": "number", "exclusiveMinimum": 0},
    }
    explained = {
        "name": EXPLAIN,
        "in": "query",
        "description": f"Whether each score comes with its explanation; of {ROWS} rows at most, fewer of large trees",
        "schema": {"type": "boolean", "default": False},
    }
    summary = "Score a row, or rows"
    return {"summary": summary, "parameters": [timeout, explained], "requestBody": body, "responses": responses}


def _problem(words: str) -> dict[str, Any]:
    return {"description": words, "content": _content(MEDIA_TYPE, _ref("Problem"))}


def _state(summary: str, media_type: str) -> dict[str, Any]:
    answer = {"description": summary, "content": _content(media_type, {})}
    return {"summary": summary, "responses": {"200": answer, "503": _problem("No model is served")}}
