"""What all kinds of views share: values as they are stored, who an event is, and what a change of a stored value is."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

import msgspec

from trunkline.core.expressions import Type

_EPOCH, _MICROSECOND = datetime(1970, 1, 1), timedelta(microseconds=1)


def micros(time: datetime | timedelta) -> int:
    """Return a time (naive UTC) as microseconds since 1970, or how many a duration has."""
    return (time - _EPOCH if isinstance(time, datetime) else time) // _MICROSECOND


def moment(count: int) -> datetime:
    """Return the time (naive UTC) of microseconds since 1970."""
    return _EPOCH + count * _MICROSECOND


def stored(value: Any, kind: Type | None) -> Any:
    """Return a value as it is stored: times and durations in microseconds, numbers as such, with one zero."""
    if value is None:
        return None
    if kind == "number":
        return float(value) + 0.0
    return micros(value) if kind in ("time", "duration") else value


def restored(value: Any, kind: Type) -> Any:
    """Return the value that `stored` has made of it."""
    if value is None:
        return None
    return moment(value) if kind == "time" else value * _MICROSECOND if kind == "duration" else value


class Identity(NamedTuple):
    """Who an event is: the values of its source's unique key as they are stored, and a hash of them, of 64 bits."""

    key: tuple[Any, ...]
    number: int


def identity(names: Iterable[str], row: Mapping[str, Any], types: Mapping[str, Type]) -> Identity:
    """Return who a row of a table is by the columns of its unique key."""
    key = tuple(stored(row[name], types[name]) for name in names)
    digest = hashlib.blake2b(msgspec.msgpack.encode(key), digest_size=8).digest()
    return Identity(key, int.from_bytes(digest, "little", signed=True))


class Event(NamedTuple):
    """A row of a stream that has its times, in microseconds; it is known no earlier than it happened."""

    identity: Identity
    event_time: int
    known: int
    row: Mapping[str, Any]  # its columns, and event_time


class Merged(NamedTuple):
    """What a stored value becomes: None for nothing left; `dies` is the last moment that sees any of it, None: never.

    `conflicts` are the keys of events that the value has already, with another content; they were left as they were.
    """

    value: bytes | None
    dies: int | None
    conflicts: tuple[tuple[Any, ...], ...] = ()


class Change(Protocol):
    """What is to become of one stored value, whatever it is by then."""

    def merge(self, value: bytes | None, watermark: int) -> Merged:
        """Return the value with this change, and without what no moment from the watermark on (µs) can see.

        Merging is idempotent, and the order of changes does not matter, save for which of two events that contradict
        each other came first.
        """


class Gone(NamedTuple):
    """That a stored value is to be there no more, whatever it is by then."""

    def merge(self, value: bytes | None, watermark: int) -> Merged:
        """Return nothing."""
        return Merged(None, None)


class Reading(NamedTuple):
    """A view's features, by name; whether it knows nothing, and when its last event, if it has any, happened (µs)."""

    values: dict[str, Any]
    missing: bool
    last: int | None = None
