"""Evaluates expressions over the rows of a frame, in a DuckDB that can reach no file and no network."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import duckdb
import polars as pl

from trunkline.core import expressions
from trunkline.core.errors import UserError
from trunkline.tables import sql

# No statement brings code that DuckDB does not come with.
_NO_EXTENSIONS = {
    "allow_community_extensions": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
# What DuckDB raises for a value that its type cannot hold.
UNFIT = (duckdb.ConversionException, duckdb.OutOfRangeException)
UNFIT_ADVICE = "change the expression, or limit its columns by min and max in conf/contract"


def connect() -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB with UTC sessions and as many threads as OMP_NUM_THREADS says (default: all)."""
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    connection = duckdb.connect(config={"threads": threads, **_NO_EXTENSIONS})
    connection.execute("SET TimeZone='UTC'")
    return connection


def share_sql(columns: Iterable[str], seed: int) -> str:
    """Return SQL for a number from 0 to 1 by the values of some columns: 52 bits of an MD5, so that it never changes.

    Values are taken as texts, a missing one as a text that cannot be typed.
    """
    values = ", ".join(f"coalesce(CAST({sql.identifier(name)} AS VARCHAR), chr(30))" for name in columns)
    return f"(CAST('0x' || substr(md5(concat_ws(chr(31), '{seed}', {values})), 1, 13) AS BIGINT) / {2.0**52!r})"


def shares(frame: pl.DataFrame, columns: Iterable[str], seed: int) -> pl.Series:
    """Return the number of `share_sql` for each row of a frame."""
    with _holding(frame.select(names := list(columns))) as connection:
        return _selected(connection, [share_sql(names, seed)])[0]


def evaluate(frame: pl.DataFrame, sources: Mapping[str, str], zone: str) -> pl.DataFrame:
    """Return one column per named expression, in the order of the frame's rows.

    `frame` holds Int64, Float64, String, Boolean and Datetime (naive UTC) columns; `zone` is that of the
    calendar functions. Raises UserError for an expression whose value does not fit its type in some row.
    """
    compiled = {name: sql.to_sql(expressions.parse(source), zone) for name, source in sources.items()}
    with _holding(frame) as connection:
        try:
            values = _selected(connection, compiled.values())
        except UNFIT:
            for name, expression in compiled.items():
                _refuse_unfit(connection, name, sources[name], expression)
            raise
    return pl.DataFrame([series.alias(name) for name, series in zip(sources, values, strict=True)])


@contextmanager
def _holding(frame: pl.DataFrame) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to the frame alone, whose columns are called by what stands for their names."""
    columns = {sql.neutral(series.name): series for series in frame}
    with connect() as connection:
        connection.register("frame", pl.DataFrame(columns).to_arrow())
        connection.execute("SET enable_external_access=false; SET lock_configuration=true")
        yield connection


def _selected(connection: duckdb.DuckDBPyConnection, selected: Iterable[str]) -> list[pl.Series]:
    """Return what SQL expressions give for each row of the frame."""
    columns = ", ".join(f"{expression} AS _{place}" for place, expression in enumerate(selected))
    values: pl.DataFrame = connection.sql(f"SELECT {columns} FROM frame").pl()
    return values.get_columns()


def _refuse_unfit(connection: duckdb.DuckDBPyConnection, name: str, source: str, expression: str) -> None:
    try:
        _selected(connection, [expression])
    except UNFIT as error:
        first = sql.readable(str(error).splitlines()[0])
        raise UserError(f"{name}: {source}: a value does not fit: {first}; {UNFIT_ADVICE}") from error
