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
    """A stream of a table: what gives its times, and its views, each with what makes of an event what it stores."""

    events: Events
    event_time: Evaluator
    available_at: Evaluator
    views: list[tuple[OnlineView, Callable[[Any], Any]]]


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
        needed = frozenset(self.columns)
        entries: dict[bytes, tuple[OnlineView, list[Any]]] = {}
        for row in rows:
            if absent := needed.difference(row):
                raise ValueError(f"table {self.table}: column {min(absent)}: is missing; features are made of it")
            for view, entry in self._recorded(row):
                key = view.key(row)
                if key is not None:
                    entries.setdefault(key, (view, []))[1].append(entry)
        return {key: view.kept.change(recorded) for key, (view, recorded) in entries.items()}

    @cached_property
    def _views(self) -> list[OnlineView]:
        return [view for view in self.plan.views if view.table == self.table]

    @cached_property
    def _lookups(self) -> list[tuple[OnlineView, Callable[[Any], Any]]]:
        return [(view, self._recorder(view)) for view in self._views if isinstance(view.primitive, StaticLookup)]

    @cached_property
    def _streams(self) -> list[_Stream]:
        views: dict[Events, list[tuple[OnlineView, Callable[[Any], Any]]]] = {}
        for view in self._views:
            if not isinstance(view.primitive, StaticLookup):
                views.setdefault(view.primitive.events, []).append((view, self._recorder(view)))
        return [
            _Stream(stream, self._compiled(stream.event_time), self._compiled(stream.available_at), of)
            for stream, of in views.items()
        ]

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
            for stream in self._streams:
                event = self._event(stream, row)
                for view, record in stream.views if event is not None else ():
                    yield view, record(event)
        except UnfitError as error:
            raise UnfitError(f"table {self.table}: {error}") from None

    def _event(self, stream: _Stream, row: Row) -> Event | None:
        """Return a row as an event; None for one that has not happened, or is not known."""
        try:
            happened = stream.event_time(row)
            if happened is None:
                return None
            timed = {**row, EVENT_TIME: happened}
            known = stream.available_at(timed)
        except UnfitError as error:
            raise UnfitError(f"stream {stream.events.name}: {error}") from None
        if known is None or (self.until is not None and max(micros(happened), micros(known)) > self.until):
            return None
        who = identity(stream.events.unique, row, self.types)
        return Event(who, micros(happened), micros(max(happened, known)), timed)


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
