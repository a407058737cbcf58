"""The reference of conf/, written from the structures that read it, so that it cannot say anything else.

`python -m trunkline.pipeline.compose.reference > docs/conf.md` writes it again; a test says when it is stale.
"""

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from pydantic import BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo

from trunkline.conf.project import Project
from trunkline.core.expressions import FUNCTIONS
from trunkline.core.values import Column, Name, Word
from trunkline.pipeline.evaluate.metrics.registry import REGISTRY

BELOW = "see below"
_WORDS: tuple[tuple[Any, str], ...] = (
    (Name, "name"),
    (Word, "word"),
    (Column, "column"),
    (int, "integer"),
    (float, "number"),
    (str, "text"),
    (bool, "`true` or `false`"),
    (NoneType, "`null`"),
    (Any, "anything"),
)
_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


@dataclass(frozen=True)
class Row:
    """One key: what it is called in conf/, what it takes, and what it means."""

    key: str
    type: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Section:
    """The keys of one structure and its place, such as data.sources.<name>; the outermost has none."""

    path: str
    text: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Function:
    """A function of the expression language."""

    call: str
    meaning: str


def sections(model: type[BaseModel], path: str = "") -> Iterator[Section]:
    """Yield the section of a structure, then those of the structures inside it, in the order of its keys."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    rows = tuple(
        Row(key, describe(_annotation(field)), _default(field), _meaning(field)) for key, field in fields.items()
    )
    yield Section(path, inspect.cleandoc(model.__doc__ or ""), rows)
    for key, field in fields.items():
        for inner_path, inner in _models(f"{path}.{key}".lstrip("."), _annotation(field)):
            yield from sections(inner, inner_path)


def _annotation(field: FieldInfo) -> Any:
    """Put the limits that pydantic takes off a field's type back on."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _meaning(field: FieldInfo) -> str:
    if field.description is None and _is_model(field.annotation):
        return inspect.cleandoc(field.annotation.__doc__ or "")
    return field.description or ""


def _models(path: str, annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the structures that a type holds, with their places; in a union, the place says which kind."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if _is_model(annotation):
        yield path, annotation
    elif origin is dict:
        yield from _models(f"{path}.<{describe(arguments[0])}>", arguments[1])
    elif origin is tuple:
        yield from _models(f"{path}.<number>", arguments[0])
    elif origin in (Union, UnionType):
        for option in map(_bare, arguments):
            kind = option.model_fields.get("kind") if _is_model(option) else None
            yield from _models(f"{path} (kind: {get_args(kind.annotation)[0]})" if kind else path, option)
    elif origin is Annotated and not _titles(arguments):
        yield from _models(path, arguments[0])


def _bare(annotation: Any) -> Any:
    """Return a type without the tag by which a union tells its kinds apart."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def describe(annotation: Any) -> str:
    """Say in words what a type takes, such as `list of column` or `integer, at least 1`."""
    for kind, words in _WORDS:
        if annotation == kind:
            return words
    if _is_model(annotation):
        return BELOW
    if get_origin(annotation) not in _COMPOSED:
        raise TypeError(f"no words for the type {annotation}")
    return _COMPOSED[get_origin(annotation)](*get_args(annotation))


def _annotated(base: Any, *metadata: Any) -> str:
    if NoneType in get_args(base):
        parts = [_annotated(part, *metadata) for part in get_args(base) if part is not NoneType]
        return _either([*parts, describe(NoneType)])
    titles = _titles(metadata)
    return titles[0] if titles else ", ".join([describe(base), *_limits(metadata)])


def _titles(metadata: tuple[Any, ...]) -> list[str]:
    """Return the words for a value that conf/ writes as something else, such as a duration as text."""
    return [item.json_schema["title"] for item in metadata if isinstance(item, WithJsonSchema) and item.json_schema]


def _limits(metadata: tuple[Any, ...]) -> Iterator[str]:
    for item in metadata:
        for attribute, words in _LIMITS.items():
            if hasattr(item, attribute):
                yield f"{words} {getattr(item, attribute)}"
        if pattern := getattr(item, "pattern", None):
            yield f"matching `{pattern}`"
        if length := getattr(item, "min_length", None):
            yield "not empty" if length == 1 else f"at least {length} long"


def _union(*parts: Any) -> str:
    return BELOW if all(map(_is_model, map(_bare, parts))) else _either([describe(part) for part in parts])


def _either(parts: list[str]) -> str:
    comma = "," if any("," in part for part in parts) else ""
    return f"{', '.join(parts[:-1])}{comma} or {parts[-1]}" if len(parts) > 1 else parts[0]


_COMPOSED: dict[Any, Callable[..., str]] = {
    Annotated: _annotated,
    Literal: lambda *values: _either([f"`{value}`" for value in values]),
    Union: _union,
    UnionType: _union,
    tuple: lambda item, *_: f"list of {describe(item)}",
    dict: lambda name, value: f"one per {describe(name)}: {describe(value)}",
}


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "as below"
    return f"`{value if isinstance(value, str) and value else json.dumps(value)}`"


def functions() -> list[Function]:
    """Return the functions of the expression language, by name."""
    return [
        Function(f"{name}({', '.join('abcd'[: operation.arity])})", operation.help)
        for name, operation in sorted(FUNCTIONS.items())
    ]


def render() -> str:
    """Return docs/conf.md."""
    environment = Environment(
        loader=PackageLoader("trunkline.pipeline.compose", ""),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda text: re.sub(r"\s+", " ", text).replace("|", r"\|")
    template = environment.get_template("reference.md.j2")
    metrics = [(task, metric) for task, metrics in REGISTRY.items() for metric in metrics.values()]
    return template.render(sections=sections(Project), functions=functions(), metrics=metrics)


if __name__ == "__main__":
    sys.stdout.write(render())
