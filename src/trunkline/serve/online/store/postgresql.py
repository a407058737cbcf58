"""The store in PostgreSQL: one table, in which one writer at a time merges, while readers go on."""

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import psycopg

from trunkline.core.addresses import shown
from trunkline.core.errors import OutsideError, one_line
from trunkline.serve.online.store import protocol
from trunkline.serve.online.store.protocol import Conflict, Contents
from trunkline.serve.online.values import Change

_LOCK = 0x7472756E6B  # of writers, among all advisory locks of the database
_SCHEMA = """
CREATE TABLE IF NOT EXISTS trunkline_features (key bytea PRIMARY KEY, value bytea NOT NULL, dies bigint);
CREATE INDEX IF NOT EXISTS trunkline_features_dies ON trunkline_features (dies) WHERE dies IS NOT NULL;
"""
_SELECT = "SELECT key, value FROM trunkline_features WHERE key = ANY(%b)"
_WRITE = """
INSERT INTO trunkline_features SELECT * FROM unnest(%b::bytea[], %b::bytea[], %b::bigint[])
ON CONFLICT (key) DO UPDATE SET value = excluded.value, dies = excluded.dies
"""


class _Session:
    """A connection, which one thread at a time uses, and which is made again if it was lost."""

    def __init__(self, url: str) -> None:
        self._url, self._lock = url.replace("postgresql+psycopg://", "postgresql://", 1), threading.Lock()
        self._connection: psycopg.Connection | None = None

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection]:
        """Yield the connection; raises OutsideError where the server does not answer."""
        with self._lock:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = psycopg.connect(self._url, autocommit=True)
                yield self._connection
            except psycopg.Error as error:
                place = shown(self._url)
                raise OutsideError(
                    f"{place}: the store of online features does not answer: {one_line(error)}"
                ) from error

    @contextmanager
    def writing(self) -> Iterator[psycopg.Connection]:
        """Let one writer at a time of all there are; what it does is done when it ends, or not at all."""
        with self.connected() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            yield connection

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()


class PostgreSQLStore:
    """A store in a database; each process opens its own, after it is forked, and its threads may share it.

    A connection that was lost fails the call that finds out, and is made again at the next one.
    """

    def __init__(self, url: str) -> None:
        self._reader, self._writer = _Session(url), _Session(url)
        with self._writer.writing() as connection:
            connection.execute(_SCHEMA)

    def get(self, keys: Collection[bytes], facts: Collection[str] = ()) -> Contents:
        """Return values and facts as they are at one moment."""
        with self._reader.connected() as connection:
            return _contents(connection, protocol.rows_of(keys, facts))

    def put(self, changes: Mapping[bytes, Change], facts: Mapping[str, bytes] | None = None) -> list[Conflict]:
        """Merge changes into the values under their keys, and write facts, all at once; return the conflicts."""
        with self._writer.writing() as connection:
            before = _contents(connection, protocol.rows_of(changes, ()))
            writes = protocol.merged(changes, facts or {}, before)
            _write(connection, writes.values)
            if writes.deleted:
                connection.execute("DELETE FROM trunkline_features WHERE key = ANY(%b)", [writes.deleted])
        return writes.conflicts

    def expire(self, watermark: int) -> int:
        """Raise the watermark (µs), drop the values that nothing from it on can see, and return their number."""
        with self._writer.writing() as connection:
            if watermark <= _contents(connection, [protocol.WATERMARK]).watermark:
                return 0
            _write(connection, {protocol.WATERMARK: (protocol.watermark_value(watermark), None)})
            return connection.execute("DELETE FROM trunkline_features WHERE dies < %s", [watermark]).rowcount

    def close(self) -> None:
        """Close the connections."""
        self._reader.close()
        self._writer.close()


def _contents(connection: psycopg.Connection, rows: list[bytes]) -> Contents:
    return protocol.contents(dict(connection.cursor(binary=True).execute(_SELECT, [rows]).fetchall()))


def _write(connection: psycopg.Connection, values: Mapping[bytes, tuple[bytes, int | None]]) -> None:
    if values:
        contents, dies = zip(*values.values(), strict=True)
        connection.execute(_WRITE, [list(values), list(contents), list(dies)])
