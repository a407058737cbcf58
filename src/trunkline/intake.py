"""Reads the rows that a batch prediction is asked for, and checks them against a bundle's contract by column.

A file of any size is read in chunks of equal length, so that memory does not grow with it. Of a chunk, a number
is a numpy column and a text is checked once for each of its distinct values: no loop runs over the rows, except
over those that are refused. CSV is read as text, which keeps what is only passed through as it was written.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from trunkline import parsing
from trunkline.bundle import MISSING, Contract, Input
from trunkline.core.errors import UserError, nearest

ROW, REASONS = "row_number", "reasons"  # the columns that predictions add, besides the scores

Format = Literal["csv", "parquet"]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_FORMATS: dict[str, Format] = {".csv": "csv", ".parquet": "parquet"}
_BLOCK = 4 << 20  # bytes of CSV parsed at a time
_BUFFER = 1 << 16  # bytes of a Parquet column read at a time
_LARGEST = float(np.finfo(np.float64).max)
_SHOWN = 40  # characters of a value in a message


@dataclass(frozen=True)
class Table:
    """A file of rows: its columns, and how many rows it has if its format says so."""

    path: Path
    format: Format
    schema: Any  # pa.Schema
    rows: int | None

    def chunks(self, rows: int) -> Iterator[Any]:
        """Yield the rows in order as pa.Tables of `rows` rows each, the last one with what is left.

        Raises UserError for a file that turns out to be broken.
        """
        waiting: list[Any] = []
        with _readable(self.path):
            for batch in self._batches(rows):
                waiting.append(batch)
                while sum(map(len, waiting)) >= rows:
                    table = pa.Table.from_batches(waiting, self.schema)
                    yield table.slice(0, rows).combine_chunks()
                    waiting = table.slice(rows).to_batches()
        if any(map(len, waiting)):
            yield pa.Table.from_batches(waiting, self.schema).combine_chunks()

    def _batches(self, rows: int) -> Iterator[Any]:
        if self.format == "csv":
            with _open_csv(self.path, self.schema.names) as reader:
                yield from reader
        else:
            # Unbuffered and group by group: else the reader keeps whole groups, and the groups before, in memory.
            with pq.ParquetFile(self.path, pre_buffer=False, buffer_size=_BUFFER) as file:
                for group in range(file.num_row_groups):
                    yield from file.iter_batches(batch_size=rows, row_groups=[group])


@dataclass(frozen=True)
class Breach:
    """A requirement that some of a chunk's rows do not meet, in words that follow the field's name."""

    field: str
    words: str
    rows: Mask


@dataclass(frozen=True)
class Rows:
    """A chunk as a bundle takes it: float64 (n, k), NaN for missing; texts as objects (n, m), MISSING for missing."""

    numeric: Floats
    categorical: npt.NDArray[np.object_]
    breaches: tuple[Breach, ...]


def format_of(path: Path) -> Format:
    """Return the format that a file's suffix stands for; raises UserError for any other."""
    if path.suffix not in _FORMATS:
        raise UserError(f"{path}: is neither .csv nor .parquet; name it by its format")
    return _FORMATS[path.suffix]


