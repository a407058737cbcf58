"""Writes tables so that equal frames give equal bytes, with any number of threads."""

from pathlib import Path

import polars as pl

from trunkline.core import files

# Part of the bytes, so never left to a library's default.
ROW_GROUP_ROWS = 2**17
ZSTD_LEVEL = 3


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame as Parquet, atomically; the bytes depend on its columns and values only."""
    with files.atomic_path(path) as temporary:
        frame.write_parquet(
            temporary,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            row_group_size=ROW_GROUP_ROWS,
            statistics=True,
        )
