"""Reads the rows that a batch prediction is asked for, and checks them against a bundle's contract by column.

A file of any size is read in chunks of equal length, so that memory does not grow with it. Of a chunk, a number
is a numpy column and a text is checked once for each of its distinct values: no loop runs over the rows, except
over those that are refused. CSV is read as text, which keeps what is only passed through as it was written.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from trunkline.bundle.contract import Contract
from trunkline.core.errors import UserError, nearest, one_line
from trunkline.core.tables import convert, parquet
from trunkline.pipeline.ingest import csv_records
from trunkline.serve.online.reader import DeclaredColumn
from trunkline.serve.raw import RawRows

ROW, REASONS = "row_number", "reasons"  # the columns that predictions add, besides the scores

MOST_COLUMNS = 10_000

Format = Literal["csv", "parquet"]

_FORMATS: dict[str, Format] = {".csv": "csv", ".parquet": "parquet"}
_BLOCK = 4 << 20  # bytes of CSV parsed at a time
_BUFFER = 1 << 16  # bytes of a Parquet column read at a time


@dataclass(frozen=True)
class RowsFile:
    """A file of rows: its columns, and how many rows it has if its format says so."""

    path: Path
    format: Format
    schema: Any  # pa.Schema
    rows: int | None

    def chunks(self, rows: int, start: int = 0) -> Iterator[Any]:
        """Yield the rows from row `start` on in order as pa.Tables of `rows` rows each, the last one with what is left.

        Raises UserError for a file that turns out to be broken.
        """
        waiting: list[Any] = []
        with _readable(self.path):
            for batch in _after(start, self._batches(rows, start)):
                waiting.append(batch)
                while sum(map(len, waiting)) >= rows:
                    table = pa.Table.from_batches(waiting, self.schema)
                    yield table.slice(0, rows).combine_chunks()
                    waiting = table.slice(rows).to_batches()
        if any(map(len, waiting)):
            yield pa.Table.from_batches(waiting, self.schema).combine_chunks()

    def _batches(self, rows: int, start: int) -> Iterator[tuple[int, Any]]:
        """Yield batches with the number of their first row; groups of rows before `start` are not read."""
        first = 0
        if self.format == "csv":
            for batch in _csv_batches(self.path):
                yield first, batch
                first += len(batch)
            return
        # Unbuffered and group by group: else the reader keeps whole groups, and the groups before, in memory.
        with pq.ParquetFile(self.path, pre_buffer=False, buffer_size=_BUFFER) as file:
            for group in range(file.num_row_groups):
                end = first + file.metadata.row_group(group).num_rows
                if end > start:
                    for batch in file.iter_batches(batch_size=rows, row_groups=[group]):
                        yield first, batch
                        first += len(batch)
                first = end


def _after(start: int, batches: Iterable[tuple[int, Any]]) -> Iterator[Any]:
    """Yield what batches have from row `start` on."""
    for first, batch in batches:
        if first + len(batch) > start:
            yield batch.slice(max(0, start - first))


def format_of(path: Path) -> Format:
    """Return the format that a file's suffix stands for; raises UserError for any other."""
    if path.suffix not in _FORMATS:
        raise UserError(f"{path}: is neither .csv nor .parquet; name it by its format")
    return _FORMATS[path.suffix]


