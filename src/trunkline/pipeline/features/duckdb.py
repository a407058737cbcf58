"""The feature plan in DuckDB: ASOF joins over events in order of availability, and running sums in exact decimals.

Three facts carry the engine. An event is visible to a prediction when it became available strictly before it, and no
event is available before it happens, whatever the data say. And the events of a rolling window that are visible at T
are those that entered before T less those that left before T, where an event enters when it becomes available and
leaves at `max(available_at, event_time + window)`; so one running sum over entries and exits, looked up by one ASOF
join, gives the aggregate of every prediction. Sums are exact decimals, so neither their order nor the number of
threads can change a bit. And no row sees itself: of the last event, the last but one is kept beside it, and from a sum
the row's own event is taken away, for a stream of the observations' table that declares it to be known so early.

Requests are computed a slice at a time, in order, with the events that can reach the slice: what is needed at once
does not grow with the years, and no result depends on the size of a slice.
"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import polars as pl

from trunkline.core.errors import OutsideError, UserError, one_line
from trunkline.core.expressions import Expression
from trunkline.core.features import EVENT_TIME
from trunkline.core.tables import parquet
from trunkline.core.tables.rows import UNFIT, UNFIT_ADVICE, connect
from trunkline.core.tables.sql import identifier, neutral, readable, to_sql
from trunkline.pipeline.features import sql, unfit
from trunkline.pipeline.features.distribution import SLICE
from trunkline.pipeline.features.plan import (
    Aggregation,
    Early,
    Events,
    FeaturePlan,
    LatestAsOf,
    Named,
    Part,
    Primitive,
    RollingAggregate,
    StaticLookup,
    operands,
)

# Columns of the engine's own; what stands for a declared name has no underscore first.
_ID, _NOW, _EVENT, _KNOWN = "_id", "_prediction_time", "_event_time", "_available_at"
_ROW = unfit.ROW  # the number of a row in the table of requests or of events
_TIME = sql.TIME


@dataclass(frozen=True)
class _Slice:
    """Requests that are computed together: the first and the last id, and SQL of the first and the last prediction."""

    first: int
    last: int
    start: str = "CAST(NULL AS TIMESTAMP)"
    end: str = "CAST(NULL AS TIMESTAMP)"

    def of(self, table: str) -> str:
        return f"(SELECT * FROM {table} WHERE {_ID} BETWEEN {self.first} AND {self.last})"


class DuckDBEngine:
    """Computes a plan over the Parquet tables of a folder; a context manager that leaves nothing behind.

    No request sees its own row as an event. `own` is for requests from another table: the one whose rows they are, and
    the column with the number of each, from 1; null for a request that is none of them.
    """

    def __init__(
        self,
        plan: FeaturePlan,
        tables: Path,
        memory_limit: str = "1GB",
        size: int = SLICE,
        own: tuple[str, str] | None = None,
    ) -> None:
        self._plan = plan
        self._own_table, self._own_row = (own[0], identifier(own[1])) if own else (plan.request.table, _ROW)
        self._size = size
        self._slices: list[_Slice] = []
        self._extra: Named = ()
        self._computed: list[Primitive] = []
        self._tables = tables.resolve()
        self._spill = tempfile.TemporaryDirectory(prefix="trunkline-")
        self._connection = connect()
        self._connection.execute(f"SET memory_limit={sql.literal(memory_limit)}")
        self._connection.execute(f"SET temp_directory={sql.literal(self._spill.name)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._spill.cleanup()

    def load_requests(self, part: Part | None = None, extra: Named = ()) -> None:
        """Take a part of the observations, or all, in order of event time, where they have one, and key.

        `extra` are further columns over the observed row, such as a label; no feature can see them.
        """
        request, self._extra = self._plan.request, extra
        added = [f"{self._sql(expression)} AS {identifier(name)}" for name, expression in extra]
        taken, order, now = [_ROW, *map(identifier, request.columns), *added], list(map(identifier, request.unique)), ""
        if request.event_time is not None:
            taken = [f"{self._sql(request.event_time)} AS {_TIME}", *taken]
            order, now = [_TIME, *order], f"{_TIME} - {sql.interval(request.lead or timedelta())} AS {_NOW}, "
        self._run(f"""
            CREATE TABLE requests AS
            SELECT row_number() OVER () AS {_ID}, * FROM (
                SELECT {now}* FROM (SELECT {", ".join(taken)} FROM {self._numbered(request.table)})
                WHERE {sql.in_part(part)} ORDER BY {", ".join(order)})
        """)
        self._slices = self._sliced()

    def _sliced(self, part: Part | None = None) -> list[_Slice]:
        """Return the slices of a part's requests; one without a row if there are none."""
        bounds = "" if self._plan.request.event_time is None else f", min({_NOW})::VARCHAR, max({_NOW})::VARCHAR"
        extent = self._run(f"""
            SELECT min({_ID}), max({_ID}){bounds} FROM requests WHERE {sql.in_part(part)}
            GROUP BY ({_ID} - 1) // {self._size} ORDER BY 1
        """).fetchall()
        return [_Slice(first, last, *map(sql.instant, times)) for first, last, *times in extent] or [_Slice(0, 0)]

    def compute(self, primitive: Primitive) -> None:
        """Compute the features of one primitive for every request."""
        for number, part in enumerate(self._slices):
            view, query = view_name(primitive), self._query(primitive, part)
            self._run(f"INSERT INTO {view} {query}" if number else f"CREATE TABLE {view} AS {query}")
        self._computed.append(primitive)

    def _query(self, primitive: Primitive, requests: _Slice) -> str:
        """Return SQL for the features of one primitive, with the id of each request of a slice."""
        match primitive:
            case LatestAsOf():
                return self._latest(primitive, requests)
            case RollingAggregate():
                return self._rolling(primitive, requests)
            case StaticLookup():
                return self._lookup(primitive, requests)

    def first_early(self, events: Events) -> Early | None:
        """Return the first row of the observations whose event of a stream is available before its own event."""
        request = self._plan.request
        if request.event_time is None:
            return None
        unique = ", ".join(map(identifier, request.unique))
        early = self._run(f"""
            SELECT {_KNOWN}, {_EVENT}, count(*) OVER (), {unique} FROM (
                SELECT *, greatest({_TIME}, {self._sql(events.available_at)}) AS {_KNOWN}
                FROM (SELECT *, {self._sql(request.event_time)} AS {_EVENT}, {self._sql(events.event_time)}
                      AS {_TIME} FROM {self._table(request.table)})
                WHERE {_TIME} IS NOT NULL AND {self._sql(events.available_at)} IS NOT NULL)
            WHERE {_KNOWN} < {_EVENT} ORDER BY {_KNOWN}, {unique} LIMIT 1
        """).fetchone()
        return None if early is None else Early(early[3:], *early[:3])

    def write(self, path: Path, part: Part | None = None, extra: Iterable[str] = ()) -> int:
        """Write the requests of a part in which all `extra` columns are present, and return their number.

        Columns: those of the request, event_time, the extra ones, then the plan's outputs in order.
        """
        with tempfile.TemporaryDirectory(dir=self._spill.name) as folder:
            slices = {Path(folder, f"{number}.parquet"): each for number, each in enumerate(self._sliced(part))}
            rows = sum(self._copy(self._selection(each, part, extra), piece) for piece, each in slices.items())
            parquet.join(list(slices), self._plan.written(extra), path)
        return rows

    def _selection(self, requests: _Slice, part: Part | None, extra: Iterable[str]) -> str:
        rows = {name: self._sql(expression) for name, expression in self._plan.rows}
        selected = [f"{rows.get(name, identifier(name))} AS {identifier(name)}" for name in self._plan.written(extra)]
        present = [f"{identifier(name)} IS NOT NULL" for name in extra]
        views = [view_name(primitive) for primitive in self._plan.primitives]
        joins = " ".join(f"LEFT JOIN {requests.of(view)} AS {view} USING ({_ID})" for view in views)
        return f"""
            SELECT {", ".join(selected)} FROM {requests.of("requests")} AS requests {joins}
            WHERE {" AND ".join([sql.in_part(part), *present])} ORDER BY {_ID}
        """

    def _copy(self, query: str, path: Path) -> int:
        options = f"FORMAT parquet, ROW_GROUP_SIZE {parquet.ROW_GROUP_ROWS}"
        written = self._run(f"COPY ({query}) TO {sql.literal(str(path))} ({options})").fetchone()
        return int(written[0]) if written else 0

    def _latest(self, view: LatestAsOf, requests: _Slice) -> str:
        keys = sql.columns(view.keys)
        fresh = f"event.{_EVENT} >= request.{_NOW} - {sql.interval(view.max_age)}" if view.max_age else "true"
        values = [f"{self._sql(expression)} AS _value{i}" for i, (_, expression) in enumerate(view.features)]
        picked = [
            f"CASE WHEN {fresh} THEN event._value{i} END AS {identifier(name)}"
            for i, (name, _) in enumerate(view.features)
        ]
        order = ", ".join([_EVENT, _KNOWN, *(f"{identifier(name)} NULLS FIRST" for name in view.events.unique), _ROW])
        arriving = f"PARTITION BY {keys} ORDER BY {_KNOWN}, _place"
        # Places of the last event so far, and of the last but one: the largest of those that were overtaken or late.
        return f"""
            WITH events AS ({self._events(view.events, view.keys, values, requests, view.max_age)}),
            placed AS (SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {order}) AS _place FROM events),
            running AS (
                SELECT *, max(_place) OVER ({arriving}) AS _last,
                       max(_place) OVER ({arriving} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS _before
                FROM placed),
            overtaken AS (
                SELECT *, max(CASE WHEN _before IS NOT NULL THEN least(_place, _before) END)
                          OVER ({arriving}) AS _second
                FROM running),
            state AS (
                SELECT {keys}, {_KNOWN}, max(_last) AS _last, max(_second) AS _second
                FROM overtaken GROUP BY {keys}, {_KNOWN}),
            seen AS (
                SELECT {_ID}, {", ".join(f"request.{identifier(name)}" for name in view.keys)}, request.{_NOW},
                       CASE WHEN state._last = own._place THEN state._second ELSE state._last END AS _place
                FROM {requests.of("requests")} AS request
                ASOF LEFT JOIN state ON {sql.joined(view.keys, "state")} AND request.{_NOW} > state.{_KNOWN}
                LEFT JOIN placed AS own ON {self._own(view.events)})
            SELECT {_ID}, {", ".join(picked)} FROM seen AS request LEFT JOIN placed AS event
            ON {sql.joined(view.keys)} AND request._place = event._place
        """

    def _rolling(self, view: RollingAggregate, requests: _Slice) -> str:
        keys = sql.columns(view.keys)
        operands = [self._operand(aggregation) for aggregation in view.features]
        measures = [f"{value} AS _sum{i}, {present} AS _count{i}" for i, (value, present) in enumerate(operands)]
        sums = [f"_{what}{i}" for i in range(len(operands)) for what in ("sum", "count")]
        running = ", ".join(
            f"sum(sum({name})) OVER (PARTITION BY {keys} ORDER BY _at ROWS UNBOUNDED PRECEDING) AS {name}"
            for name in sums
        )
        exits = ", ".join(f"-{name} AS {name}" for name in sums)
        leaves = f"greatest({_KNOWN}, {_EVENT} + {sql.interval(view.window)})"
        seen = f"own.{_KNOWN} < request.{_NOW} AND own._leaves >= request.{_NOW}"
        others = ", ".join(f"event.{name} - CASE WHEN {seen} THEN own.{name} ELSE 0 END AS {name}" for name in sums)
        results = [self._aggregate(aggregation, i) for i, aggregation in enumerate(view.features)]
        return f"""
            WITH timed AS ({self._events(view.events, view.keys, measures, requests, view.window)}),
            events AS (SELECT *, {leaves} AS _leaves FROM timed),
            steps AS (
                SELECT {keys}, {_KNOWN} AS _at, {", ".join(sums)} FROM events
                UNION ALL
                SELECT {keys}, _leaves AS _at, {exits} FROM events),
            event AS (SELECT {keys}, _at, {running} FROM steps GROUP BY {keys}, _at),
            seen AS (
                SELECT {_ID}, {others} FROM {requests.of("requests")} AS request
                ASOF LEFT JOIN event ON {sql.joined(view.keys)} AND request.{_NOW} > event._at
                LEFT JOIN events AS own ON {self._own(view.events)})
            SELECT {_ID}, {", ".join(results)} FROM seen
        """

    def _lookup(self, view: StaticLookup, requests: _Slice) -> str:
        named = [f"event._value{i} AS {identifier(name)}" for i, (name, _) in enumerate(view.features)]
        values = [f"{self._sql(expression)} AS _value{i}" for i, (_, expression) in enumerate(view.features)]
        return f"""
            WITH event AS (SELECT {sql.columns(view.keys)}, {", ".join(values)} FROM {self._table(view.table)})
            SELECT {_ID}, {", ".join(named)} FROM {requests.of("requests")} AS request LEFT JOIN event
            ON {sql.joined(view.keys)}
        """

    def _events(
        self, events: Events, keys: Iterable[str], values: Iterable[str], requests: _Slice, reach: timedelta | None
    ) -> str:
        """Events of an entity that became known, each no earlier than it happened.

        Only those that some request of the slice can see: known before its last prediction, and, with a `reach`, not
        older than that at its first.
        """
        tie_breakers = [name for name in events.unique if name not in set(keys)]
        taken = [_ROW, _EVENT, _KNOWN, *map(identifier, [*keys, *tie_breakers]), *values]
        seen = [f"{identifier(name)} IS NOT NULL" for name in keys] + [f"{_KNOWN} < {requests.end}"]
        seen += [f"{_EVENT} >= {requests.start} - {sql.interval(reach)}"] if reach else []
        return f"SELECT {', '.join(taken)} FROM {self._stream(events)} WHERE {' AND '.join(seen)}"

    def _stream(self, events: Events) -> str:
        """Return the table of the events of a stream, made when it is first asked for."""
        stream = f'"stream_{neutral(events.name)}"'
        self._run(f"CREATE TABLE IF NOT EXISTS {stream} AS {self._known(events)}")
        return stream

    def _known(self, events: Events) -> str:
        """Return SQL for the events of a stream that happened and became known, with both times."""
        read = ", ".join(map(identifier, self._read(events)))
        return f"""
            SELECT {_ROW}, {read}, greatest({_TIME}, _known) AS {_KNOWN}, {_TIME} AS {_EVENT}
            FROM (SELECT *, {self._sql(events.available_at)} AS _known
                  FROM (SELECT *, {self._sql(events.event_time)} AS {_TIME} FROM {self._numbered(events.table)}))
            WHERE {_TIME} IS NOT NULL AND _known IS NOT NULL
        """

    def _own(self, events: Events) -> str:
        """Return SQL for whether an event is that of the request's own row."""
        return f"own.{_ROW} = request.{self._own_row}" if events.table == self._own_table else "false"

    def _read(self, events: Events) -> list[str]:
        """Return the columns of a stream that any view of the plan reads, each once."""
        columns = dict.fromkeys([EVENT_TIME, *events.unique])
        for view in self._plan.primitives:
            if isinstance(view, LatestAsOf | RollingAggregate) and view.events == events:
                columns |= dict.fromkeys([*view.keys, *operands(view)])
        return list(columns)

    def _operand(self, aggregation: Aggregation) -> tuple[str, str]:
        if aggregation.operand is None:
            return "CAST(1 AS DECIMAL(18, 6))", "1"
        value = f"CAST({self._sql(aggregation.operand)} AS DECIMAL(18, 6))"
        return f"coalesce({value}, 0)", f"CASE WHEN {value} IS NULL THEN 0 ELSE 1 END"

    def _aggregate(self, aggregation: Aggregation, i: int) -> str:
        name, count, total = identifier(aggregation.name), f"coalesce(_count{i}, 0)", f"CAST(_sum{i} AS DOUBLE)"
        if aggregation.function == "count":
            return f"CAST({count} AS BIGINT) AS {name}"
        empty = "0.0" if aggregation.function == "sum" else "NULL"
        default = empty if aggregation.default is None else f"CAST({aggregation.default!r} AS DOUBLE)"
        value = total if aggregation.function == "sum" else f"{total} / _count{i}"
        return f"CASE WHEN {count} = 0 THEN {default} ELSE {value} END AS {name}"

    def _evaluated(self) -> Iterator[unfit.Evaluated]:
        """Yield every expression of the plan, with what it is evaluated over."""
        plan = self._plan
        observed = self._numbered(plan.request.table)
        if plan.request.event_time is not None:
            sql = self._sql(plan.request.event_time)
            yield unfit.Evaluated("data.event_time", sql, plan.request.table, observed)
        for name, expression in self._extra:
            yield unfit.Evaluated(f"data.target ({name})", self._sql(expression), plan.request.table, observed)
        for view in plan.primitives:
            yield from self._evaluated_of(view)
        views = " ".join(f"LEFT JOIN {view_name(view)} USING ({_ID})" for view in self._computed)
        for name, expression in plan.rows if len(self._computed) == len(plan.primitives) else ():
            requests = f"(SELECT * FROM requests {views})"
            yield unfit.Evaluated(f"feature {name}", self._sql(expression), plan.request.table, requests)

    def _evaluated_of(self, view: Primitive) -> Iterator[unfit.Evaluated]:
        table = view.table if isinstance(view, StaticLookup) else view.events.table
        source = self._numbered(table)
        if not isinstance(view, StaticLookup):
            key = f"features.streams.{view.events.name}"
            yield unfit.Evaluated(f"{key}.event_time", self._sql(view.events.event_time), table, source)
            source = f"(SELECT *, {self._sql(view.events.event_time)} AS {_TIME} FROM {source})"
            yield unfit.Evaluated(f"{key}.available_at", self._sql(view.events.available_at), table, source)
        if isinstance(view, RollingAggregate):
            named = {each.name: self._operand(each)[0] for each in view.features}
        else:
            named = {name: self._sql(expression) for name, expression in view.features}
        for name, value in named.items():
            yield unfit.Evaluated(f"features.views.{view.name}.features.{name}", value, table, source)

    def _sql(self, expression: Expression) -> str:
        return to_sql(expression, self._plan.timezone)

    def _table(self, name: str) -> str:
        """Return SQL for a table, whose columns are named by their places: DuckDB would rename some."""
        path = self._tables / f"{name}.parquet"
        try:
            columns = ", ".join(map(identifier, pl.read_parquet_schema(path)))
        except OSError as error:
            raise OutsideError(f"{path}: cannot be read ({one_line(error)}); run: dvc repro") from error
        return f"(SELECT * FROM read_parquet({sql.literal(str(path))}) AS columns({columns}))"

    def _numbered(self, name: str) -> str:
        """Return SQL for a table with the number of each row, which is the row's in whatever is made of it."""
        return f"(SELECT *, row_number() OVER () AS {_ROW} FROM {self._table(name)})"

    def _run(self, statement: str) -> duckdb.DuckDBPyConnection:
        try:
            return self._connection.execute(statement)
        except UNFIT as error:
            what, where = readable(str(error).splitlines()[0]), unfit.first(self._connection, self._evaluated())
            raise UserError(f"{where}: a value does not fit: {what}; {UNFIT_ADVICE}") from error
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            raise OutsideError(f"{self._tables}: {str(error).splitlines()[0]}") from error


def view_name(primitive: Primitive) -> str:
    """Return the table of a view's features, quoted."""
    return f'"view_{neutral(primitive.name)}"'
