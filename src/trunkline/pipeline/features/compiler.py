"""From conf/features to a feature plan, checked against the contract.

Leakage is refused here, where it would be declared: a request has only the columns that the contract marks as known
at request time; everything else comes through a stream, which says when it becomes available.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Aggregate, Features, Latest, Lookup, Rolling, RowExpression
from trunkline.core import expressions
from trunkline.core.errors import UserError, nearest
from trunkline.core.expressions import Expression, Type
from trunkline.core.features import EVENT_TIME, Feature
from trunkline.core.tasks import Task
from trunkline.pipeline.features import availability
from trunkline.pipeline.features.plan import (
    Aggregation,
    Events,
    FeaturePlan,
    LatestAsOf,
    Named,
    Primitive,
    Request,
    RollingAggregate,
    StaticLookup,
)

_LABELS: dict[Task, tuple[Type, ...]] = {
    "binary": ("boolean",),
    "multiclass": ("text", "integer"),
    "ordinal": ("text", "integer"),
    "regression": ("number", "integer"),
    "count": ("integer", "number"),
    "quantile": ("number", "integer"),
    "ranking": ("integer", "number"),
    "multilabel": ("integer",),
}


def request_types(data: Data, contract: Contract) -> dict[str, Type]:
    """Types of what is known when a prediction is asked for: the request's columns, and event_time if there is one.

    Raises UserError for an unknown table of observations or a column with a reserved name.
    """
    columns = column_types(contract, data.observations, "data.observations")
    declared = contract.tables[data.observations].columns
    requested: dict[str, Type] = {name: column for name, column in columns.items() if declared[name].known == "request"}
    return {**requested, EVENT_TIME: "time"} if data.event_time is not None else requested


def column_types(contract: Contract, name: str, key: str) -> dict[str, Type]:
    """Types of a table's columns; `key` is the place in conf/ to blame where there is no such table."""
    if name not in contract.tables:
        raise UserError(f"{key}: no table '{name}' in the contract{nearest(name, contract.tables)}")
    for column in contract.tables[name].columns:
        if column == EVENT_TIME:
            raise UserError(f"contract.tables.{name}.columns.{column}: the name is reserved; rename the column")
    return {column: declared.type for column, declared in contract.tables[name].columns.items()}


def plan(features: Features, data: Data, contract: Contract) -> FeaturePlan:
    """Check the declaration and compile it; features are ordered by name, so that moving a line changes nothing.

    Raises UserError naming the key in conf/features for an unknown table, stream or column, operands that do not
    fit, a column that is known only later, or a name that is taken.
    """
    return _Planner(features, data, contract).plan()


