"""From rows of a table to changes of stored values: what `materialize` and `push` put into a store."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from trunkline.core.expressions import Type, columns
from trunkline.core.features import EVENT_TIME
from trunkline.pipeline.features.plan import Events, StaticLookup, operands
from trunkline.serve.online.evaluate import Evaluator, UnfitError, compiled
from trunkline.serve.online.plan import OnlinePlan, OnlineView
from trunkline.serve.online.values import Change, Event, identity, micros

Row = Mapping[str, Any]


@dataclass(frozen=True)
class TableEvents:
    """What the rows of one table are to the views of a plan; `types` are those of the table's columns.

    A row has values of these types, or None: int, float, bool, str, and datetime in naive UTC.
    """

    plan: OnlinePlan
    table: str
    types: Mapping[str, Type]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, in order; none if no view is made of the table."""
        names = [name for view in self._views for name in _read(view) if name != EVENT_TIME]
        return tuple(dict.fromkeys(names))

    def changes(self, rows: Iterable[Row]) -> dict[bytes, Change]:
        """Return what rows change, by key; a row without a time, or of no entity, changes nothing.

        Raises ValueError for a row that lacks a column, and UnfitError for one with a value that does not fit, with the
        name of the view; the caller knows which row it is, if it gives them one by one.
        """
        entries: dict[bytes, tuple[OnlineView, list[Any]]] = {}
        for row in rows:
            for view, record in self._recorded(self._checked(row)):
                key = view.key(row)
                if key is not None:
                    entries.setdefault(key, (view, []))[1].append(record)
        return {key: view.kept.change(recorded) for key, (view, recorded) in entries.items()}

    def _checked(self, row: Row) -> Row:
        absent = [name for name in self.columns if name not in row]
        if absent:
            raise ValueError(f"table {self.table}: column {absent[0]}: is missing from a row; features are made of it")
        return row

    @cached_property
    def _views(self) -> list[OnlineView]:
        return [view for view in self.plan.views if view.table == self.table]

    @cached_property
    def _recorders(self) -> list[tuple[OnlineView, Callable[[Any], Any]]]:
        types: dict[str, Type] = {**self.types, EVENT_TIME: "time"}
        return [(view, view.kept.recorder(types, self.plan.plan.timezone)) for view in self._views]

    @cached_property
    def _times(self) -> dict[Events, tuple[Evaluator, Evaluator]]:
        """What gives the time of an event and the time at which it was available, by stream."""
        types: dict[str, Type] = {**self.types, EVENT_TIME: "time"}
        zone, views = self.plan.plan.timezone, [view.primitive for view in self._views]
        streams = {view.events for view in views if not isinstance(view, StaticLookup)}
        return {
            each: (compiled(each.event_time, self.types, zone), compiled(each.available_at, types, zone))
            for each in streams
        }

    def _recorded(self, row: Row) -> Iterator[tuple[OnlineView, Any]]:
        """Yield what each view stores of a row."""
        events = {stream: self._event(stream, row) for stream in self._times}
        for view, record in self._recorders:
            source = row if isinstance(view.primitive, StaticLookup) else events[view.primitive.events]
            if source is None:
                continue
            with self._at(f"view {view.primitive.name}"):
                yield view, record(source)

    @contextmanager
    def _at(self, place: str) -> Iterator[None]:
        try:
            yield
        except UnfitError as error:
            raise UnfitError(f"table {self.table}: {place}: {error}") from None

    def _event(self, stream: Events, row: Row) -> Event | None:
        """Return a row as an event; None for one that has not happened, or is not known."""
        event_time, available_at = self._times[stream]
        with self._at(f"stream {stream.name}"):
            happened = event_time(row)
            known = None if happened is None else available_at({**row, EVENT_TIME: happened})
        if known is None:
            return None
        who = identity(stream.unique, row, self.types)
        return Event(who, micros(happened), micros(max(happened, known)), {**row, EVENT_TIME: happened})


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
