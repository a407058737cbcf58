"""The store in Redis: values are strings, and a sorted set knows when each dies; writers watch what they have read."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, cast

import redis
from redis.client import Pipeline

from trunkline.core.addresses import shown
from trunkline.core.errors import OutsideError, one_line
from trunkline.serve.online.store import protocol
from trunkline.serve.online.store.protocol import Conflict, Contents
from trunkline.serve.online.values import Change

_PREFIX = b"{trunkline}:"  # the braces keep all keys in one slot of a cluster
_DIES = _PREFIX + b"dies"
_AT_ONCE = 1000  # values that are dropped while nobody else is served
_DROP = """
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
if #dead > 0 then
    redis.call('DEL', unpack(dead))
    redis.call('ZREM', KEYS[1], unpack(dead))
end
return #dead
"""


class RedisStore:
    """A store in a Redis server; threads may share it. What survives the server is up to its own persistence."""

    def __init__(self, client: redis.Redis, place: str) -> None:
        self._client, self._place = client, place
        self._drop = client.register_script(_DROP)
        with self._told():
            client.ping()

    @classmethod
    def connect(cls, url: str, password: str | None = None) -> Self:
        """Connect to a server; raises OutsideError where there is none."""
        client = redis.Redis.from_url(url, password=password, socket_timeout=30, socket_connect_timeout=5)
        return cls(client, shown(url))

    def get(self, keys: Collection[bytes], facts: Collection[str] = ()) -> Contents:
        """Return values and facts as they are at one moment."""
        with self._told():
            return _contents(self._client, protocol.rows_of(keys, facts))

    def put(self, changes: Mapping[bytes, Change], facts: Mapping[str, bytes] | None = None) -> list[Conflict]:
        """Merge changes into the values under their keys, and write facts, all at once; return the conflicts.

        It begins again where another writer was faster, who has then written.
        """
        rows = protocol.rows_of(changes, ())

        def write(pipeline: Pipeline) -> list[Conflict]:
            writes = protocol.merged(changes, facts or {}, _contents(pipeline, rows))
            pipeline.multi()
            _queue(pipeline, writes)
            return writes.conflicts

        with self._told():
            conflicts: list[Conflict] = self._transaction(write, rows)
            return conflicts

    def expire(self, watermark: int) -> int:
        """Raise the watermark (µs), drop the values that nothing from it on can see, and return their number."""

        def write(pipeline: Pipeline) -> int:
            before = _contents(pipeline, [protocol.WATERMARK]).watermark
            pipeline.multi()
            if watermark > before:
                pipeline.set(_PREFIX + protocol.WATERMARK, protocol.watermark_value(watermark))
            return max(watermark, before)

        with self._told():
            return self._dropped(self._transaction(write, [protocol.WATERMARK]))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _transaction(self, write: Callable[[Pipeline], Any], rows: list[bytes]) -> Any:
        """Return what `write` returns, once nobody else has written to these rows between its reads and its writes."""
        watched = [_PREFIX + row for row in rows]
        return self._client.transaction(cast(Any, write), *watched, value_from_callable=True)

    def _dropped(self, until: int) -> int:
        """Drop what died before a moment, in parts, and return how much that was."""
        dropped, last = 0, _AT_ONCE
        while last == _AT_ONCE:
            last = int(cast(int, self._drop(keys=[_DIES], args=[until, _AT_ONCE])))
            dropped += last
        return dropped

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise OutsideError(
                f"{self._place}: the store of online features does not answer: {one_line(error)}"
            ) from error


def _contents(client: Any, rows: list[bytes]) -> Contents:
    values = client.mget([_PREFIX + row for row in rows])
    return protocol.contents({row: value for row, value in zip(rows, values, strict=True) if value is not None})


def _queue(pipeline: Pipeline, writes: protocol.Writes) -> None:
    if writes.values:
        pipeline.mset({_PREFIX + key: value for key, (value, _) in writes.values.items()})
    dying = {_PREFIX + key: dies for key, (_, dies) in writes.values.items() if dies is not None}
    if dying:
        pipeline.zadd(_DIES, dying)
    if writes.deleted:
        gone = [_PREFIX + key for key in writes.deleted]
        pipeline.delete(*gone)
        pipeline.zrem(_DIES, *gone)
