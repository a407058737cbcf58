"""The default store: a SQLite file, which server workers and `push` open at once."""

import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from trunkline.core.errors import OutsideError, one_line
from trunkline.serve.online.store import protocol
from trunkline.serve.online.store.protocol import Conflict, Found
from trunkline.serve.online.values import Change

_SECONDS = 30  # that a writer waits for another
_AT_ONCE = 10_000  # keys of one query; SQLite takes 32,766
_SCHEMA = """
CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, value BLOB NOT NULL, dies INTEGER);
CREATE INDEX IF NOT EXISTS features_dies ON features (dies) WHERE dies IS NOT NULL;
"""


class SQLiteStore:
    """A store in a file; each process opens its own, after it is forked, and its threads may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=512
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_SCHEMA)

    def get(self, keys: Collection[bytes], facts: Collection[str] = ()) -> Found:
        """Return values and facts as they are at one moment."""
        with self._told(), self._lock:
            rows = protocol.rows_of(keys, facts)
            if len(rows) <= _AT_ONCE:
                return protocol.found(self._select(rows))
            with self._transaction("DEFERRED"):
                return protocol.found(self._select(rows))

    def put(self, changes: Mapping[bytes, Change], facts: Mapping[str, bytes] | None = None) -> list[Conflict]:
        """Merge changes into the values under their keys, and write facts, all at once; return the conflicts."""
        with self._told(), self._lock, self._transaction("IMMEDIATE"):
            before = protocol.found(self._select(protocol.rows_of(changes, ())))
            writes = protocol.merged(changes, facts or {}, before)
            self._write([(key, *value) for key, value in writes.values.items()])
            self._connection.executemany("DELETE FROM features WHERE key = ?", [(key,) for key in writes.deleted])
        return writes.conflicts

    def expire(self, watermark: int) -> int:
        """Raise the watermark (µs), drop the values that nothing from it on can see, and return their number."""
        with self._told(), self._lock, self._transaction("IMMEDIATE"):
            if watermark <= protocol.found(self._select([protocol.WATERMARK])).watermark:
                return 0
            self._write([(protocol.WATERMARK, protocol.watermark_value(watermark), None)])
            return self._connection.execute("DELETE FROM features WHERE dies < ?", (watermark,)).rowcount

    def close(self) -> None:
        """Close the file."""
        with self._told(), self._lock:
            self._connection.close()

    def _select(self, keys: list[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            places = ", ".join("?" * len(part))
            found |= self._connection.execute(f"SELECT key, value FROM features WHERE key IN ({places})", part)  # noqa: S608
        return found

    def _write(self, rows: list[tuple[bytes, bytes, int | None]]) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO features (key, value, dies) VALUES (?, ?, ?)", rows)

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise OutsideError(
                f"{self._path}: the store of online features cannot be used: {one_line(error)}"
            ) from error
