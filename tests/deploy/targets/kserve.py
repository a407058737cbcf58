"""KServe's published types, read of its package without importing it, as a schema that refuses unknown keys."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from tests.deploy.targets import validators

_PLAIN: dict[str, Any] = {
    "str": {"type": "string"}, "int": {"type": "integer"}, "bool": {"type": "boolean"}, "float": {"type": "number"},
    "dict(str, str)": {"type": "object", "additionalProperties": {"type": "string"}},
}  # fmt: skip


def complaints(service: Any) -> list[str]:
    """Return what is against an InferenceService; what is Kubernetes' own in it is not looked at."""
    return [f"{error.json_path}: {error.message}" for error in _schema().iter_errors(service)]


@cache
def _schema() -> Draft202012Validator:
    (folder,) = validators.environment("kserve").glob("lib/python*/site-packages/kserve/models")
    types = dict(item for path in sorted(folder.glob("*.py")) for item in _types(path))
    own = {"apiVersion": {"const": "serving.kserve.io/v1beta1"}, "kind": {"const": "InferenceService"}}
    known = {name: _object(kept, types) for name, kept in types.items()}
    known["V1beta1InferenceService"]["properties"] |= own
    return Draft202012Validator({"$ref": "#/$defs/V1beta1InferenceService", "$defs": known})


def _types(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Return the classes of a module, each with the type of each key."""
    classes = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
    return [(node.name, kept) for node in classes if (kept := _keys(node))]


def _keys(node: ast.ClassDef) -> dict[str, str]:
    given = {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in node.body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }
    names = given.get("attribute_map", {})
    return {names[attribute]: kind for attribute, kind in given.get("openapi_types", {}).items()}


def _object(keys: dict[str, str], types: dict[str, Any]) -> dict[str, Any]:
    properties = {key: _reference(kind, types) for key, kind in keys.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _reference(kind: str, types: dict[str, Any]) -> dict[str, Any]:
    if each := re.fullmatch(r"list\[(.*)\]", kind):
        return {"type": "array", "items": _reference(each[1], types)}
    return _PLAIN.get(kind) or ({"$ref": f"#/$defs/{kind}"} if kind in types else {})
