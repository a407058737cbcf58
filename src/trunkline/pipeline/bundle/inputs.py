"""What a bundle declares to its callers: which inputs it takes, and what each of them can be.

An input that is a column of a table, unchanged, is held to that column's contract; what is computed from columns
is held to what follows from them. Anything else is left open, since the model takes missing values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from trunkline.bundle.contract import Input
from trunkline.conf.contract import ColumnContract, Contract
from trunkline.conf.data.sources import Files, Package, Source
from trunkline.conf.features import Aggregate, Features, Latest, Lookup, Rolling, RowExpression, View
from trunkline.core.expressions import Column, Type, infer, parse
from trunkline.core.values import duration_text
from trunkline.pipeline.features.plan import (
    FeaturePlan,
    LatestAsOf,
    RollingAggregate,
)


@dataclass(frozen=True)
class _Values:
    """What a feature's values can be."""

    description: str
    nullable: bool = True
    min: float | None = None
    max: float | None = None
    allowed: tuple[str | int, ...] | None = None
    pattern: str | None = None
    nulls: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Tables:
    """The tables that the plan reads: what conf/contract says of their columns, and conf/data of their texts."""

    plan: FeaturePlan
    contract: Contract
    sources: Mapping[str, Source]


def inputs(features: Features, plan: FeaturePlan, contract: Contract, sources: Mapping[str, Source]) -> list[Input]:
    """Return what each input of the model must be, in the order of the plan's outputs."""
    views = {name: view for view in features.views.values() for name in view.features}
    tables = _Tables(plan, contract, sources)
    return [_input(output.name, output.role, views[output.name], tables) for output in plan.outputs]


def _input(name: str, role: Literal["numeric", "categorical"], view: View, tables: _Tables) -> Input:
    values = _values(name, view, tables)
    own: Any = tables.plan.types[name]
    kind: Any = "text" if role == "categorical" else own
    texts = None if values.allowed is None else [str(v) if role == "categorical" else v for v in values.allowed]
    limited = role == "numeric"
    return Input(
        name=name,
        role=role,
        type=kind,
        nullable=values.nullable,
        description=values.description,
        min=values.min if limited else None,
        max=values.max if limited else None,
        allowed=texts,
        pattern=values.pattern,
        nulls=None if values.nulls is None else list(values.nulls),
        category_of=own if role == "categorical" and own != "text" else None,
    )


def _values(name: str, view: View, tables: _Tables) -> _Values:
    plan, contract, sources = tables.plan, tables.contract, tables.sources
    if isinstance(view, Rolling):
        return _aggregated(view, view.features[name], _events(plan, view.stream), contract)
    source = view.features[name]
    if isinstance(view, RowExpression):
        table = plan.request.table
        column = _column(source, table, contract)
        return _same_as(column, column.nullable, sources[table]) if column else _Values(source)
    table, how = _origin(view, plan)
    column = _column(source, table, contract)
    values = _same_as(column, True, sources[table]) if column else _Values(source)
    return replace(values, description=f"{values.description}; {how} by {', '.join(view.keys)}")


def _origin(view: Latest | Lookup, plan: FeaturePlan) -> tuple[str, str]:
    """Return the table that a view's values come from, and how they are found in words."""
    if isinstance(view, Lookup):
        return view.table, f"from {view.table}"
    age = "" if view.max_age is None else f", at most {duration_text(view.max_age)} old,"
    return _events(plan, view.stream), f"the latest of {view.stream}{age}"


def _aggregated(view: Rolling, aggregate: Aggregate, table: str, contract: Contract) -> _Values:
    what = f" of {aggregate.of}" if aggregate.of else f" of {view.stream}"
    words = f"{aggregate.aggregate}{what}, last {duration_text(view.window)} by {', '.join(view.keys)}"
    if aggregate.aggregate == "count":
        return _Values(words, nullable=False, min=0)
    if aggregate.aggregate == "sum" or aggregate.of is None:
        return _Values(words)
    low, high = _limits(aggregate.of, table, contract)
    default = [] if aggregate.default is None else [aggregate.default]
    return _Values(
        words, min=None if low is None else min([low, *default]), max=None if high is None else max([high, *default])
    )


def _limits(source: str, table: str, contract: Contract) -> tuple[float | None, float | None]:
    """Return between which numbers the mean of an operand is."""
    types: dict[str, Type] = {name: column.type for name, column in contract.tables[table].columns.items()}
    if infer(parse(source), types) == "boolean":
        return 0, 1
    column = _column(source, table, contract)
    return (column.min, column.max) if column else (None, None)


def _events(plan: FeaturePlan, stream: str) -> str:
    """Return the table of a stream that a view of the plan reads."""
    streams = (part.events for part in plan.primitives if isinstance(part, LatestAsOf | RollingAggregate))
    return next(events.table for events in streams if events.name == stream)


def _column(source: str, table: str, contract: Contract) -> ColumnContract | None:
    """Return the column that an expression is, unchanged; None if it is anything else."""
    expression = parse(source)
    return contract.tables[table].columns.get(expression.name) if isinstance(expression, Column) else None


def _same_as(column: ColumnContract, nullable: bool, source: Source) -> _Values:
    nulls = source.nulls if isinstance(source, Package | Files) and source.format == "csv" else None
    return _Values(column.description, nullable, column.min, column.max, column.allowed, column.pattern, nulls)
