"""Fills a store from tables: what `validate` wrote, up to a moment, or rows of a file as they become known."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from trunkline.bundle import manifest
from trunkline.bundle.contract import FieldError, read_contract
from trunkline.bundle.manifest import CONTRACT
from trunkline.conf.serving import Online
from trunkline.core import files
from trunkline.core.errors import UserError, one_line
from trunkline.core.tables import convert
from trunkline.serve.online.evaluate import UnfitError
from trunkline.serve.online.features import OnlineFeatures, Table, put
from trunkline.serve.online.join import RefusedError
from trunkline.serve.online.store.open import open_store
from trunkline.serve.online.values import micros

BATCH = 20_000  # rows that are stored at once, whole or not at all


@dataclass(frozen=True)
class Filled:
    """How many rows of a table were stored, how many were stored already by a run before, and what contradicts."""

    rows: int
    before: int
    conflicts: list[list[Any]]


def opened(folder: Path, declared: Online, url: str, environ: Mapping[str, str]) -> OnlineFeatures:
    """Return the online features of a bundle in a store; raises UserError where there are none, or no such store."""
    kept = manifest.read(folder, keep=frozenset({CONTRACT})).kept
    inputs = [field.name for field in read_contract(folder, kept[CONTRACT]).inputs]
    return OnlineFeatures.read(folder, inputs, declared, open_store(url, environ))


def views(online: OnlineFeatures, name: str) -> list[str]:
    """Return the views that are made of a table."""
    return [view.primitive.name for view in online.join.plan.views if view.table == name]


def check(online: OnlineFeatures, name: str, path: Path) -> int:
    """Return how many rows a table has; raises UserError for one that cannot be read, or lacks a column."""
    try:
        table = pl.scan_parquet(path)
        absent = [column for column in online.tables[name].events.columns if column not in table.collect_schema()]
        rows = table.select(pl.len()).collect().item()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)}); features are made of it") from None
    if absent:
        raise UserError(f"{path}: column {absent[0]}: is missing; features are made of it")
    return int(rows)


def contradicting(filled: Filled) -> str:
    """Return in words which rows contradict what is stored."""
    if not filled.conflicts:
        return ""
    first = ", ".join(map(str, filled.conflicts[0]))
    return f"; {len(filled.conflicts):,} contradict what is stored, which stays: the first is that of {first}"


def materialize(
    online: OnlineFeatures, name: str, path: Path, until: datetime | None, advance: Callable[[int], object]
) -> Filled:
    """Store what is known of a table in a Parquet file up to a moment (naive UTC), or at all.

    A run that was killed goes on after its last batch. Raises UserError for a table that is missing or does not fit.
    """
    events = replace(online.tables[name].events, until=None if until is None else micros(until))
    frame = _read(path)
    fact = _fact(online, name, path, until)
    before = int.from_bytes(online.store.get((), [fact]).facts.get(fact, b"\0"), "big")
    advance(before)
    stored, contradict = before, []
    for rows in _batches(frame.select(events.columns), before):
        try:
            changes = events.changes(rows)
        except UnfitError as error:
            raise UserError(f"{path}: rows {stored + 1} to {stored + len(rows)}: {error}") from None
        stored += len(rows)
        conflicts = online.store.put(changes, {fact: stored.to_bytes(8, "big")})
        contradict += [list(conflict.event) for conflict in conflicts]
        advance(len(rows))
    return Filled(stored - before, before, contradict)


def push(online: OnlineFeatures, name: str, path: Path, advance: Callable[[int], object] = lambda _: None) -> Filled:
    """Store the rows of a CSV or Parquet file, which are of a table; raises UserError for the first that is refused."""
    table = online.tables[name]
    stored, contradict = 0, []
    for rows in _batches(_read(path), 0):
        try:
            contradict += put(table, online.store, _checked(table, path, rows, stored))
        except RefusedError as error:
            raise UserError(f"{path}: row {stored + error.row + 1}: {error}") from None
        stored += len(rows)
        advance(len(rows))
    return Filled(stored, 0, contradict)


def _fact(online: OnlineFeatures, name: str, path: Path, until: datetime | None) -> str:
    """Return under which name it is kept how far a table of these bytes is stored for these views."""
    views = sorted(view.digest.hex() for view in online.join.plan.views if view.table == name)
    parts = [name, files.sha256(path), str(until), str(BATCH), *views]
    return "materialized:" + hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".csv":
            return pl.read_csv(path, infer_schema=False)
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)})") from None


def _batches(frame: pl.DataFrame, start: int) -> Iterator[list[dict[str, Any]]]:
    for place in range(start, frame.height, BATCH):
        yield frame.slice(place, BATCH).to_dicts()


def _checked(table: Table, path: Path, rows: list[dict[str, Any]], start: int) -> list[dict[str, Any]]:
    """Return rows of a file, whose texts are converted as those of a source are, as the contract has them."""
    frame = pl.DataFrame(rows, infer_schema_length=None)
    declared = table.reader.columns
    unknown = [name for name in frame.columns if name not in declared]
    if unknown:
        raise UserError(f"{path}: column {unknown[0]}: is not in the contract of this table")
    values: dict[str, Any] = {}
    for name in frame.columns:
        column = declared[name]
        series = frame[name].replace(column.nulls or [""], None) if frame[name].dtype == pl.String else frame[name]
        try:
            parsed = convert.parse(series, column.type, column.formats)
        except TypeError as error:
            raise UserError(f"{path}: column {name}: {error}") from None
        if parsed.failed.any():
            number = int(parsed.failed.arg_true()[0])
            what = f"{series[number]!r} is not {convert.MEANING[column.type]}"
            raise UserError(f"{path}: row {start + number + 1}: column {name}: {what}")
        values[name] = parsed.values
    return [_of(table, path, row, start + number + 1) for number, row in enumerate(pl.DataFrame(values).to_dicts())]


def _of(table: Table, path: Path, row: Mapping[str, Any], number: int) -> dict[str, Any]:
    own = {name: value for name, value in row.items() if name not in table.reader.derived}
    try:
        return table.reader.read(own, table.needed)
    except FieldError as error:
        raise UserError(f"{path}: row {number}: {error}") from None
