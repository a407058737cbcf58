"""From rows of a table to changes of stored values: what `materialize` and `push` put into a store."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from trunkline.core.expressions import Expression, Type, columns
from trunkline.core.features import EVENT_TIME
from trunkline.pipeline.features.plan import Events, StaticLookup, operands
from trunkline.serve.online.evaluate import Evaluator, UnfitError, compiled
from trunkline.serve.online.plan import OnlinePlan, OnlineView
from trunkline.serve.online.values import Change, Event, identity, micros

Row = Mapping[str, Any]


class _Stream(NamedTuple):
    """A stream: when its events are known, and its views, each with what makes of an event what it stores."""

    name: str
    available_at: Evaluator
    views: list[tuple[OnlineView, Callable[[Any], Any]]]


class _Happening(NamedTuple):
    """Streams whose events happen at the same time and are told apart by the same columns, which is computed once."""

    event_time: Evaluator
    unique: tuple[str, ...]
    streams: list[_Stream]


@dataclass(frozen=True)
class TableEvents:
    """What the rows of one table are to the views of a plan; `types` are those of the table's columns.

    A row has values of these types, or None: int, float, bool, str, and datetime in naive UTC.
    """

    plan: OnlinePlan
    table: str
    types: Mapping[str, Type]
    until: int | None = None

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, in order; none if no view is made of the table."""
        names = [name for view in self._views for name in _read(view) if name != EVENT_TIME]
        return tuple(dict.fromkeys(names))

    def changes(self, rows: Iterable[Row]) -> dict[bytes, Change]:
        """Return what rows change, by key; a row without a time, or of no entity, changes nothing.

        Raises ValueError for a row that lacks a column, and UnfitError for one with a value that does not fit, with the
        name of the stream or the feature; the caller knows which row it is, if it gives them one by one.
        """
        return {key: view.kept.change(recorded) for key, (view, recorded) in self._entries(rows).items()}

    def removals(self, rows: Iterable[Row]) -> dict[bytes, Change]:
        """Return what removes rows from the values of their entities, by key; raises as `changes` does."""
        return {key: view.kept.forget(recorded) for key, (view, recorded) in self._entries(rows).items()}

    def _entries(self, rows: Iterable[Row]) -> dict[bytes, tuple[OnlineView, list[Any]]]:
        """Return what is stored of rows, with its view, by key."""
        needed = frozenset(self.columns)
        entries: dict[bytes, tuple[OnlineView, list[Any]]] = {}
        for row in rows:
            if absent := needed.difference(row):
                raise ValueError(f"table {self.table}: column {min(absent)}: is missing; features are made of it")
            for view, entry in self._recorded(row):
                key = view.key(row)
                if key is not None:
                    entries.setdefault(key, (view, []))[1].append(entry)
        return entries

    @cached_property
    def _views(self) -> list[OnlineView]:
        return [view for view in self.plan.views if view.table == self.table]

    @cached_property
    def _lookups(self) -> list[tuple[OnlineView, Callable[[Any], Any]]]:
        return [(view, self._recorder(view)) for view in self._views if isinstance(view.primitive, StaticLookup)]

    @cached_property
    def _happenings(self) -> list[_Happening]:
        views: dict[Events, list[tuple[OnlineView, Callable[[Any], Any]]]] = {}
        for view in self._views:
            if not isinstance(view.primitive, StaticLookup):
                views.setdefault(view.primitive.events, []).append((view, self._recorder(view)))
        streams: dict[tuple[Expression, tuple[str, ...]], list[_Stream]] = {}
        for events, of in views.items():
            stream = _Stream(events.name, self._compiled(events.available_at), of)
            streams.setdefault((events.event_time, events.unique), []).append(stream)
        return [_Happening(self._compiled(time), unique, of) for (time, unique), of in streams.items()]

    @cached_property
    def _types(self) -> dict[str, Type]:
        return {**self.types, EVENT_TIME: "time"}

    def _recorder(self, view: OnlineView) -> Callable[[Any], Any]:
        return view.kept.recorder(self._types, self.plan.plan.timezone)

    def _compiled(self, expression: Expression) -> Evaluator:
        return compiled(expression, self._types, self.plan.plan.timezone)

    def _recorded(self, row: Row) -> Iterator[tuple[OnlineView, Any]]:
        """Yield what each view stores of a row."""
        try:
            for view, record in self._lookups:
                yield view, record(row)
            for happening in self._happenings:
                for stream, event in self._events(happening, row):
                    for view, record in stream.views:
                        yield view, record(event)
        except UnfitError as error:
            raise UnfitError(f"table {self.table}: {error}") from None

    def _events(self, happening: _Happening, row: Row) -> Iterator[tuple[_Stream, Event]]:
        """Yield a row as an event of each stream; of none where it has not happened or is not known."""
        name = happening.streams[0].name
        try:
            happened = happening.event_time(row)
            if happened is None:
                return
            timed, at, who = {**row, EVENT_TIME: happened}, micros(happened), None
            for stream in happening.streams:
                name = stream.name
                known = stream.available_at(timed)
                seen = None if known is None else max(at, micros(known))
                if seen is not None and (self.until is None or seen <= self.until):
                    who = who or identity(happening.unique, row, self.types)
                    yield stream, Event(who, at, seen, timed)
        except UnfitError as error:
            raise UnfitError(f"stream {name}: {error}") from None


def _read(view: OnlineView) -> Iterator[str]:
    """Yield the columns that a view reads of its table."""
    primitive = view.primitive
    yield from primitive.keys
    if isinstance(primitive, StaticLookup):
        yield from (name for _, expression in primitive.features for name in columns(expression))
    else:
        yield from primitive.events.unique
        yield from columns(primitive.events.event_time)
        yield from columns(primitive.events.available_at)
        yield from operands(primitive)
