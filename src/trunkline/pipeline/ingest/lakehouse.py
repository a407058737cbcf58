"""Delta tables at a version and Iceberg tables at a snapshot; secrets are those that the libraries find themselves."""

from pathlib import Path
from typing import Any

import polars as pl

from trunkline.conf.data.sources import Delta, Iceberg
from trunkline.core import paths
from trunkline.core.addresses import shown
from trunkline.core.errors import OutsideError, UserError
from trunkline.core.tables import parquet
from trunkline.pipeline.ingest import hosts, iceberg

_MISSING = "needs {}; run: pip install 'trunkline[lakehouse]'"


def read_delta(name: str, source: Delta) -> pl.DataFrame:
    """Return the rows of a Delta table at its pinned version.

    Raises UserError for a table or a version that is not there, OutsideError where it cannot be read.
    """
    if source.version is None:
        raise UserError(f"data.sources.{name}.version: the key is missing; run: trunkline pin {name}")
    table = _delta(name, source)
    if source.version > table.version():
        raise UserError(
            f"data.sources.{name}.version: {shown(source.url)} has no version {source.version} yet, "
            f"the newest is {table.version()}; run: trunkline pin {name}"
        )
    try:
        table.load_as_version(source.version)
        rows = table.to_pyarrow_table()
    except Exception as error:  # its library has errors of its own, and those of every store
        what = f"version {source.version} cannot be read ({type(error).__name__}); was it vacuumed?"
        raise OutsideError(f"{shown(source.url)}: {what}") from None
    return _frame(rows, shown(source.url))


def delta_version(name: str, source: Delta) -> int:
    """Return the newest version of a Delta table."""
    return int(_delta(name, source).version())


def read_iceberg(name: str, source: Iceberg) -> pl.DataFrame:
    """Return the rows of an Iceberg table at its pinned snapshot.

    Raises UserError for a table or a snapshot that is not there, OutsideError where it cannot be read.
    """
    if source.snapshot is None:
        raise UserError(f"data.sources.{name}.snapshot: the key is missing; run: trunkline pin {name}")
    table = _iceberg(name, source)
    snapshot = int(source.snapshot)
    if table.snapshot_by_id(snapshot) is None:
        where = f"{source.table} has no snapshot {snapshot}; it may have expired"
        raise UserError(f"data.sources.{name}.snapshot: {where}; run: trunkline pin {name}")
    try:
        rows = table.scan(snapshot_id=snapshot).to_arrow()
    except Exception as error:  # its library has errors of its own, and those of every store
        raise OutsideError(f"{source.table}: snapshot {snapshot} cannot be read ({type(error).__name__})") from None
    return _frame(rows, source.table)


def iceberg_snapshot(name: str, source: Iceberg) -> str:
    """Return the id of the newest snapshot of an Iceberg table; raises UserError for a table that has none."""
    snapshot = _iceberg(name, source).current_snapshot()
    if snapshot is None:
        raise UserError(f"data.sources.{name}.table: {source.table} has no snapshot yet; write rows to it")
    return str(snapshot.snapshot_id)


def _delta(name: str, source: Delta) -> Any:
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError
    except ModuleNotFoundError:
        raise UserError(f"data.sources.{name}: {_MISSING.format('deltalake')}") from None
    if "://" not in source.url and not paths.inside(Path(source.url)):
        raise UserError(f"data.sources.{name}.url: {source.url} leads out of the project; copy the table into it")
    for host in source.hosts:
        hosts.resolved(f"data.sources.{name}.url", host, source.private_hosts)
    try:
        return DeltaTable(source.url)
    except TableNotFoundError:
        raise UserError(f"data.sources.{name}.url: there is no Delta table in {shown(source.url)}; fix it") from None
    except Exception as error:  # its library has errors of its own, and those of every store
        raise OutsideError(f"{shown(source.url)}: cannot be opened as a Delta table ({type(error).__name__})") from None


def _iceberg(name: str, source: Iceberg) -> Any:
    try:
        from pyiceberg.exceptions import NoSuchTableError
    except ModuleNotFoundError:
        raise UserError(f"data.sources.{name}: {_MISSING.format('pyiceberg')}") from None
    for host in source.hosts:
        hosts.resolved(f"data.sources.{name}.properties", host, source.private_hosts)
    _inside(name, source)
    try:
        return iceberg.load(source.catalog, source.properties, source.table)
    except NoSuchTableError:
        raise UserError(f"data.sources.{name}.table: catalog {source.catalog} has no table '{source.table}'") from None
    except Exception as error:  # its library has errors of its own, and those of every store
        what = f"catalog {source.catalog} cannot be opened ({type(error).__name__})"
        raise OutsideError(
            f"data.sources.{name}: {what}; is it declared and up, and are its credentials set?"
        ) from None


def _inside(name: str, source: Iceberg) -> None:
    uri = source.properties.get("uri", "")
    path = uri.partition(":///")[2] if uri.startswith("sqlite") else ""
    if path and not paths.inside(Path(path)):
        raise UserError(
            f"data.sources.{name}.properties.uri: {path} leads out of the project; copy the database into it"
        )


def _frame(table: Any, title: str) -> pl.DataFrame:
    parquet.refuse_unreadable(table.schema, title)
    frame = pl.from_arrow(table)
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a table without columns")
    return frame