def open_table(path: Path) -> RowsFile:
    """Open a file of rows; raises UserError if it is missing, broken, or names a column twice."""
    kind = format_of(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; name a CSV or Parquet file of rows to score")
    if kind == "csv":
        schema, rows = _csv_header(path), None
    else:
        with _readable(path), pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow.remove_metadata(), file.metadata.num_rows
    if len(schema.names) > MOST_COLUMNS:
        count = f"{len(schema.names):,} columns; at most {MOST_COLUMNS:,} pass through"
        raise UserError(f"{path}: has {count}; leave out what the model does not read")
    twice = sorted(name for name, count in Counter(schema.names).items() if count > 1)
    if twice:
        raise UserError(f"{path}: column {twice[0]}: is there twice; remove or rename one")
    return RowsFile(path, kind, schema, rows)


def check_raw_columns(table: RowsFile, contract: Contract, raw: RawRows) -> tuple[str, ...]:
    """Return the columns that pass through where the inputs are computed from raw columns, as `check_columns`."""
    identity = (name for name in raw.identity if name in table.schema.names)
    check_types(table, {name: raw.declared[name] for name in (*raw.read, *identity)})
    return _passed(table, contract)


def check_types(table: RowsFile, declared: Mapping[str, DeclaredColumn]) -> None:
    """Raise UserError for a column of a type that cannot hold what is declared of it."""
    for name, column in declared.items():
        stored = table.schema.field(name).type
        if not fits(stored, column.type, column.formats):
            meaning = convert.MEANING[column.type]
            raise UserError(f"{table.path}: column {name}: is stored as {stored}, which is not {meaning}; convert it")


def check_columns(table: RowsFile, contract: Contract) -> tuple[str, ...]:
    """Return the columns that are no inputs, which pass through; a nullable input may be left out.

    Raises UserError for an input that is missing or of a type that cannot hold it, or a name that is taken.
    """
    inputs = {field.name: field for field in contract.inputs}
    extra = tuple(name for name in table.schema.names if name not in inputs)
    for field in contract.inputs:
        if field.name not in table.schema.names:
            advice = nearest(field.name, extra)
            near = advice if advice.startswith("; did") else ""
            if near or not field.nullable:
                raise UserError(f"{table.path}: column {field.name}: is missing; supply it{near}")
        elif not fits(table.schema.field(field.name).type, field.category_of or field.type):
            stored = table.schema.field(field.name).type
            raise UserError(
                f"{table.path}: column {field.name}: is stored as {stored}, "
                f"which is not {convert.MEANING[field.category_of or field.type]}; convert it"
            )
    return _passed(table, contract)


def _passed(table: RowsFile, contract: Contract) -> tuple[str, ...]:
    inputs = {field.name for field in contract.inputs}
    for name in (*contract.scores, ROW, REASONS):
        if name in table.schema.names and name not in inputs:
            raise UserError(f"{table.path}: column {name}: is the name of a column that is added; rename yours")
    return tuple(name for name in table.schema.names if name not in inputs)


def without_nulls(chunk: Any, nulls: Mapping[str, Sequence[str] | None]) -> Any:
    """Return a chunk of a CSV in which a column misses what its own source would miss, with quotes or without."""
    for name, missing_texts in nulls.items():
        if missing_texts is not None and name in chunk.schema.names:
            texts = pc.fill_null(chunk[name], "")
            missing = pc.is_in(texts, pa.array(missing_texts, pa.string()))
            texts = pc.if_else(missing, pa.scalar(None, pa.string()), texts)
            chunk = chunk.set_column(chunk.schema.get_field_index(name), name, texts)
    return chunk


def fits(stored: Any, kind: convert.ColumnType, formats: Sequence[str] = ()) -> bool:
    """Tell whether a column's type can hold such values, by the rules that converted the training data."""
    if not parquet.readable(stored):
        return False
    try:
        convert.parse(pl.Series(pl.from_arrow(pa.nulls(0, stored))), kind, formats)
    except TypeError:
        return False
    return True


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {one_line(error)[:300]}; fix the file") from error


def _csv_header(path: Path) -> Any:
    """Return the columns of a CSV; an empty name, which a comma at the end of every line makes, is none."""
    with path.open("rb") as file:
        names = csv_records.Records(str(path), file).header
    return pa.schema([(name, pa.string()) for name in names if name])


def _csv_batches(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        records = csv_records.Records(str(path), file)
        for block in records.blocks(_BLOCK):
            table = _parsed_csv(block.content, records.header)
            if len(table) != block.rows:
                raise UserError(f"{path}: can be read in more than one way; save it with \\n at the end of lines")
            if "" in records.header:
                if table[""].null_count < len(table) and any(table[""].to_pylist()):
                    raise UserError(f"{path}: {csv_records.NO_NAME}")
                table = table.drop_columns([""])
            yield from table.to_batches()


def _parsed_csv(content: bytes, names: Sequence[str]) -> Any:
    content = b"\n" + content  # what looks like a byte order mark would be dropped from the first line
    return pyarrow.csv.read_csv(
        pa.BufferReader(content),
        read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=1, block_size=len(content) + 1),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
