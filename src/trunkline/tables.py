"""Writes tables so that equal frames give equal bytes, with any number of threads."""

import io
from pathlib import Path

import polars as pl

from trunkline.core import files

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


def shape(path: Path) -> tuple[int, int]:
    """Return the numbers of rows and columns of a Parquet file."""
    frame = pl.scan_parquet(path)
    return int(frame.select(pl.len()).collect().item()), len(frame.collect_schema())


def packed(frame: pl.DataFrame) -> pl.LazyFrame:
    """Return a frame that takes a fraction of the memory until it is read."""
    content = io.BytesIO()
    frame.write_parquet(content, compression="lz4", row_group_size=ROW_GROUP_ROWS)
    return pl.scan_parquet(content.getvalue())