@contextmanager
def _at(key: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise UserError(f"{key}: {error}") from None


def _need(expected: Type, expression: Expression, types: Mapping[str, Type]) -> None:
    inferred = expressions.infer(expression, types)
    if inferred != expected:
        raise ValueError(f"must be a {expected}, is {inferred or 'always missing'}")


class _Planner:
    """Holds the declaration, and the types of the request and of the features planned so far."""

    def __init__(self, features: Features, data: Data, contract: Contract) -> None:
        self.features, self.data, self.contract = features, data, contract
        self.request_types = request_types(data, contract)
        self.types = dict(self.request_types)

    def plan(self) -> FeaturePlan:
        request = self._request()
        events = {name: self._events(name) for name in self.features.streams}
        primitives = tuple(
            self._primitive(name, view, events)
            for name, view in sorted(self.features.views.items())
            if not isinstance(view, RowExpression)
        )
        rows = self._rows()
        whole = FeaturePlan(request, primitives, rows, self._outputs(), dict(self.types), self.data.timezone)
        availability.refuse_provable(whole)
        return whole

    def _request(self) -> Request:
        data, columns = self.data, self._columns(self.data.observations, "data.observations")
        self._need_in_request("data.unique_key", data.unique_key)
        self._need_in_request("data.target.group", data.target.group)
        self._need_in_request("data.split.by", data.split_by if data.split else ())
        event_time = expressions.parse(data.event_time) if data.event_time is not None else None
        with _at("data.event_time"):
            if event_time is not None:
                self._refuse_outcomes(event_time, data.observations)
                _need("time", event_time, columns)
        for name, source in (data.target.labels or {}).items():
            with _at(f"data.target.labels.{name}"):
                _need("boolean", expressions.parse(source), columns)
        with _at("data.target.expression"):
            label, allowed = expressions.parse(data.target.expression), _LABELS[data.target.task]
            inferred = expressions.infer(label, columns)
            if inferred not in allowed:
                needed = f"a {' or '.join(allowed)} for {data.target.task}"
                raise ValueError(f"must be {needed}, is {inferred or 'always missing'}")
        if data.target.name in columns:
            raise UserError(
                f"data.target.name: '{data.target.name}' is a column of {data.observations}; choose another"
            )
        requested = tuple(sorted(self.request_types.keys() - {EVENT_TIME}))
        return Request(data.observations, requested, data.unique_key, event_time, data.prediction_lead)

    def _need_in_request(self, key: str, names: Iterable[str]) -> None:
        """Refuse columns of a row's identity that nobody has when the prediction is made."""
        declared = self.contract.tables[self.data.observations].columns
        with _at(key):
            for name in names:
                if name in declared and declared[name].known == "outcome":
                    raise ValueError(
                        f"column '{name}' is known only after the prediction, and a row is told by what is known "
                        "before: name other columns, or correct `known` in conf/contract"
                    )
                expressions.infer(expressions.Column(name), self.request_types)

    def _events(self, name: str) -> Events:
        stream, key = self.features.streams[name], f"features.streams.{name}"
        if self.data.event_time is None:
            raise UserError(f"{key}: is of events in time, but rows have none: declare data.event_time, or remove it")
        columns = self._columns(stream.table, f"{key}.table")
        self._refuse_copy(stream.table, f"{key}.table")
        event_time, available_at = expressions.parse(stream.event_time), expressions.parse(stream.available_at)
        with _at(f"{key}.event_time"):
            _need("time", event_time, columns)
        with _at(f"{key}.available_at"):
            _need("time", available_at, {**columns, EVENT_TIME: "time"})
        return Events(name, stream.table, self.contract.tables[stream.table].unique, event_time, available_at)

    def _primitive(self, name: str, view: Latest | Rolling | Lookup, events: Mapping[str, Events]) -> Primitive:
        key = f"features.views.{name}"
        if isinstance(view, Lookup):
            return self._lookup(name, view, key)
        stream = events[view.stream]
        columns = self._columns(stream.table, key)
        with _at(f"{key}.keys"):
            self._check_keys(view.keys, columns, stream.table)
        if isinstance(view, Latest):
            named = self._named(view.features, {**columns, EVENT_TIME: "time"}, key)
            return LatestAsOf(name, stream, view.keys, view.max_age, named)
        aggregations = tuple(
            self._aggregation(feature, aggregate, columns, f"{key}.features.{feature}")
            for feature, aggregate in sorted(view.features.items())
        )
        return RollingAggregate(name, stream, view.keys, view.window, aggregations)

    def _lookup(self, name: str, view: Lookup, key: str) -> StaticLookup:
        columns = self._columns(view.table, f"{key}.table")
        self._refuse_copy(view.table, f"{key}.table")
        unique = self.contract.tables[view.table].unique
        with _at(f"{key}.table"):
            if view.table == self.data.observations or any(columns[column] == "time" for column in unique):
                raise ValueError(f"{view.table} holds events, not static rows; declare a stream of it")
        with _at(f"{key}.keys"):
            self._check_keys(view.keys, columns, view.table)
            if set(view.keys) != set(unique):
                raise ValueError(f"a lookup needs exactly the unique columns of {view.table}: {', '.join(unique)}")
        for feature, source in view.features.items():
            with _at(f"{key}.features.{feature}"):
                self._refuse_outcomes(expressions.parse(source), view.table)
        return StaticLookup(name, view.table, view.keys, self._named(view.features, columns, key))

    def _aggregation(self, name: str, aggregate: Aggregate, columns: Mapping[str, Type], key: str) -> Aggregation:
        operand = expressions.parse(aggregate.of) if aggregate.of is not None else None
        with _at(key):
            self._refuse_taken(name)
            if operand and expressions.infer(operand, columns) not in ("integer", "number", "boolean"):
                raise ValueError("`of` must be a number or a boolean")
            self._define(name, "integer" if aggregate.aggregate == "count" else "number")
        return Aggregation(name, aggregate.aggregate, operand, aggregate.default)

    def _named(self, features: Mapping[str, str], scope: Mapping[str, Type], key: str) -> Named:
        compiled = []
        for name, source in sorted(features.items()):
            with _at(f"{key}.features.{name}"):
                self._refuse_taken(name)
                expression = expressions.parse(source)
                self._define(name, expressions.infer(expression, scope))
                compiled.append((name, expression))
        return tuple(compiled)

    def _rows(self) -> Named:
        declared = {
            name: (expressions.parse(source), f"features.views.{view_name}.features.{name}")
            for view_name, view in self.features.views.items()
            if isinstance(view, RowExpression)
            for name, source in view.features.items()
        }
        definitions = {name: expression for name, (expression, _) in declared.items()}
        scope, rows = dict(self.types), []
        for name, (expression, key) in sorted(declared.items()):
            with _at(key):
                self._refuse_taken(name, copied=expression == expressions.Column(name))
                self._refuse_outcomes(expression, self.data.observations)
                self._refuse_unknown(expression, {*scope, *definitions})
                inlined = expressions.substitute(expression, definitions)
                self._define(name, expressions.infer(inlined, scope))
                rows.append((name, inlined))
        return tuple(rows)

    def _outputs(self) -> tuple[Feature, ...]:
        names = sorted({name for view in self.features.views.values() for name in view.features})
        visible = [name for name in names if name not in self.features.hidden]
        if not visible:
            raise UserError("features.views: no feature is left for a model; declare one or unhide one")
        outputs = []
        for name in visible:
            kind = self.types[name]
            if kind in ("time", "duration"):
                raise UserError(f"features.hidden: feature '{name}' is a {kind}, which no model can read; hide it")
            categorical = kind == "text" or name in self.features.categorical
            outputs.append(Feature(name, "categorical" if categorical else "numeric"))
        return tuple(outputs)

    def _define(self, name: str, inferred: Type | None) -> None:
        if inferred is None:
            raise ValueError("is always missing")
        self.types[name] = inferred

    def _refuse_taken(self, name: str, copied: bool = False) -> None:
        """Only a feature that is a column of the request, unchanged, may have its name."""
        taken = {*self.contract.tables[self.data.observations].columns, EVENT_TIME, self.data.target.name}
        if name in taken and not copied:
            raise ValueError(
                f"the name '{name}' is a column's of {self.data.observations} or the label's; choose another"
            )

    def _refuse_unknown(self, expression: Expression, names: set[str]) -> None:
        for name in expressions.columns(expression):
            if name not in names:
                raise ValueError(f"no column or feature '{name}'{nearest(name, names)}")

    def _check_keys(self, keys: Sequence[str], columns: Mapping[str, Type], table: str) -> None:
        for name in keys:
            self._refuse_outcomes(expressions.Column(name), self.data.observations)
            requested = expressions.infer(expressions.Column(name), self.request_types)
            if name not in columns:
                raise ValueError(f"table {table} has no column '{name}'{nearest(name, columns)}")
            if columns[name] != requested:
                raise ValueError(f"'{name}' is {requested} in the request and {columns[name]} in {table}")

    def _refuse_copy(self, table: str, key: str) -> None:
        """Refuse the observations by another name: a row could see itself in its copy."""
        observed, sources = self.data.observations, self.data.sources
        if table != observed and table in sources and sources[table] == sources[observed]:
            raise UserError(f"{key}: {table} has the same source as {observed}; name {observed}, and declare a stream")

    def _refuse_outcomes(self, expression: Expression, table: str) -> None:
        columns = self.contract.tables[table].columns
        for name in expressions.columns(expression):
            if name in columns and columns[name].known == "outcome":
                raise ValueError(
                    f"column '{name}' is known only after the prediction; read it through a stream, "
                    "which says when it becomes available"
                )

    def _columns(self, table: str, key: str) -> dict[str, Type]:
        return column_types(self.contract, table, key)
