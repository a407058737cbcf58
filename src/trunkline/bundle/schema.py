"""What a request must look like, as JSON Schema: for others' tools, and for the description of the API."""

from collections.abc import Iterable, Iterator
from typing import Any

from trunkline.bundle.contract import Input

SCHEMA = "https://json-schema.org/draft/2020-12/schema"
_TYPES = {"integer": "integer", "number": "number", "text": "string", "boolean": "boolean"}


def request_schema(inputs: Iterable[Input]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of one request: an object with a property per input."""
    inputs = list(inputs)
    return {
        "$schema": SCHEMA,
        "type": "object",
        "properties": {field.name: {"description": field.description, **schema(field)} for field in inputs},
        "required": sorted(field.name for field in inputs if not field.nullable),
        "additionalProperties": False,
    }


def schema(field: Input) -> dict[str, Any]:
    """Return the JSON Schema of a field's value."""
    return dict(_keywords(field))


def _keywords(field: Input) -> Iterator[tuple[str, Any]]:
    kind = _TYPES[field.type]
    yield "type", [kind, "null"] if field.nullable else kind
    if field.min is not None:
        yield "minimum", field.min
    if field.max is not None:
        yield "maximum", field.max
    if field.allowed is not None:
        yield "enum", [*field.allowed, *([None] if field.nullable else [])]
    if field.pattern is not None:
        yield "pattern", f"^(?:{field.pattern})$"