def open_table(path: Path) -> Table:
    """Open a file of rows; raises UserError if it is missing, broken, or names a column twice."""
    kind = format_of(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; name a CSV or Parquet file of rows to score")
    schema, rows = _csv_header(path) if kind == "csv" else _parquet_header(path)
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise UserError(f"{path}: column {twice[0]}: is there twice; remove or rename one")
    return Table(path, kind, schema, rows)


def check_columns(table: Table, contract: Contract) -> tuple[str, ...]:
    """Return the columns that are no inputs, which pass through; a nullable input may be left out.

    Raises UserError for an input that is missing or of a type that cannot hold it, or a name that is taken.
    """
    inputs = {field.name: field for field in contract.inputs}
    extra = tuple(name for name in table.schema.names if name not in inputs)
    for field in contract.inputs:
        if field.name not in table.schema.names:
            if not field.nullable or nearest(field.name, extra).startswith("; did"):
                raise UserError(f"{table.path}: column {field.name}: is missing; supply it{_near(field.name, extra)}")
        elif not _fits(table.schema.field(field.name).type, field):
            stored = table.schema.field(field.name).type
            raise UserError(
                f"{table.path}: column {field.name}: is stored as {stored}, which is not {parsing.MEANING[field.type]};"
                " convert it"
            )
    for name in (*contract.scores, ROW, REASONS):
        if name in extra:
            raise UserError(f"{table.path}: column {name}: is the name of a column that is added; rename yours")
    return extra


def check_rows(chunk: Any, contract: Contract) -> Rows:
    """Return a chunk (a pa.Table) as matrices in the contract's order, and which rows break the contract."""
    breaches: list[Breach] = []
    numbers = [field for field in contract.inputs if field.role == "numeric"]
    texts = [field for field in contract.inputs if field.role == "categorical"]
    numeric, categorical = np.empty((len(chunk), len(numbers))), np.empty((len(chunk), len(texts)), dtype=object)
    for index, field in enumerate(numbers):
        good = _good_numbers(chunk, field)
        numeric[:, index] = _number(chunk, field, breaches.append) if good is None else good
    for index, field in enumerate(texts):
        categorical[:, index] = _text(chunk, field, breaches.append)
    return Rows(numeric, categorical, tuple(breaches))


def reasons(chunk: Any, breaches: Sequence[Breach]) -> dict[int, str]:
    """Return, for each refused row of a chunk in order, what is wrong with it and with which value."""
    found: dict[int, list[str]] = {}
    for breach in breaches:
        for row in np.flatnonzero(breach.rows).tolist():
            found.setdefault(row, []).append(f"{breach.field}: {breach.words}{_value(chunk, breach.field, row)}")
    return {row: "; ".join(found[row]) for row in sorted(found)}


def _good_numbers(chunk: Any, field: Input) -> Floats | None:
    """Return a column that is stored as such numbers, NaN for missing, if a glance shows that no row is refused.

    The glance is the column's smallest and largest number: no thread waits for another while they are found.
    """
    if field.name not in chunk.schema.names or field.allowed is not None:
        return None
    stored = chunk.schema.field(field.name).type
    whole = pa.types.is_integer(stored) and field.type != "boolean"
    if not whole and not (pa.types.is_float64(stored) and field.type == "number"):
        return None
    values: Floats = chunk[field.name].to_numpy().astype(np.float64, copy=False)
    known = len(values) - int(np.isnan(values).sum())
    if known < len(values) and not field.nullable:
        return None
    low = -_LARGEST if field.min is None else field.min
    high = _LARGEST if field.max is None else field.max
    inside = known == 0 or (np.fmin.reduce(values) >= low and np.fmax.reduce(values) <= high)
    return values if inside else None


def _number(chunk: Any, field: Input, report: Callable[[Breach], None]) -> Floats:
    """Return the numbers, NaN for missing, and report every requirement that a row does not meet."""
    raw = _column(chunk, field)
    parsed = parsing.parse(raw, field.type)
    values = parsed.values.cast(pl.Float64).alias(field.name)

    def breach(words: str, broken: pl.Series) -> None:
        mask = broken.fill_null(False).to_numpy()
        if mask.any():
            report(Breach(field.name, words, mask))

    breach(f"is not {parsing.MEANING[field.type]}", parsed.failed)
    if not field.nullable and values.null_count():
        breach("is missing", values.is_null() & ~parsed.failed)
    if field.min is not None:
        breach(f"is below {_plain(field.min)}", values < field.min)
    if field.max is not None:
        breach(f"is above {_plain(field.max)}", values > field.max)
    if field.allowed is not None:
        breach(f"is not one of {_listed(field.allowed)}", ~values.is_in([float(value) for value in field.allowed]))
    return values.to_numpy()


def _text(chunk: Any, field: Input, report: Callable[[Breach], None]) -> npt.NDArray[np.object_]:
    """Return the texts; each distinct one is made a Python object, and checked, once."""
    encoded = _encoded(chunk, field.name)
    distinct = np.array([*encoded.dictionary.to_pylist(), MISSING], dtype=object)
    codes = pl.Series(pl.from_arrow(encoded.indices)).fill_null(len(distinct) - 1).to_numpy()
    for words, wrong in _wrong_texts(distinct, field):
        mask = wrong[codes]
        if mask.any():
            report(Breach(field.name, words, mask))
    values: npt.NDArray[np.object_] = distinct[codes]
    return values


def _encoded(chunk: Any, name: str) -> Any:
    """Return a column of texts as one pa.DictionaryArray whose dictionary holds no null."""
    if name not in chunk.schema.names:
        return pa.nulls(len(chunk), pa.string()).dictionary_encode()
    column = chunk[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return pc.dictionary_encode(column.cast(pa.large_string()))


def _wrong_texts(distinct: npt.NDArray[np.object_], field: Input) -> Iterator[tuple[str, Mask]]:
    """Yield each requirement in words, with the distinct texts that do not meet it."""
    texts = distinct[:-1].tolist()

    def where(test: Callable[[str], bool], missing: bool = False) -> Mask:
        return np.array([*map(test, texts), missing], dtype=np.bool_)

    yield "is the text that is reserved for missing values", where(MISSING.__eq__)
    if not field.nullable:
        yield "is missing", where(lambda _: False, missing=True)
    if field.allowed is not None:
        allowed = {str(value) for value in field.allowed}
        yield f"is not one of {_listed(field.allowed)}", where(lambda text: text not in allowed)
    if field.pattern is not None:
        pattern = re.compile(field.pattern)
        yield f"is not of the form {field.pattern}", where(lambda text: pattern.fullmatch(text) is None)


def _column(chunk: Any, field: Input) -> pl.Series:
    if field.name not in chunk.schema.names:
        return pl.Series(field.name, [None] * len(chunk), dtype=pl.Null)
    series = pl.from_arrow(chunk[field.name])
    return pl.Series(field.name, series)


def _fits(stored: Any, field: Input) -> bool:
    """Tell whether a column's type can hold such values, by the rules that converted the training data."""
    try:
        parsing.parse(pl.Series(pl.from_arrow(pa.nulls(0, stored))), field.type)
    except (TypeError, pl.exceptions.PolarsError, pa.ArrowException):
        return False
    return True


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())[:300]}; mend the file") from error


