"""Tables of any size: written so that equal ones give equal bytes, with any number of threads, packed, and searched.

None needs to be in memory as a whole.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from trunkline.core import files
from trunkline.core.errors import UserError

# Part of the bytes, so never left to a library's default.
ROW_GROUP_ROWS = 2**17
ZSTD_LEVEL = 3


def write_parquet(frame: pl.DataFrame | pl.LazyFrame, path: Path) -> None:
    """Write a frame as Parquet, atomically; the bytes depend on its columns and values only."""
    with files.atomic_path(path) as temporary:
        frame.lazy().sink_parquet(
            temporary,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            row_group_size=ROW_GROUP_ROWS,
            statistics=True,
        )


def join(pieces: Sequence[Path], names: Sequence[str], path: Path) -> None:
    """Write Parquet files one after the other as one, atomically, a row group at a time; `names` are its columns."""
    types = pq.read_schema(pieces[0]).types
    schema = pa.schema(list(zip(names, types, strict=True)))
    with (
        files.atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", compression_level=ZSTD_LEVEL) as writer,
    ):
        for piece in pieces:
            for batch in pq.ParquetFile(piece).iter_batches(ROW_GROUP_ROWS):
                writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))


def refuse_unreadable(schema: pa.Schema, title: str) -> None:
    """Raise UserError for a column of a type that polars has not: it would panic, or not say which column it is."""
    for field in schema:
        if not readable(field.type):
            advice = "convert it, or leave it out with `keep`"
            raise UserError(f"{title}: column {field.name}: is stored as {field.type}, which cannot be read; {advice}")


def readable(stored: pa.DataType) -> bool:
    """Tell whether polars has a type for what Arrow stores."""
    if "decimal256" in str(stored):  # polars panics, and writes a backtrace
        return False
    try:
        pl.from_arrow(pa.nulls(0, stored))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException):
        return False
    return True


def shape(path: Path) -> tuple[int, int]:
    """Return the numbers of rows and columns of a Parquet file."""
    frame = pl.scan_parquet(path)
    return int(frame.select(pl.len()).collect().item()), len(frame.collect_schema())


def packed(frame: pl.DataFrame) -> pl.LazyFrame:
    """Return a frame that takes a fraction of the memory until it is read."""
    content = io.BytesIO()
    frame.write_parquet(content, compression="lz4", row_group_size=ROW_GROUP_ROWS)
    return pl.scan_parquet(content.getvalue())


def firsts(pieces: Callable[[], Iterable[pl.DataFrame]]) -> list[pl.Series]:
    """Tell for each piece which of its rows are the first of all with their values; missing values are equal.

    `pieces` yields the same frames at each call. Only hashes are held for all rows; where they repeat, values decide.
    """
    hashes = [piece.hash_rows() for piece in pieces()]
    starts = [0, *accumulate(map(len, hashes))]
    repeated = pl.concat(hashes).is_duplicated()
    first_rows = ~repeated
    if repeated.any():
        kept = [
            piece.filter(repeated.slice(start, piece.height)) for start, piece in zip(starts, pieces(), strict=False)
        ]
        first = pl.concat(kept).select(pl.struct(pl.all()).is_first_distinct()).to_series()
        first_rows = first_rows.scatter(repeated.arg_true().filter(first), True)
    return [first_rows.slice(start, end - start) for start, end in pairwise(starts)]
