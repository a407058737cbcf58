"""Mistakes of structure, as pydantic reports them, in lines that name file, key and remedy."""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trunkline.conf.project import Project
from trunkline.core.errors import nearest
from trunkline.core.params import dig
from trunkline.pipeline.compose.files import Composed, placed

MOST = 10  # mistakes: who made more of them mends these first

_KEY = re.compile(r"((?:[^\W\d][\w-]*\.)*[^\W\d][\w-]*): ")


def split_key(line: str, content: Any = None) -> tuple[tuple[str, ...], str]:
    """Split a message into the key that it begins with and the rest; names in the content may hold any character."""
    names: Mapping[str, Any] = content if isinstance(content, dict) else {}
    for name in sorted(map(str, names), key=len, reverse=True):
        if line.startswith(f"{name}: "):
            return (name,), line[len(name) + 2 :]
        if line.startswith(f"{name}."):
            key, message = split_key(line[len(name) + 1 :], names[name])
            return (name, *key), message
    match = _KEY.match(line)
    return (tuple(match[1].split(".")), line[match.end() :]) if match else ((), line)


def lines(composed: Composed, fallback: Path, error: ValidationError, *within: str) -> Iterator[str]:
    """Yield a line for each of the first wrong keys; a value that may be of several types fits none of them."""
    messages: dict[tuple[str, ...], list[str]] = {}
    mistakes = deque(error.errors(include_url=False))
    while mistakes and len(messages) < MOST:
        item = mistakes.popleft()
        key, message = _structural(composed.content, {**item, "loc": (*within, *item["loc"])})
        messages.setdefault(key, []).append(message)
    for key, texts in messages.items():
        yield placed(composed, fallback, key, "; or: ".join(dict.fromkeys(texts)))
    if mistakes:
        yield f"and {len(mistakes)} more; correct these first"


def _structural(content: Mapping[str, Any], error: Any) -> tuple[tuple[str, ...], str]:
    """Turn a pydantic error into a key of the content, without union tags, and a message."""
    key, schema, description = _walk(content, error["loc"], absent=error["type"] == "missing")
    kind, message = error["type"], error["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        inner, message = split_key(message, dig(content, *key))
        return (*key, *inner), message
    if kind == "extra_forbidden":
        return key, f"unknown key{nearest(key[-1], schema)}"
    if kind == "missing":
        return key, "the key is missing" + (f"; write {key[-1]}: … ({description.rstrip('.')})" if description else "")
    if kind in ("literal_error", "union_tag_invalid"):
        expected = re.findall(r"'([^']+)'", error["ctx"].get("expected") or error["ctx"]["expected_tags"])
        tag = str(error["input"] if kind == "literal_error" else error["ctx"]["tag"])
        return key, f"'{tag}' is not allowed{nearest(tag, expected)}"
    shown = repr(error["input"])
    return key, message if len(shown) > 60 else f"{message}, not {shown}"


def _walk(content: Any, location: Sequence[str | int], *, absent: bool) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return the key of a location, the valid names of the mapping that its last part belongs to, and what it says.

    The last part may be a key that is `absent`; any other that the content does not have is a type of a union.
    """
    schema: Any = Project.model_json_schema(by_alias=True)
    definitions, key, siblings = schema["$defs"], [], tuple(schema["properties"])
    last = len(location) - 1
    for i, part in enumerate(location):
        union = "discriminator" in schema
        schema = _resolved(schema, definitions, content)
        siblings = tuple(schema.get("properties", ()))
        inside = isinstance(content, list) or (isinstance(content, dict) and part in content)
        if union or (not inside and not (absent and i == last)) or part == "[key]":
            continue  # a union's tag, or pydantic's word for the key itself
        key.append(str(part))
        content = content[part] if inside else None
        schema = _child(schema, part)
    return tuple(key), siblings, schema.get("description", "")


def _child(schema: Any, part: str | int) -> Any:
    patterns = list(schema.get("patternProperties", {}).values())
    named, others = schema.get("properties", {}).get(part), schema.get("additionalProperties") or schema.get("items")
    matching = named or (patterns[0] if patterns else others)
    return matching if isinstance(matching, dict) else {}


def _resolved(schema: Any, definitions: Mapping[str, Any], content: Any) -> Any:
    while True:
        if "$ref" in schema:
            schema = definitions[schema["$ref"].rpartition("/")[2]]
        elif "discriminator" in schema:
            name, mapping = schema["discriminator"]["propertyName"], schema["discriminator"]["mapping"]
            tag = content.get(name, _default_tag(name, mapping, definitions)) if isinstance(content, dict) else None
            reference = mapping.get(tag)
            schema = {"$ref": reference} if reference else {}
        elif "anyOf" in schema:
            schema = next((option for option in schema["anyOf"] if option.get("type") != "null"), {})
        else:
            return schema


def _default_tag(name: str, mapping: Mapping[str, str], definitions: Mapping[str, Any]) -> str | None:
    """Return the tag of the structure that is meant where none is written."""
    kinds = {tag: definitions[reference.rpartition("/")[2]]["properties"][name] for tag, reference in mapping.items()}
    return next((tag for tag, kind in kinds.items() if "default" in kind), None)
