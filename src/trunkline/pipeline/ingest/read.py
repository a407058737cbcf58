"""Reads a source as conf/data has pinned it, and says what exactly was read.

Where a table has no order of its own (a database, Delta, Iceberg), its rows are sorted by all their columns, so that
the same rows give the same bytes.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from trunkline.conf.data.sources import Delta, Files, Iceberg, Package, Query, Source
from trunkline.core.addresses import shown
from trunkline.core.errors import UserError
from trunkline.core.files import sha256
from trunkline.core.progress import Bar
from trunkline.core.tables import parquet
from trunkline.pipeline.ingest import decode, package
from trunkline.pipeline.ingest import files as ingest_files
from trunkline.pipeline.ingest.decode import File


@dataclass(frozen=True)
class Piece:
    """A file that was read: its size in bytes and its sha256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Reading:
    """A table, and what it was read from: an address without a secret, the pin, and the files if it is of files.

    No ETag and no time: they differ where the bytes are the same.
    """

    table: pl.LazyFrame
    kind: str
    address: str
    pin: str
    files: tuple[Piece, ...]


def read(name: str, source: Source) -> Reading:
    """Read the source called `name`.

    Raises UserError for a source that is not pinned, is not there, or is not what was pinned; OutsideError where
    something in between fails.
    """
    match source:
        case Package():
            title = f"{source.package}: {source.path}"
            return _of_files(source, title, source.version, package.fetch(name, source))
        case Files():
            return _of_files(source, shown(source.url), "sha256", ingest_files.fetch(name, source))
        case Query():
            from trunkline.pipeline.ingest import sql

            return _sorted(source, sql.read(name, source), sql.address(source), source.pin)
        case Delta():
            from trunkline.pipeline.ingest import lakehouse

            return _sorted(source, lakehouse.read_delta(name, source), shown(source.url), source.version)
        case Iceberg():
            from trunkline.pipeline.ingest import lakehouse

            title = f"{source.catalog}: {source.table}"
            return _sorted(source, lakehouse.read_iceberg(name, source), title, source.snapshot)


def _of_files(source: Package | Files, title: str, pin: str, files: Iterable[File]) -> Reading:
    pieces: list[Piece] = []
    count = len(source.files) if isinstance(source, Files) else 1 + len(source.beside)

    def counted(bar: Bar) -> Iterator[File]:
        for file in files:
            pieces.append(Piece(file.name, len(file.content), hashlib.sha256(file.content).hexdigest()))
            yield file
            bar.advance()

    with Bar(f"reading {title}", count, "files") as bar:
        table = decode.table(counted(bar), source)
    return Reading(table, source.kind, title, pin, tuple(pieces))


def _sorted(source: Query | Delta | Iceberg, frame: pl.DataFrame, title: str, pin: str | int | None) -> Reading:
    frame = decode.picked(frame, source, title)
    if frame.is_empty():
        raise UserError(f"{title}: has no rows; pin what has some")
    return Reading(frame.sort(frame.columns, nulls_last=True).lazy(), source.kind, title, str(pin), ())


def report(reading: Reading, written: Path) -> dict[str, Any]:
    """Return what reports/ingest.json says of a source, whose table was written to a file."""
    rows, columns = parquet.shape(written)
    table = {"rows": rows, "columns": columns, "sha256": sha256(written)}
    files = [asdict(piece) for piece in reading.files]
    return {"kind": reading.kind, "address": reading.address, "pin": reading.pin, "files": files, "table": table}
