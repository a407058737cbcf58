"""Evaluates expressions over the rows of a frame, in a DuckDB that can reach no file and no network."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import duckdb
import polars as pl

from trunkline.core import expressions
from trunkline.core.errors import UserError
from trunkline.core.expressions import Expression
from trunkline.core.tables import convert, sql
from trunkline.core.tables.convert import ColumnType

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
    try:
        return compute(frame, {name: expressions.parse(source) for name, source in sources.items()}, zone)
    except UnfitError as error:
        raise UserError(f"{error.name}: {sources[error.name]}: {error.message}") from error


class UnfitError(UserError):
    """An expression, by its name, whose value does not fit its type in some row."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name, self.message = name, message


def compute(frame: pl.DataFrame, named: Mapping[str, Expression], zone: str) -> pl.DataFrame:
    """Return one column per parsed expression as `evaluate` does; raises UnfitError."""
    compiled = {name: sql.to_sql(expression, zone) for name, expression in named.items()}
    with _holding(frame) as connection:
        try:
            values = _selected(connection, compiled.values())
        except UNFIT:
            for name, expression in compiled.items():
                _refuse_unfit(connection, name, expression)
            raise
    return pl.DataFrame([series.alias(name) for name, series in zip(named, values, strict=True)])


class Declared(Protocol):
    """What a column of a raw table holds, by its declaration."""

    @property
    def type(self) -> ColumnType:
        """Type of its values."""

    @property
    def formats(self) -> Sequence[str]:
        """Their notations."""


def add_derived(
    raw: pl.DataFrame, declared: Mapping[str, Declared], derived: Mapping[str, Expression], zone: str
) -> pl.DataFrame:
    """Return a raw table with derived columns added, in their own types; a value that cannot be read is missing.

    Raises UnfitError for a value that does not fit its type, TypeError for a column of a wrong stored type.
    """
    if not derived:
        return raw
    read = dict.fromkeys(name for expression in derived.values() for name in expressions.columns(expression))
    parsed = {name: convert.parse(raw[name], declared[name].type, declared[name].formats).values for name in read}
    return raw.with_columns(compute(pl.DataFrame(parsed), derived, zone))


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


def _refuse_unfit(connection: duckdb.DuckDBPyConnection, name: str, expression: str) -> None:
    try:
        _selected(connection, [expression])
    except UNFIT as error:
        first = sql.readable(str(error).splitlines()[0])
        raise UnfitError(name, f"a value does not fit: {first}; {UNFIT_ADVICE}") from error
