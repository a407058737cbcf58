"""What a store of online features does: get, put and expire, and nothing that knows what a value means.

Values and facts are bytes under keys of bytes. The watermark, in microseconds since 1970, is a fact of the store: no
moment before it is asked about any more, so that what none from it on can see is dropped.
"""

import struct
from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol

from trunkline.serve.online.values import Change

NO_WATERMARK = -(2**63)
_NUMBER = struct.Struct("<q")

# The first byte of a key under which a value or a fact is stored, so that none is taken for another.
VALUE, FACT = b"v", b"f"
WATERMARK = b"w"


class Contents(NamedTuple):
    """What a store has at one moment: values and facts by key, of those asked for that it has, and its watermark."""

    values: dict[bytes, bytes]
    facts: dict[str, bytes]
    watermark: int


class Conflict(NamedTuple):
    """An event that the value under a key has already, with another content; `event` is its unique key."""

    key: bytes
    event: tuple[object, ...]


class Store(Protocol):
    """Keeps values by key; many processes may use one at once, and each verb happens whole or not at all.

    All verbs raise OutsideError where the store cannot be reached or does not answer as it should.
    """

    def get(self, keys: Collection[bytes], facts: Collection[str] = ()) -> Contents:
        """Return values and facts as they are at one moment, in one round trip."""

    def put(self, changes: Mapping[bytes, Change], facts: Mapping[str, bytes] | None = None) -> list[Conflict]:
        """Merge changes into the values under their keys, and write facts, all at once; return the conflicts.

        When it returns, all of it is stored; when it fails or the process is killed, all of it or nothing. It may be
        tried again, for merging twice is merging once.
        """

    def expire(self, watermark: int) -> int:
        """Raise the watermark (µs), drop the values that nothing from it on can see, and return their number.

        A watermark that is lower than the store's changes nothing.
        """

    def close(self) -> None:
        """End what is open; the store is not used after it."""


def rows_of(keys: Collection[bytes], facts: Collection[str]) -> list[bytes]:
    """Return the keys under which values, facts and the watermark are stored."""
    return [WATERMARK, *(VALUE + key for key in keys), *(FACT + name.encode() for name in facts)]


def contents(stored: Mapping[bytes, bytes]) -> Contents:
    """Return what is stored under the keys of `rows_of`, as what it means."""
    values = {key[1:]: value for key, value in stored.items() if key[:1] == VALUE}
    facts = {key[1:].decode(): value for key, value in stored.items() if key[:1] == FACT}
    return Contents(values, facts, watermark_of(stored.get(WATERMARK)))


def watermark_of(value: bytes | None) -> int:
    """Return the watermark that is stored; NO_WATERMARK for none."""
    return NO_WATERMARK if value is None else int(_NUMBER.unpack(value)[0])


def watermark_value(watermark: int) -> bytes:
    """Return a watermark as it is stored."""
    return _NUMBER.pack(watermark)


class Writes(NamedTuple):
    """What a `put` comes to: what to write under which key, with the moment it dies, and what to delete."""

    values: dict[bytes, tuple[bytes, int | None]]
    deleted: list[bytes]
    conflicts: list[Conflict]


def merged(changes: Mapping[bytes, Change], facts: Mapping[str, bytes], before: Contents) -> Writes:
    """Merge changes into what is stored; writes only what changed."""
    writes = Writes({FACT + name.encode(): (value, None) for name, value in facts.items()}, [], [])
    for key, change in changes.items():
        value, dies, conflicts = change.merge(before.values.get(key), before.watermark)
        writes.conflicts.extend(Conflict(key, event) for event in conflicts)
        if value is None:
            writes.deleted.append(VALUE + key)
        elif value != before.values.get(key):
            writes.values[VALUE + key] = (value, dies)
    return writes
