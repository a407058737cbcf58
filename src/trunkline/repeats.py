"""Finds the rows whose key has stood before, in a table of any size that is read a piece at a time."""

from collections.abc import Callable, Iterable

import polars as pl


def firsts(pieces: Callable[[], Iterable[pl.DataFrame]]) -> list[pl.Series]:
    """Tell for each piece which of its rows are the first of all with their values; missing values are equal.

    `pieces` yields the same frames at each call. Only hashes are held for all rows; where they repeat, values decide.
    """
    hashes = [piece.hash_rows() for piece in pieces()]
    repeated = pl.concat(hashes).is_duplicated()
    found = ~repeated
    if repeated.any():
        first = _repeated(pieces(), repeated).select(pl.struct(pl.all()).is_first_distinct()).to_series()
        found = found.scatter(repeated.arg_true().filter(first), True)
    return _split(found, [each.len() for each in hashes])


def _repeated(pieces: Iterable[pl.DataFrame], repeated: pl.Series) -> pl.DataFrame:
    kept, start = [], 0
    for piece in pieces:
        kept.append(piece.filter(repeated.slice(start, piece.height)))
        start += piece.height
    return pl.concat(kept)


def _split(found: pl.Series, lengths: Iterable[int]) -> list[pl.Series]:
    parts, start = [], 0
    for length in lengths:
        parts.append(found.slice(start, length))
        start += length
    return parts
