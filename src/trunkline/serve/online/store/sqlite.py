"""The default store: a SQLite file, which server workers and `push` open at once."""

import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from trunkline.core.errors import OutsideError, one_line
from trunkline.serve.online.store import protocol
from trunkline.serve.online.store.protocol import Conflict, Contents
from trunkline.serve.online.values import Change

_SECONDS = 30  # that a writer waits for another
_AT_ONCE = 10_000  # keys of one query; SQLite takes 32,766
_SCHEMA = """
CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, value BLOB NOT NULL, dies INTEGER);
CREATE INDEX IF NOT EXISTS features_dies ON features (dies) WHERE dies IS NOT NULL;
"""


class _Session:
    """A connection, which one thread at a time uses."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.Lock()
        self.connection = sqlite3.connect(
            path, timeout=_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")

    def select(self, keys: list[bytes]) -> dict[bytes, bytes]:
        """Return what is stored under some keys."""
        rows: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            places = ", ".join("?" * len(part))
            rows |= self.connection.execute(f"SELECT key, value FROM features WHERE key IN ({places})", part)  # noqa: S608
        return rows

    @contextmanager
    def transaction(self, kind: str) -> Iterator[None]:
        """Do what is done inside at once, or not at all."""
        with self.lock:
            self.connection.execute(f"BEGIN {kind}")
            try:
                yield
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")


class SQLiteStore:
    """A store in a file; each process opens its own, after it is forked, and its threads may share it.

    Readers have a connection of their own, and do not wait for a writer.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._reader, self._writer = _Session(path), _Session(path)
            self._writer.connection.executescript(_SCHEMA)

    def get(self, keys: Collection[bytes], facts: Collection[str] = ()) -> Contents:
        """Return values and facts as they are at one moment."""
        with self._told(), self._reader.transaction("DEFERRED"):
            return protocol.contents(self._reader.select(protocol.rows_of(keys, facts)))

    def put(self, changes: Mapping[bytes, Change], facts: Mapping[str, bytes] | None = None) -> list[Conflict]:
        """Merge changes into the values under their keys, and write facts, all at once; return the conflicts."""
        with self._told(), self._writer.transaction("IMMEDIATE"):
            before = protocol.contents(self._writer.select(protocol.rows_of(changes, ())))
            writes = protocol.merged(changes, facts or {}, before)
            self._write([(key, *value) for key, value in writes.values.items()])
            gone = [(key,) for key in writes.deleted]
            self._writer.connection.executemany("DELETE FROM features WHERE key = ?", gone)
        return writes.conflicts

    def expire(self, watermark: int) -> int:
        """Raise the watermark (µs), drop the values that nothing from it on can see, and return their number."""
        with self._told(), self._writer.transaction("IMMEDIATE"):
            if watermark <= protocol.contents(self._writer.select([protocol.WATERMARK])).watermark:
                return 0
            self._write([(protocol.WATERMARK, protocol.watermark_value(watermark), None)])
            return self._writer.connection.execute("DELETE FROM features WHERE dies < ?", (watermark,)).rowcount

    def close(self) -> None:
        """Close the file."""
        for session in (self._reader, self._writer):
            with self._told(), session.lock:
                session.connection.close()

    def _write(self, rows: list[tuple[bytes, bytes, int | None]]) -> None:
        statement = "INSERT OR REPLACE INTO features (key, value, dies) VALUES (?, ?, ?)"
        self._writer.connection.executemany(statement, rows)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise OutsideError(
                f"{self._path}: the store of online features cannot be used: {one_line(error)}"
            ) from error
