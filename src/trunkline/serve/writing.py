"""Writes scored rows, a part at a time, in the format that the output's name stands for."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from trunkline.serve import tables


def fits_csv(field: Any) -> bool:
    """Tell whether a CSV can hold the values of a column (a pa.Field)."""
    try:
        pyarrow.csv.write_csv(_plain(pa.schema([field])).empty_table(), io.BytesIO())
        if pa.types.is_timestamp(field.type):  # its time zone is looked up with the first value
            pa.scalar(0, field.type).cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


@contextmanager
def open_output(path: Path, schema: Any, output: Path) -> Iterator[Any]:
    """Open a file in the output's format, to be written a table at a time."""
    if tables.format_of(output) == "csv":
        with pyarrow.csv.CSVWriter(path, _plain(schema)) as writer:
            yield writer
    else:
        repeating = [field.name for field in schema if not pa.types.is_floating(field.type)]
        with pq.ParquetWriter(path, schema, use_dictionary=repeating) as writer:
            yield writer


def append(writer: Any, part: Path) -> None:
    """Write the rows of a finished part, an Arrow file."""
    with pa.memory_map(str(part)) as source:
        table = pa.ipc.open_file(source).read_all()
        if isinstance(writer, pyarrow.csv.CSVWriter):
            writer.write_table(table.cast(_plain(table.schema)))
        elif len(table):
            writer.write_table(table, row_group_size=len(table))


def _plain(schema: Any) -> Any:
    """Return a schema without dictionaries, which CSV cannot have."""
    return pa.schema(
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field for field in schema
    )
