"""The latest event as of a moment online: of each entity, those events that can still be the last for someone.

A stored value is msgpack: the events in their order, each with its time, the time it became known (both in µs), its
unique key and the features of the view. The order is that of the offline engine: by time, then by when it became known,
then by unique key, a missing part first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from trunkline.core.expressions import Type
from trunkline.pipeline.features.plan import LatestAsOf
from trunkline.serve.online.evaluate import UnfitError, compiled
from trunkline.serve.online.values import Event, Identity, Merged, Reading, micros, restored, stored


class Entry(NamedTuple):
    """An event as it is stored."""

    event_time: int
    known: int
    key: tuple[Any, ...]
    values: tuple[Any, ...]

    @property
    def order(self) -> tuple[Any, ...]:
        """By what the last event is the last."""
        return (self.event_time, self.known, *((part is not None, part) for part in self.key))


_DECODER = msgspec.msgpack.Decoder(tuple[Entry, ...])


@dataclass(frozen=True)
class LatestView:
    """How the last events are kept, and a view's features read; `types` are those of the features.

    `own` says that requests are rows of the same table, and none may see itself: then the last but one is kept, too.
    """

    primitive: LatestAsOf
    types: Mapping[str, Type]
    own: bool

    @cached_property
    def _max_age(self) -> int | None:
        return micros(self.primitive.max_age) if self.primitive.max_age is not None else None

    def recorder(self, types: Mapping[str, Type], zone: str) -> Callable[[Event], Entry]:
        """Return what makes of an event the entry that is stored; `types` are those of its columns."""
        features = [(name, compiled(each, types, zone), self.types[name]) for name, each in self.primitive.features]

        def record(event: Event) -> Entry:
            values = []
            for name, evaluate, kind in features:
                try:
                    values.append(stored(evaluate(event.row), kind))
                except UnfitError as error:
                    raise UnfitError(f"feature {name}: {error}") from None
            return Entry(event.event_time, event.known, event.identity.key, tuple(values))

        return record

    def change(self, entries: Sequence[Entry]) -> "LatestChange":
        """Return what adds events to the value of their entity."""
        return LatestChange(tuple(entries), self._max_age, 2 if self.own else 1)

    def forget(self, entries: Sequence[Entry]) -> "LatestForgotten":
        """Return what removes events from the value of their entity."""
        return LatestForgotten(frozenset(entry.key for entry in entries), self.change(()))

    def read(self, value: bytes | None, at: int | None, own: Identity | None) -> Reading:
        """Return the features of the last event that is seen at a moment (µs), which is not the request's own."""
        key = None if own is None else own.key
        entries = () if value is None or at is None else reversed(_DECODER.decode(value))
        last = next((entry for entry in entries if entry.known < at and entry.key != key), None)
        if last is None or (self._max_age is not None and last.event_time + self._max_age < at):
            return Reading(dict.fromkeys(self.types), missing=True)
        features = zip(self.types.items(), last.values, strict=True)
        values = {name: restored(each, kind) for (name, kind), each in features}
        return Reading(values, missing=False, last=last.event_time)


@dataclass(frozen=True)
class LatestChange:
    """Events to be added to the value of one entity, of which the last `depth` that a moment sees are needed."""

    entries: tuple[Entry, ...]
    max_age: int | None
    depth: int

    def merge(self, value: bytes | None, watermark: int) -> Merged:
        """Return the value with the events, without those that are the last for no moment from the watermark on."""
        known = {entry.key: entry for entry in _DECODER.decode(value)} if value is not None else {}
        conflicts = []
        for entry in self.entries:
            if msgspec.msgpack.encode(known.setdefault(entry.key, entry)) != msgspec.msgpack.encode(entry):
                conflicts.append(entry.key)
        kept = self._alive(sorted(known.values(), key=lambda entry: entry.order), watermark)
        if not kept:
            return Merged(None, None, tuple(conflicts))
        dies = kept[-1].event_time + self.max_age if self.max_age is not None else None
        return Merged(msgspec.msgpack.encode(kept), dies, tuple(conflicts))

    def _alive(self, entries: Sequence[Entry], watermark: int) -> list[Entry]:
        """Return those of entries in order that are among the last `depth` for some moment from a watermark on."""
        alive: list[Entry] = []
        first: list[int] = []  # of the later entries, since when the first `depth` are seen, from the watermark on
        for entry in reversed(entries):
            seen_from = max(entry.known, watermark - 1)
            hidden = len(first) == self.depth and first[-1] <= seen_from
            too_old = self.max_age is not None and entry.event_time + self.max_age < watermark
            if not hidden and not too_old:
                alive.append(entry)
                first = sorted([*first, seen_from])[: self.depth]
        return alive[::-1]


@dataclass(frozen=True)
class LatestForgotten:
    """Events, by their unique keys, that the value of one entity is to hold no more; `rest` keeps the others."""

    keys: frozenset[tuple[Any, ...]]
    rest: LatestChange

    def merge(self, value: bytes | None, watermark: int) -> Merged:
        """Return the value without the events."""
        entries = () if value is None else _DECODER.decode(value)
        kept = [entry for entry in entries if entry.key not in self.keys]
        return self.rest.merge(msgspec.msgpack.encode(kept), watermark)
