"""Rows of a database, in a transaction that can change nothing; sorted, because a table has no order of its own.

Text of a driver's errors is shown without the address and its password.
"""

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import polars as pl
import sqlalchemy
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from trunkline.conf.data import databases
from trunkline.conf.data.sources import Query
from trunkline.core import paths
from trunkline.core.addresses import shown
from trunkline.core.errors import OutsideError, UserError, nearest
from trunkline.pipeline.ingest import hosts

# All that SQLite is let do, with the two PRAGMAs that say which rows there are, while they are not set.
_READS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
_NUMBERS = ("schema_version", "user_version")

_READS_PIN = re.compile(r"(?<![:\w\\]):pin\b")


def read(name: str, source: Query) -> pl.DataFrame:
    """Return the rows of the query.

    Raises UserError without a pin, or where the fingerprint is not the pinned one, or for a query that the database
    refuses; OutsideError where the database does not answer.
    """
    if source.pin is None:
        how = (
            f"run: trunkline pin {name}" if source.fingerprint else "write a text that says which rows, such as a date"
        )
        raise UserError(f"data.sources.{name}.pin: the key is missing; {how}")
    with _connected(name, source) as connection:
        fingerprint = _fingerprint(connection, source.fingerprint) if source.fingerprint else source.pin
        if fingerprint != source.pin:
            raise UserError(
                f"data.sources.{name}.pin: the fingerprint is '{fingerprint}', not the pinned '{source.pin}'; "
                f"if the rows were changed on purpose, write that, or run: trunkline pin {name}"
            )
        parameters = {"pin": source.pin} if _READS_PIN.search(source.query) else {}
        return _rows(f"data.sources.{name}.query", connection, source.query, parameters)


def fingerprint(name: str, source: Query) -> str | None:
    """Return what the fingerprint is now; None for a source that declares none."""
    if source.fingerprint is None:
        return None
    with _connected(name, source) as connection:
        return _fingerprint(connection, source.fingerprint)


def address(source: Query) -> str:
    """Return where the rows are from, without a secret."""
    return shown(source.url) if source.url else f"${source.environment}"


def _fingerprint(connection: sqlalchemy.Connection, query: str) -> str:
    row = connection.execute(sqlalchemy.text(query)).first()
    return ", ".join(map(str, row)) if row else ""


def _rows(key: str, connection: sqlalchemy.Connection, query: str, parameters: Mapping[str, str]) -> pl.DataFrame:
    result = connection.execute(sqlalchemy.text(query), dict(parameters))
    names = list(result.keys())
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{key}: column '{repeated[0]}' appears more than once; name it apart with `as`")
    values = [list(column) for column in zip(*result.fetchall(), strict=True)] or [[] for _ in names]
    return pl.DataFrame([_series(key, name, column) for name, column in zip(names, values, strict=True)])


def _series(key: str, name: str, values: list[Any]) -> pl.Series:
    try:
        series = pl.Series(name, values, strict=True)
    except (TypeError, pl.exceptions.PolarsError):
        kinds = ", ".join(sorted({type(value).__name__ for value in values if value is not None}))
        raise UserError(f"{key}: column '{name}' holds values of more than one type ({kinds}); cast it") from None
    if series.dtype == pl.Object:
        raise UserError(f"{key}: column '{name}' is of the type {type(values[0]).__name__}; cast it to text")
    zoned = isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone
    return series.dt.convert_time_zone("UTC") if zoned else series


@contextmanager
def _connected(name: str, source: Query) -> Iterator[sqlalchemy.Connection]:
    key = f"data.sources.{name}"
    url = _url(key, source)
    try:
        engine = _engine(key, source, url)
        with engine.connect() as connection:
            yield _unwritable(connection)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        advice = f"install the one that SQLAlchemy names for it ({type(error).__name__})"
        if url.get_backend_name() == "postgresql":
            advice = "write postgresql+psycopg://, and run: pip install 'trunkline[postgresql]'"
        raise UserError(f"{key}: no driver for {url.drivername}; {advice}") from None
    except SQLAlchemyError as error:
        said = _said(error, url)
        if isinstance(error, DBAPIError) and (error.statement is None or error.connection_invalidated):
            raise OutsideError(f"{key}: {address(source)}: does not answer: {said}; is it up?") from None
        raise UserError(f"{key}: {address(source)}: refuses the query: {said}; fix it") from None


