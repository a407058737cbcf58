"""JSON Schemas of the files of conf/, made of the structures that read them, by which editors complete and check.

`python -m trunkline.pipeline.compose.schema docs/schemas` writes them again; a test says when they are stale. They are
of draft 7, which all editors know. A schema sees one file, so it refuses less than compose does: a file with a
`defaults` list may leave out keys, which another file adds, and `${group.key}` may stand in place of any value.
"""

import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from trunkline.conf.evaluation import EXPECTED_COST
from trunkline.conf.handwritten import REFERENCE
from trunkline.conf.project import Project
from trunkline.core.files import write_json
from trunkline.core.values import METRIC, Group
from trunkline.pipeline.compose import files
from trunkline.pipeline.evaluate.metrics.registry import REGISTRY

DRAFT = "http://json-schema.org/draft-07/schema#"
METRICS = sorted({EXPECTED_COST, *(name for metrics in REGISTRY.values() for name in metrics)})
_PART = "Partial"  # the structure of that name, any of whose keys may be missing
_ABOUT = ("title", "description", "default")
_REFERENCE = {"title": "another key, such as ${name}", "type": "string", "pattern": REFERENCE.pattern}


class _Plain(GenerateJsonSchema):
    """Without titles that only repeat the key."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schemas() -> dict[str, JsonSchemaValue]:
    """Return the schema of each group, by name, and `config`: that of conf/config.yaml and of experiments."""
    models = [field.annotation for field in Project.model_fields.values()]
    groups = {model.key: of_group(model) for model in models if isinstance(model, type) and issubclass(model, Group)}
    return {files.ROOT: of_config(sorted([*groups, files.EXPERIMENT])), **groups}


def of_group(group: type[Group]) -> JsonSchemaValue:
    """Return the schema of a group's options: whole, or with a `defaults` list in part."""
    option = {"type": "string", "pattern": f"^{files.OPTION}$"}
    family = {
        "type": "object",
        "propertyNames": {"pattern": f"^{files.FAMILY}$"},
        "additionalProperties": option,
        "minProperties": 1,
        "maxProperties": 1,
    }
    whole, structures = _structures(group, "")
    part, parts = _structures(group, _PART)
    entry = {"anyOf": [option, family]} if group.key == files.SEARCH else option
    return {
        **_head(f"conf/{group.key}", whole),
        "if": {"required": ["defaults"]},
        "then": _with_defaults(part, entry, "Options of this group that this one changes; `_self_` is this file."),
        "else": whole,
        "definitions": {"reference": _REFERENCE, **structures, **parts},
    }


def of_config(groups: list[str]) -> JsonSchemaValue:
    """Return the schema of what may hold any part of conf/: config.yaml and experiments."""
    choice = {
        "type": "object",
        "propertyNames": {"pattern": f"^(override /|/)?({'|'.join(groups)})$"},
        "additionalProperties": {"type": ["string", "null"], "pattern": f"^{files.OPTION}$"},
        "minProperties": 1,
        "maxProperties": 1,
    }
    part, parts = _structures(Project, _PART)
    chosen = _with_defaults(part, {"anyOf": [{"const": "_self_"}, choice]}, "The option of each group.")
    return {**_head("conf", part), **chosen, "definitions": {"reference": _REFERENCE, **parts}}


def _head(title: str, structure: JsonSchemaValue) -> JsonSchemaValue:
    return {"$schema": DRAFT, "title": title, "description": structure["description"]}


def _with_defaults(structure: JsonSchemaValue, entry: JsonSchemaValue, meaning: str) -> JsonSchemaValue:
    """Return a structure with a defaults list, which Hydra takes out before anything else is read."""
    defaults = {"description": meaning, "type": "array", "items": entry}
    return {**structure, "properties": {"defaults": defaults, **structure["properties"]}}


def _structures(model: type[BaseModel], prefix: str) -> tuple[JsonSchemaValue, dict[str, JsonSchemaValue]]:
    """Return the schema of a structure, and those of the structures inside it, by name."""
    template = f"#/definitions/{prefix}{{model}}"
    content = model.model_json_schema(ref_template=template, schema_generator=_Plain)
    inner = {f"{prefix}{name}": _rewritten(part, prefix) for name, part in content.pop("$defs", {}).items()}
    return _rewritten(content, prefix), inner


def _rewritten(node: JsonSchemaValue, prefix: str) -> JsonSchemaValue:
    """Return a schema in draft 7, with a reference in place of any value, and as a part without what must be there."""
    schema = {("anyOf" if key == "oneOf" else key): value for key, value in node.items() if key != "discriminator"}
    if schema.get("title") == METRIC:
        schema["enum"] = METRICS
    if "pattern" in schema and "title" in schema:
        schema["patternErrorMessage"] = f"expected: {schema['title']}"  # which VS Code and yaml-language-server show
    if schema.get("type") == "array" and "minLength" in schema:  # as pydantic writes it beside a BeforeValidator
        schema["minItems"] = schema.pop("minLength")
    for key in schema.keys() & {"properties", "patternProperties"}:
        schema[key] = {name: _value(value, prefix) for name, value in schema[key].items()}
    for key in schema.keys() & {"items", "additionalProperties"}:
        schema[key] = _value(schema[key], prefix) if isinstance(schema[key], dict) else schema[key]
    if "prefixItems" in schema:
        schema["items"] = [_value(value, prefix) for value in schema.pop("prefixItems")]
    if "anyOf" in schema:
        schema["anyOf"] = [_rewritten(choice, prefix) for choice in schema["anyOf"]]
    if "patternProperties" in schema:
        schema["additionalProperties"] = False
    return {key: value for key, value in schema.items() if not (prefix and key in ("required", "minProperties"))}


def _value(node: JsonSchemaValue, prefix: str) -> JsonSchemaValue:
    """Return the schema of a value, or of a text that refers to another key."""
    schema = _rewritten(node, prefix)
    about = {key: schema.pop(key) for key in _ABOUT if key in schema}
    if schema in ({}, {"type": "string"}):
        return about | schema
    choices = schema["anyOf"] if schema.keys() == {"anyOf"} else [schema]
    return {**about, "anyOf": [*choices, {"$ref": "#/definitions/reference"}]}


if __name__ == "__main__":
    for name, schema in schemas().items():
        write_json(Path(sys.argv[1], f"{name}.json"), schema)
