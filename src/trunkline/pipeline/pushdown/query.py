"""The feature plan as one query over tables that have the types of conf/contract: `trunkline plan --sql`.

It is `trunkline.pipeline.features.duckdb`'s reading of the plan, which remains what decides: requests of the windows,
and for each view one step that adds its features. What that reading takes from `validate`, the query sees to by itself:
where rows that must be unique are not, so that events have no total order, it fails and names the views. Rows are known
by their unique columns, where DuckDB numbers them.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.core import expressions
from trunkline.core.errors import UserError
from trunkline.core.expressions import Type
from trunkline.core.features import EVENT_TIME
from trunkline.pipeline.features import split
from trunkline.pipeline.features.compiler import column_types
from trunkline.pipeline.features.plan import (
    Aggregation,
    Events,
    FeaturePlan,
    LatestAsOf,
    Primitive,
    RollingAggregate,
    Span,
    StaticLookup,
)
from trunkline.pipeline.pushdown.dialects import Dialect
from trunkline.pipeline.pushdown.names import refuse_names
from trunkline.pipeline.pushdown.steps import Steps

PART = "_part"  # the column that says of each row whether it is of train or of holdout


def compiled(plan: FeaturePlan, data: Data, contract: Contract, dialect: Dialect) -> str:
    """Return the query, which ends with a line feed; its rows are those of data/features, in no order.

    Columns: `_part`, which is train or holdout, then those of data/features. Raises UserError that names the key of
    conf/ for an operation, a name, a key or a split that the dialect has no exact counterpart of.
    """
    if data.window is None:
        raise UserError(
            "data.split: a part by a hash is not translated, since engines write values as texts differently; declare "
            "data.window, or compute features with `dvc repro`"
        )
    refuse_names(plan, data, contract, dialect)
    return _Query(plan, data, contract, dialect).text()


def _micros(length: timedelta) -> str:
    return str(length // timedelta(microseconds=1))


class _Query(Steps):
    """The views as steps over those tables and streams, and what is selected of them."""

    def text(self) -> str:
        requests = self._requests()
        views = [self._view(view, requests) for view in self.plan.primitives]
        joins = "".join(f"\n  LEFT JOIN {view} ON {self._is_of(view)}" for view in views)
        types = dict(self.plan.types)
        rows = {
            name: self._sql(expression, types, f"features.views (feature {name})")
            for name, expression in self.plan.rows
        }
        names = self.plan.written([self.data.target.name])
        selected = [f"{rows.get(name, self._name(name))} AS {self._name(name)}" for name in names]
        steps = ",\n".join(f"{name} AS (\n  {body}\n)" for name, body in self.steps.items())
        state = " Untried: no such engine was there to run it." if self.dialect.untried else ""
        columns = ",\n  ".join([self._name(PART), *selected])
        return (
            f"-- The features of conf/, for {self.dialect.title}.{state}\n"
            "-- Tables have the columns and types of conf/contract; a time is a timestamp without a zone, in UTC.\n"
            f"WITH {steps}\nSELECT\n  {columns}\nFROM {requests} AS request{joins}\n"
        )

    def _requests(self) -> str:
        """Add the observations of both windows that have a label."""
        request, label = self.plan.request, self.data.target.name
        types = column_types(self.contract, request.table, "data.observations")
        assert request.event_time is not None and request.lead is not None  # noqa: S101, PT018  as data.window asks for
        time = self._sql(request.event_time, types, "data.event_time")
        target = self._sql(expressions.parse(self.data.target.expression), types, "data.target.expression")
        parts = " ".join(f"WHEN {self._within(part)} THEN '{part.name}'" for part in split.periods(self.data))
        now = self.dialect.shifted(self._name(EVENT_TIME), f"-{_micros(request.lead)}")
        table = self._table(request.table)
        observed = f"SELECT *, {time} AS {self._name(EVENT_TIME)}, {target} AS {self._name(label)} FROM {table}"
        return self._add(
            "requests",
            self._unique(
                f"(SELECT *, {now} AS {self._name('_now')}, CASE {parts} END AS {self._name(PART)}\n"
                f"      FROM ({observed}) AS observed) AS labelled\n"
                f"    WHERE {self._name(PART)} IS NOT NULL AND {self._name(label)} IS NOT NULL",
                "*",
                self._unique_columns,
                request.table,
                "data.observations",
                f"several rows of {request.table}",
            ),
        )

    @property
    def _unique_columns(self) -> tuple[str, ...]:
        return self.contract.tables[self.plan.request.table].unique

    @property
    def _kept(self) -> str:
        """Return what tells whose features a view's row has."""
        return ", ".join(f"seen.{self._name(name)} AS _key{i}" for i, name in enumerate(self._unique_columns))

    def _is_of(self, view: str) -> str:
        """Return that the features of a view are of a request."""
        same = (self._equal(name, self.plan.request.table) for name in self._unique_columns)
        pairs = zip(self._unique_columns, same, strict=True)
        return " AND ".join(f"request.{self._name(name)} {how} {view}._key{i}" for i, (name, how) in enumerate(pairs))

    def _within(self, part: split.PartRows) -> str:
        span, time = part.usable, self._name(EVENT_TIME)
        assert isinstance(span, Span)  # noqa: S101  as data.window gives
        return f"{time} >= {self._instant(span.start)} AND {time} < {self._instant(span.end)}"

    def _view(self, view: Primitive, requests: str) -> str:
        match view:
            case LatestAsOf():
                return self._latest(view, requests)
            case RollingAggregate():
                return self._rolling(view, requests)
            case StaticLookup():
                return self._lookup(view, requests)

    def _latest(self, view: LatestAsOf, requests: str) -> str:
        """Add the last event that each request knows: of its own row, the last but one; as DuckDB's `_latest`."""
        keys, known, at = self._names(view.keys), self._name("_known"), self._name(EVENT_TIME)
        types: dict[str, Type] = {**column_types(self.contract, view.events.table, "contract"), EVENT_TIME: "time"}
        key = f"features.views.{view.name}.features"
        values = [
            f"{self._sql(expression, types, f'{key}.{name}')} AS {self._name(f'_value{i}')}"
            for i, (name, expression) in enumerate(view.features)
        ]
        order = ", ".join([at, known, *(f"{self._name(name)} NULLS FIRST" for name in view.events.unique)])
        place, last, second = (self._name(f"{what}_{view.name}") for what in ("_place", "_last", "_second"))
        placed = self._add(
            f"placed_{view.name}",
            f"SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {order}) AS {place} FROM "
            f"({self._events(view, [at, known, *values])}) AS event",
        )
        state = self._last_known(view, placed)
        fresh = "TRUE"
        if view.max_age:
            oldest = self.dialect.shifted(f"seen.{self._name('_now')}", f"-{_micros(view.max_age)}")
            fresh = f"event.{at} >= {oldest}"
        picked = [
            f"CASE WHEN {fresh} THEN event.{self._name(f'_value{i}')} END AS {self._name(name)}"
            for i, (name, _) in enumerate(view.features)
        ]
        own, which = self._own(view.events, placed), f"seen.{last}"
        if own:
            which = f"CASE WHEN seen.{last} = own.{place} THEN seen.{second} ELSE seen.{last} END"
        return self._add(
            f"with_{view.name}",
            f"SELECT {self._kept}, {', '.join(picked)}\n"
            f"  FROM ({self._asof(requests, state, view, known, (last, second))}) AS seen{own}\n"
            f"  LEFT JOIN {placed} AS event ON {self._same('seen', 'event', view.keys)} AND event.{place} = {which}",
        )

    def _last_known(self, view: LatestAsOf, placed: str) -> str:
        """Add, for each instant at which events became known, the places of the last event and of the last but one."""
        keys, known = self._names(view.keys), self._name("_known")
        place, last, second = (self._name(f"{what}_{view.name}") for what in ("_place", "_last", "_second"))
        arriving = f"PARTITION BY {keys} ORDER BY {known}, {place}"
        running = self._add(
            f"running_{view.name}",
            f"SELECT *, max({place}) OVER ({arriving} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS _last,\n"
            f"    max({place}) OVER ({arriving} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS _before\n"
            f"  FROM {placed}",
        )
        overtaken = f"CASE WHEN _before IS NULL THEN NULL WHEN {place} < _before THEN {place} ELSE _before END"
        return self._add(
            f"state_{view.name}",
            f"SELECT {keys}, {known}, max(_last) AS {last}, max(_overtaken) AS {second} FROM (\n"
            f"    SELECT *, max({overtaken}) OVER ({arriving} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) "
            f"AS _overtaken\n    FROM {running}) AS overtaken\n  GROUP BY {keys}, {known}",
        )

    def _rolling(self, view: RollingAggregate, requests: str) -> str:
        """Add sums of what entered less what left, as DuckDB's `_rolling`."""
        known, types = self._name("_known"), column_types(self.contract, view.events.table, "contract")
        sums = {
            name: value
            for i, each in enumerate(view.features)
            for name, value in zip(
                (self._name(f"_sum{i}_{view.name}"), self._name(f"_count{i}_{view.name}")),
                self._operand(each, types, view.name),
                strict=True,
            )
        }
        timed = self._timed(view, sums)
        state = self._running(view, sums, timed)
        own, now = self._own(view.events, timed), f"seen.{self._name('_now')}"
        inside = f"own.{known} < {now} AND own._leaves >= {now}"
        others = {
            name: f"(seen.{name} - CASE WHEN {inside} THEN own.{name} ELSE 0 END)" if own else f"seen.{name}"
            for name in sums
        }
        pairs = list(others.values())
        results = [
            self._aggregate(each, total, count)
            for each, total, count in zip(view.features, pairs[::2], pairs[1::2], strict=True)
        ]
        return self._add(
            f"with_{view.name}",
            f"SELECT {self._kept}, {', '.join(results)}\n"
            f"  FROM ({self._asof(requests, state, view, '_at', tuple(sums))}) AS seen{own}",
        )

    def _timed(self, view: RollingAggregate, sums: Mapping[str, str]) -> str:
        """Add the events of a view with what is summed of them, when each enters and when it leaves."""
        known, at = self._name("_known"), self._name(EVENT_TIME)
        left = self.dialect.shifted(at, _micros(view.window))
        leaves = f"CASE WHEN {left} > {known} THEN {left} ELSE {known} END AS _leaves"
        values = [f"{value} AS {name}" for name, value in sums.items()]
        return self._add(f"timed_{view.name}", self._events(view, [at, known, leaves, *values]))

    def _running(self, view: RollingAggregate, sums: Iterable[str], timed: str) -> str:
        """Add, for each instant at which something enters or leaves, the sums from then on."""
        keys = self._names(view.keys)
        exits = ", ".join(f"-{name} AS {name}" for name in sums)
        running = ", ".join(
            f"sum(sum({name})) OVER (PARTITION BY {keys} ORDER BY _at ROWS UNBOUNDED PRECEDING) AS {name}"
            for name in sums
        )
        return self._add(
            f"state_{view.name}",
            f"SELECT {keys}, _at, {running} FROM (\n"
            f"    SELECT {keys}, {self._name('_known')} AS _at, {', '.join(sums)} FROM {timed}\n"
            f"    UNION ALL SELECT {keys}, _leaves AS _at, {exits} FROM {timed}) AS step\n"
            f"  GROUP BY {keys}, _at",
        )

    def _lookup(self, view: StaticLookup, requests: str) -> str:
        """Add the values of the one row that has the request's key."""
        types, key = column_types(self.contract, view.table, "contract"), f"features.views.{view.name}.features"
        values = [
            f"{self._sql(expression, types, f'{key}.{name}')} AS {self._name(f'_value{i}')}"
            for i, (name, expression) in enumerate(view.features)
        ]
        columns = ", ".join([self._names(view.keys), *values])
        what = f"several rows of {view.table}"
        event = self._add(
            f"values_{view.name}",
            self._unique(self._table(view.table), columns, view.keys, view.table, f"features.views.{view.name}", what),
        )
        picked = [
            f"event.{self._name(f'_value{i}')} AS {self._name(name)}" for i, (name, _) in enumerate(view.features)
        ]
        return self._add(
            f"with_{view.name}",
            f"SELECT {self._kept}, {', '.join(picked)}\n"
            f"  FROM {requests} AS seen LEFT JOIN {event} AS event ON {self._same('seen', 'event', view.keys)}",
        )

    def _events(self, view: LatestAsOf | RollingAggregate, columns: Iterable[str]) -> str:
        """Return the events of entities, with what makes each unique."""
        self._refuse_numbers(view.keys, view.events.table, f"features.views.{view.name}")
        taken = [*dict.fromkeys(map(self._name, (*view.keys, *view.events.unique))), *columns]
        present = " AND ".join(f"{self._name(name)} IS NOT NULL" for name in view.keys)
        return f"SELECT {', '.join(taken)} FROM {self._stream(view.events)} WHERE {present}"

    def _own(self, events: Events, table: str) -> str:
        """Return the join of the event of the request's own row; nothing where a stream is of another table."""
        if events.table != self.plan.request.table:
            return ""
        return f"\n  LEFT JOIN {table} AS own ON {self._same('seen', 'own', events.unique, events.table)}"

    def _asof(
        self, requests: str, state: str, view: LatestAsOf | RollingAggregate, at: str, picked: tuple[str, ...]
    ) -> str:
        """Return the requests with the state of their entity that was the last before the prediction."""
        now, keys = self._name("_now"), self._names(view.keys)
        selected = ", ".join(f"event.{name} AS {name}" for name in picked)
        if self.dialect.asof:
            return (
                f"SELECT request.*, {selected} FROM {requests} AS request\n"
                f"    {self.dialect.asof} {state} AS event MATCH_CONDITION (request.{now} > event.{at})\n"
                f"    ON {self._same('request', 'event', view.keys)}"
            )
        # Without such a join: requests and states in one order of time, requests first, and the last state so far.
        return (
            f"SELECT request.*, {selected} FROM (\n"
            f"    SELECT _side, request, LAST_VALUE(event IGNORE NULLS) OVER (PARTITION BY {keys} ORDER BY _at, _side\n"
            f"      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS event FROM (\n"
            f"        SELECT {keys}, {now} AS _at, 0 AS _side, request, NULL AS event FROM {requests} AS request\n"
            f"        UNION ALL SELECT {keys}, {at}, 1, NULL, event FROM {state} AS event))\n"
            f"    WHERE _side = 0"
        )

    def _operand(self, each: Aggregation, types: Mapping[str, Type], view: str) -> tuple[str, str]:
        """Return what is summed and what is counted of a row: a missing value is none."""
        decimal = self.dialect.types["decimal"]
        if each.operand is None:
            return f"CAST(1 AS {decimal})", "1"
        value = self._sql(each.operand, types, f"features.views.{view}.features.{each.name}")
        if expressions.infer(each.operand, types) == "boolean":
            value = f"CASE WHEN {value} THEN 1 WHEN NOT {value} THEN 0 END"
        exact = f"CAST({value} AS {decimal})"
        return f"coalesce({exact}, CAST(0 AS {decimal}))", f"CASE WHEN {exact} IS NULL THEN 0 ELSE 1 END"

    def _aggregate(self, each: Aggregation, total: str, count: str) -> str:
        integer, number = self.dialect.types["integer"], self.dialect.types["number"]
        name, counted = self._name(each.name), f"coalesce({count}, 0)"
        if each.function == "count":
            return f"CAST({counted} AS {integer}) AS {name}"
        empty = self.dialect.literal(0.0) if each.function == "sum" else "NULL"
        default = empty if each.default is None else self.dialect.literal(float(each.default))
        value = f"CAST({total} AS {number})"
        if each.function == "mean":
            value = f"{value} / NULLIF(CAST({counted} AS {number}), 0)"
        return f"CASE WHEN {counted} = 0 THEN {default} ELSE {value} END AS {name}"

    def _instant(self, moment: datetime) -> str:
        return f"CAST('{moment.isoformat(sep=' ')}' AS {self.dialect.types['time']})"
