"""Files into tables: unpacked by their names, decoded by the declared format, and put together where there are several.

A CSV is checked record by record before it is read (`csv_records`).
"""

import codecs
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from trunkline.conf.data.sources import Files, Package, TableSource
from trunkline.core.errors import UserError, nearest
from trunkline.core.tables import parquet
from trunkline.pipeline.ingest import csv_records, plain_csv

_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
CHECKED = 4 << 20  # bytes of a CSV that are checked at a time


@dataclass(frozen=True)
class File:
    """The bytes of a file, how messages call it, and the columns that stand in the names of its folders."""

    name: str
    content: bytes
    partition: Mapping[str, str | None] = field(default_factory=dict)


def partition(name: str) -> dict[str, str | None]:
    """Return the columns of a path as Hive writes them, such as month=2024-01/part-0.parquet."""
    pairs = (folder.partition("=") for folder in name.split("/")[:-1] if "=" in folder)
    return {unquote(key): None if value == _HIVE_NULL else unquote(value) for key, _, value in pairs if key}


def table(files: Iterable[File], source: Package | Files) -> pl.LazyFrame:
    """Return the rows of all files: a CSV with every column as text, a Parquet as it is.

    Files stand one after the other, those of a package beside each other. At any time, one file's rows are unpacked.
    Raises UserError for a file that is broken or empty, or has other columns than the first.
    """
    if isinstance(source, Package):
        return _frame(tuple(files), source).lazy()
    pieces: list[pl.LazyFrame] = []
    first: tuple[str, pl.Schema] | None = None
    for file in files:
        frame = _frame((file,), source)
        first = first or (file.name, frame.schema)
        _same_columns(*first, file.name, frame)
        pieces.append(parquet.packed(frame) if len(source.files) > 1 else frame.lazy())
    return pl.concat(pieces)


def _frame(files: Sequence[File], source: Package | Files) -> pl.DataFrame:
    """Return the table of one file, or of several that stand beside each other."""
    file = files[0]
    frame = _csv(_plain(files, source), source.nulls) if source.format == "csv" else _parquet(file, source)
    if frame.is_empty():
        raise UserError(f"{file.name}: has no rows; supply a file with data")
    return picked(_with_partition(frame, file), source, file.name)


def _with_partition(frame: pl.DataFrame, file: File) -> pl.DataFrame:
    for column in file.partition:
        if column in frame.columns:
            raise UserError(
                f"{file.name}: column '{column}' is in the file and in the name of its folder; remove it in one"
            )
    return frame.with_columns(pl.lit(value, pl.String).alias(column) for column, value in file.partition.items())


def _parquet(file: File, source: Package | Files) -> pl.DataFrame:
    try:
        schema = pq.read_schema(io.BytesIO(file.content))
        wanted = [name for name in schema.names if not source.keep or name in source.keep.values()]
        parquet.refuse_unreadable(pa.schema(schema.field(name) for name in wanted), file.name)
        if all(parquet.readable(column.type) for column in schema):
            return pl.read_parquet(io.BytesIO(file.content), columns=wanted or None)
        # polars would panic at a column that is not even wanted.
        return pl.DataFrame(pq.read_table(io.BytesIO(file.content), columns=wanted))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException) as error:
        raise UserError(f"{file.name}: is not a readable Parquet file ({_first_line(error)})") from error


def picked(frame: pl.DataFrame, source: TableSource, title: str) -> pl.DataFrame:
    """Return the declared columns under their declared names; all of them if none is declared.

    Raises UserError for a column that is not there.
    """
    for theirs in source.keep.values():
        if theirs not in frame.columns:
            raise UserError(f"{title}: has no column '{theirs}'{nearest(theirs, frame.columns)}")
    return frame.select(pl.col(theirs).alias(ours) for ours, theirs in source.keep.items()) if source.keep else frame


def _plain(files: Sequence[File], source: Package | Files) -> File:
    """Return a CSV with a header and commas."""
    unpacked = [_unpacked(file, source.member) for file in files]
    if not plain_csv.needed(source):
        return unpacked[0]
    texts = [(file.name, _decoded(file)) for file in unpacked]
    return File(files[0].name, plain_csv.rewritten(texts, source).encode())


def _same_columns(first: str, expected: pl.Schema, name: str, table: pl.DataFrame) -> None:
    if table.columns != expected.names():
        different = [
            column for column in [*table.columns, *expected] if not (column in table.columns and column in expected)
        ]
        what = f"column '{different[0]}' is in one of the two only" if different else "the columns are in another order"
        raise UserError(f"{name}: has other columns than {first}: {what}; fix it, or name the wanted ones in `keep`")
    for column, dtype in expected.items():
        if table.schema[column] != dtype:
            raise UserError(
                f"{name}: column '{column}' is stored as {table.schema[column]}, in {first} as {dtype}; write it alike"
            )


def _unpacked(file: File, member: str | None) -> File:
    if file.name.endswith(".zip"):
        return _unzipped(file, member)
    if not file.name.endswith(".gz"):
        return file
    try:
        return File(file.name, gzip.decompress(file.content))
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file.name}: is not a readable gzip file ({error}); supply a whole one") from error


def _unzipped(file: File, member: str | None) -> File:
    try:
        with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
            name = _member(file.name, archive.namelist(), member)
            return File(f"{file.name}/{name}", archive.read(name))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{file.name}: is not a readable zip file ({error}); supply a whole one") from error


def _member(title: str, names: Sequence[str], wanted: str | None) -> str:
    if wanted is None and len(names) != 1:
        raise UserError(f"{title}: holds {len(names)} files; a zipped CSV holds exactly one, or `member` says which")
    matching = [name for name in names if wanted is None or fnmatchcase(name, wanted)]
    if len(matching) != 1:
        raise UserError(
            f"{title}: holds {len(matching)} files named '{wanted}'; "
            f"`member` must name one of: {', '.join(sorted(names)[:5])}"
        )
    return matching[0]


def _csv(file: File, nulls: Sequence[str]) -> pl.DataFrame:
    records = csv_records.Records(file.name, io.BytesIO(file.content))
    rows = sum(block.rows for block in records.blocks(CHECKED))
    text = file.content.removeprefix(codecs.BOM_UTF8)
    try:
        frame = pl.read_csv(text, infer_schema=False, null_values=list(nulls), empty_string_is_null="" in nulls)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{file.name}: is not valid CSV ({_first_line(error)}); fix it") from error
    # polars leaves quotes doubled in a header that it takes out of quotes elsewhere.
    if tuple(name.replace('""', '"') for name in frame.columns) == records.header:
        frame.columns = list(records.header)
    if tuple(frame.columns) != records.header or frame.height != rows:
        raise UserError(f"{file.name}: can be read in more than one way; save it with \\n at the end of lines")
    # A comma at the end of every line makes an empty column, which is dropped; one with values needs a name.
    if "" in frame.columns and not frame[""].replace("", None).is_null().all():
        raise UserError(f"{file.name}: {csv_records.NO_NAME}")
    return frame.drop("", strict=False)


def _decoded(file: File) -> str:
    try:
        return file.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = file.content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{file.name}: line {line}: byte 0x{file.content[error.start]:02x} is not UTF-8; save it as UTF-8"
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
