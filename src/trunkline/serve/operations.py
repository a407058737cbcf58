"""The words of OpenAPI that the description of every protocol is made of: an operation, its content, its refusals."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from trunkline.serve.auth.principal import Scope
from trunkline.serve.problems import MEDIA_TYPE

REFUSALS = {
    "400": "The body is not JSON, or not rows",
    "401": "No valid credential was given",
    "403": "The credential lacks the scope",
    "404": "This model, or this version of it, is not served here",
    "408": "The body did not arrive in time",
    "413": "The body is too large, or has too many rows",
    "415": "The body's type is not one that is read",
    "422": "A row is not as the contract says; `row` and `field` name it",
    "429": "The credential is used too often",
    "501": "The model cannot be explained exactly",
    "503": "No model is served, or too many requests wait",
    "504": "The time of the request was over",
}
OF_A_SCOPE = ("401", "403", "429")
OF_A_REQUEST = ("400", *OF_A_SCOPE, "408", "413", "503", "504")  # of whatever goes through the queue
TIMEOUT = {
    "name": "Request-Timeout",
    "in": "header",
    "description": "Seconds after which no answer is needed",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
PROBLEM = {
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


@dataclass(frozen=True)
class Operation:
    """What a method of a path does; `scope` is what a credential needs for it, None: it needs none."""

    method: str
    path: str
    scope: Scope | None
    content: dict[str, Any]


def answers(answer: dict[str, Any], refusals: Iterable[str], problem: str = "Problem") -> dict[str, Any]:
    """Return the responses of an operation: its answer, and problem documents of a schema under their statuses."""
    refused = {
        status: {"description": REFUSALS[status], "content": content(MEDIA_TYPE, ref(problem))}
        for status in sorted(refusals)
    }
    return {"200": answer} | refused


def content(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return content of a type."""
    return {media_type: {"schema": schema}}


def ref(name: str) -> dict[str, str]:
    """Return what stands for a schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def problem_with(*members: str) -> dict[str, Any]:
    """Return the schema of a problem document that has these texts as well, by which a protocol's clients read it."""
    texts = {name: {"type": "string"} for name in members}
    return PROBLEM | {
        "required": [*PROBLEM["required"], *members],
        "properties": {**PROBLEM["properties"], **texts},  # type: ignore[dict-item]
    }


def record(**properties: Any) -> dict[str, Any]:
    """Return the schema of an object that has all of these."""
    return {"type": "object", "required": [*properties], "properties": properties}