def _csv_header(path: Path) -> tuple[Any, None]:
    with _readable(path), path.open("rb") as file:
        first = file.readline()
        if not first.strip():
            raise UserError(f"{path}: is empty; supply a line with the names of the columns")
        names = pyarrow.csv.read_csv(pa.BufferReader(first)).schema.names
    return pa.schema([(name, pa.string()) for name in names]), None


def _parquet_header(path: Path) -> tuple[Any, int]:
    with _readable(path), pq.ParquetFile(path) as file:
        return file.schema_arrow.remove_metadata(), file.metadata.num_rows


def _open_csv(path: Path, names: Sequence[str]) -> Any:
    return pyarrow.csv.open_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _value(chunk: Any, name: str, row: int) -> str:
    value = chunk[name][row].as_py() if name in chunk.schema.names else None
    if value is None:
        return ""
    text = str(value)
    return f" ({text if len(text) <= _SHOWN else text[:_SHOWN] + '…'!r})"


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _listed(values: Sequence[str | int]) -> str:
    shown = ", ".join(map(str, values[:20]))
    return shown if len(values) <= 20 else f"{shown} and {len(values) - 20} more"


def _near(name: str, extra: Sequence[str]) -> str:
    found = nearest(name, extra) if extra else ""
    return found if found.startswith("; did") else ""