def _engine(key: str, source: Query, url: sqlalchemy.URL) -> sqlalchemy.Engine:
    """Return an engine for the address, which conf/data's own hosts are looked up for once."""
    options: dict[str, str] = {}
    for host in source.hosts:
        addresses = hosts.resolved(f"{key}.url", host, source.private_hosts)
        if url.get_backend_name() == "postgresql":  # it is connected to just these
            options = {"host": ",".join([host] * len(addresses)), "hostaddr": ",".join(addresses)}
    if url.get_backend_name() == "sqlite":
        file = f"file:{quote(str(url.database))}"
        url = url.set(database=file).update_query_dict({"mode": "ro", "uri": "true"})
    return sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=options)


def _unwritable(connection: sqlalchemy.Connection) -> sqlalchemy.Connection:
    """One consistent view, as far as the database has it, that can change nothing; nothing is ever committed.

    The connection sees to it, and never the text of a query.
    """
    match connection.dialect.name:
        case "sqlite":
            driver: Any = connection.connection.dbapi_connection
            driver.execute(
                "select 1 from json_each('1'), json_tree('1')"
            ).close()  # their first use is more than to read
            driver.set_authorizer(_only_reads)
        case "postgresql":
            # A query becomes that of a cursor, so it is one statement that selects; the mode is fixed by the first one.
            connection = connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True, stream_results=True
            )
            # Else a text that is compared means another time.
            connection.execute(sqlalchemy.text("select set_config('TimeZone', 'UTC', false)")).close()
        case _:
            connection.execute(sqlalchemy.text("SET SESSION TRANSACTION READ ONLY"))
            connection.execute(sqlalchemy.text("START TRANSACTION READ ONLY, WITH CONSISTENT SNAPSHOT"))
    return connection


def _only_reads(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Answer SQLite, which asks for everything that a statement would do."""
    number = action == sqlite3.SQLITE_PRAGMA and first in _NUMBERS and second is None
    return sqlite3.SQLITE_OK if action in _READS or number else sqlite3.SQLITE_DENY


def _url(key: str, source: Query) -> sqlalchemy.URL:
    text = source.url or os.environ.get(source.environment or "", "")
    if not text:
        raise UserError(f"{key}.environment: {source.environment} is not set; set it to the address of the database")
    try:
        url = sqlalchemy.make_url(text)
    except (ArgumentError, ValueError):  # its text would hold the address
        raise UserError(f"{key}: {address(source)}: is no address such as postgresql+psycopg://host/database") from None
    if url.drivername not in databases.READABLE:
        raise UserError(
            f"{key}: {url.drivername}:// cannot be kept from writing{nearest(url.drivername, databases.READABLE)}"
        )
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise UserError(f"{key}: {url.database}: there is no such database; a path starts at the project")
    if source.url and url.get_backend_name() == "sqlite" and not paths.inside(Path(url.database or "")):
        raise UserError(f"{key}.url: {url.database} leads out of the project; copy the database into it")
    return url


def _said(error: SQLAlchemyError, url: sqlalchemy.URL) -> str:
    """Return the first line of what the driver says, without the password and without addresses."""
    text = str(getattr(error, "orig", None) or type(error).__name__).strip().partition("\n")[0]
    for secret in filter(None, (url.password, *url.query.values())):
        for written in (str(secret), quote(str(secret), safe=""), quote_plus(str(secret))):
            text = text.replace(written, "***")
    return re.sub(r"\S+://\S+", "***", text)[:300]
