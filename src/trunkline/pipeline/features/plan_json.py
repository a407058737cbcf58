"""The plan of features as JSON, and back: features.json of a bundle."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from trunkline.core.expressions import Call, Column, Constant, Expression
from trunkline.core.features import Feature
from trunkline.core.values import duration_text, parse_duration
from trunkline.pipeline.features.plan import (
    Aggregation,
    Events,
    FeaturePlan,
    LatestAsOf,
    Named,
    Request,
    RollingAggregate,
    StaticLookup,
)

_PRIMITIVES = {"latest": LatestAsOf, "rolling": RollingAggregate, "lookup": StaticLookup}
_KINDS = {kind: name for name, kind in _PRIMITIVES.items()}


def plan_content(plan: FeaturePlan) -> dict[str, Any]:
    """Return a feature plan as JSON content: kinds and operations by name, durations as in conf/."""
    content: dict[str, Any] = _content(plan)
    return content


def plan_of(content: Mapping[str, Any]) -> FeaturePlan:
    """Return the plan of what `plan_content` has made, read back from JSON."""
    return FeaturePlan(
        request=_read(Request, content["request"]),
        primitives=tuple(_read(_PRIMITIVES[part["kind"]], part) for part in content["primitives"]),
        rows=_named(content["rows"]),
        outputs=tuple(Feature(**feature) for feature in content["outputs"]),
        types=dict(content["types"]),
        timezone=content["timezone"],
    )


def _read(kind: type[Any], content: Mapping[str, Any]) -> Any:
    """Make a dataclass of a plan; what a field holds is known by its name, or is plain."""
    return kind(**{field.name: _FIELDS.get(field.name, _plain)(content[field.name]) for field in fields(kind)})


def _named(content: Iterable[tuple[str, Mapping[str, Any]]]) -> Named:
    return tuple((name, expression_of(expression)) for name, expression in content)


def _features_of(content: Iterable[Any]) -> Any:
    """Return aggregations, which are objects, or named expressions, which are pairs."""
    values = tuple(content)
    aggregations = tuple(_read(Aggregation, item) for item in values if isinstance(item, Mapping))
    return aggregations or _named(values)


def expression_of(content: Mapping[str, Any] | None) -> Any:
    """Return the expression of what `expression_content` has made; None for none."""
    if content is None:
        return None
    if "column" in content:
        return Column(content["column"])
    if "constant" in content:
        return Constant(content["constant"])
    return Call(content["call"], tuple(map(expression_of, content["operands"])))


def _duration_of(content: str | None) -> timedelta | None:
    return None if content is None else parse_duration(content)


def _plain(content: Any) -> Any:
    return tuple(content) if isinstance(content, list) else content


def _content(value: Any) -> Any:
    if isinstance(value, Constant | Column | Call):
        return expression_content(value)
    if is_dataclass(value):
        kind = {"kind": _KINDS[type(value)]} if type(value) in _KINDS else {}
        return kind | {field.name: _content(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: _content(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_content(item) for item in value]
    return duration_text(value) if isinstance(value, timedelta) else value


def expression_content(value: Expression) -> dict[str, Any]:
    """Return an expression as JSON content."""
    match value:
        case Constant():
            return {"constant": value.value}
        case Column():
            return {"column": value.name}
        case Call():
            return {"call": value.operation, "operands": [expression_content(operand) for operand in value.operands]}


_FIELDS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("event_time", "available_at", "operand"), expression_of),
    **dict.fromkeys(("lead", "max_age", "window"), _duration_of),
    "events": partial(_read, Events),
    "features": _features_of,
}
