"""Which expression gives a value that its type cannot hold, and for which row: DuckDB says neither."""

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb

from trunkline.core.tables.rows import UNFIT

ROW = "_row"  # the column of a source that numbers its rows, from 1, as they stand in the table


@dataclass(frozen=True)
class Evaluated:
    """An expression as SQL over a source, which are rows of a table; `key` declares it."""

    key: str
    sql: str
    table: str
    source: str


def first(connection: duckdb.DuckDBPyConnection, evaluated: Iterable[Evaluated]) -> str:
    """Return in words which expression and which row it is; of the first that does not fit."""
    for each in evaluated:
        last = connection.execute(f"SELECT coalesce(max({ROW}), 0) FROM {each.source}").fetchall()[0][0]
        if not _fits(connection, each, 1, last):
            return f"{each.key}: row {_first_row(connection, each, last)} of table {each.table}"
    return "an expression of conf/features"


def _first_row(connection: duckdb.DuckDBPyConnection, each: Evaluated, last: int) -> int:
    low, high = 1, last
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if _fits(connection, each, low, middle) else (low, middle)
    return low


def _fits(connection: duckdb.DuckDBPyConnection, each: Evaluated, low: int, high: int) -> bool:
    rows = f"(SELECT * FROM {each.source} WHERE {ROW} BETWEEN {low} AND {high})"
    try:
        connection.execute(f"SELECT max(hash({each.sql})) FROM {rows}").fetchall()  # a count would not need the values
    except UNFIT:
        return False
    return True
