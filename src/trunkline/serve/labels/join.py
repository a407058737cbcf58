"""Joins predictions with their outcomes as of a moment: with what had arrived by then, as features are joined."""

from collections.abc import Iterable, Iterator, Set
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from trunkline.core import files
from trunkline.core.tables import parquet
from trunkline.core.tasks import SCORE
from trunkline.serve.labels import identity
from trunkline.serve.labels.identity import IDENTITY, PLACE
from trunkline.serve.labels.store import ARRIVED, IMPORTED, INSTANT, OUTCOME, Outcomes
from trunkline.serve.log import DIGEST, INPUTS, REQUEST, TIME, Outcome
from trunkline.serve.prediction_log.place import Place
from trunkline.serve.prediction_log.segments import ARM, COLUMNS, ENVIRONMENT, PREDICTION_TIME, PROBLEM, ROW

TOGETHER = 1 << 16  # rows of small segments that are joined at a time

_ABOUT: dict[str, pl.DataType] = {
    REQUEST: pl.String(), ROW: pl.Int64(), TIME: INSTANT, PREDICTION_TIME: INSTANT, "version": pl.String(),
    DIGEST: pl.String(), ARM: pl.String(), ENVIRONMENT: pl.String(),
}  # fmt: skip
_LATEST = [ARRIVED, IMPORTED, OUTCOME]  # the last of these counts; the first alone decides, unless two arrive at once


def predictions(place: Place, *columns: str, keys: bool) -> Iterator[pl.DataFrame]:
    """Yield the predictions of a log, many small segments together: these columns and the scores.

    With `keys`, what keys are made of too. Rows that have no score, while a rollout runs, are left out.
    """
    wanted = {PROBLEM, *columns, *((COLUMNS,) if keys else ())}
    for _, alike in groupby(_segments(place, wanted), key=lambda table: table.schema):
        for tables in _together(alike):
            rows: Any = pl.from_arrow(pa.concat_tables(tables))
            yield rows.filter(pl.col(PROBLEM).is_null()).drop(PROBLEM) if PROBLEM in rows.columns else rows


def _segments(place: Place, wanted: Set[str]) -> Iterator[Any]:
    """Yield each segment as a pa.Table of the wanted columns that it has, and its scores.

    Where the columns of requests are wanted, and one has none, inputs too, which are most of a segment.
    """
    for folder, name in place.segments():
        with place.open(folder, name) as file:
            names = [each for each in file.schema_arrow.names if each in wanted or _is_score(each)]
            table = file.read(names)
            if (
                COLUMNS in names
                and INPUTS in {*file.schema_arrow.names} - {*names}
                and table.column(COLUMNS).null_count
            ):
                table = file.read([*names, INPUTS])
            yield table


def _is_score(column: str) -> bool:
    return column == SCORE or column.startswith(f"{SCORE}_")


def _together(tables: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield tables by so many that they have TOGETHER rows or more."""
    waiting: list[Any] = []
    for table in tables:
        waiting.append(table)
        if sum(each.num_rows for each in waiting) >= TOGETHER:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def as_of(outcomes: Outcomes, moment: datetime) -> pl.DataFrame:
    """Return the outcome of each identity that had arrived by a moment (UTC): the last one, where it was corrected."""
    arrived = outcomes.rows.filter(pl.col(ARRIVED) <= moment).sort(_LATEST)
    return arrived.unique(IDENTITY, keep="last", maintain_order=True)


def of_one(outcomes: Outcomes, prediction: pl.DataFrame) -> list[Outcome]:
    """Return all outcomes of a prediction, a frame of one row as `joined` takes it, the last first."""
    links = identity.of_predictions(prediction, outcomes.keys).join(outcomes.rows, on=IDENTITY)
    rows = links.sort(_LATEST, descending=True).select(OUTCOME, ARRIVED, IMPORTED).iter_rows()
    return [Outcome(value, arrived.isoformat(), imported.isoformat()) for value, arrived, imported in rows]


def joined(rows: pl.DataFrame, outcomes: Outcomes, moment: datetime) -> pl.DataFrame:
    """Return the predictions that were made by a moment, with `outcome` and `arrived_at`, null for none by then.

    `rows` have request_id, row, time, and what keys are made of, if outcomes have keys.
    """
    rows = rows.filter(pl.col(TIME) <= moment)
    links = identity.of_predictions(rows, outcomes.keys).join(as_of(outcomes, moment), on=IDENTITY)
    last = links.sort(_LATEST).unique(PLACE, keep="last").select(PLACE, OUTCOME, ARRIVED)
    numbered = rows.with_columns(pl.int_range(pl.len()).alias(PLACE))
    return numbered.join(last, on=PLACE, how="left", maintain_order="left").drop(PLACE)


def table(place: Place, outcomes: Outcomes, moment: datetime) -> pl.DataFrame:
    """Return all predictions of a log that were made by a moment, with their outcomes as of it, in order of time.

    The columns are request_id, row, time, prediction_time, version, digest, arm, environment, outcome, arrived_at and
    the scores; inputs are in the log, at the same request_id and row. Raises OutsideError for a segment that cannot be
    read.
    """
    names = {**_ABOUT, OUTCOME: outcomes.rows.schema[OUTCOME], ARRIVED: INSTANT}
    pieces = [pl.DataFrame(schema=names)]
    for rows in predictions(place, *_ABOUT, keys=bool(outcomes.keys)):
        pieces.append(joined(rows, outcomes, moment).drop(COLUMNS, INPUTS, strict=False))
    whole = pl.concat(pieces, how="diagonal_relaxed")
    scores = sorted(name for name in whole.columns if name not in names)
    return whole.select(*names, *scores).sort(TIME, REQUEST, ROW)


def write(rows: pl.DataFrame, path: Path) -> None:
    """Write joined predictions as Parquet, or as CSV by the path's suffix, atomically."""
    if path.suffix == ".parquet":
        parquet.write_parquet(rows, path)
    else:
        with files.atomic_path(path) as temporary:
            rows.write_csv(temporary, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")


def counts(rows: pl.DataFrame) -> pl.DataFrame:
    """Return for each version, or bundle without one, of an environment: `predictions`, `with_outcome`, and `early`.

    An early outcome arrived before its prediction was made; the environment is null where the log names none.
    """
    version = pl.coalesce("version", pl.col(DIGEST).str.head(12)).alias("version")
    early = pl.col(ARRIVED) < pl.coalesce(PREDICTION_TIME, TIME)
    of_version = rows.group_by(version, ENVIRONMENT).agg(
        pl.len().alias("predictions"), pl.col(OUTCOME).count().alias("with_outcome"), early.sum().alias("early")
    )
    return of_version.sort("version", ENVIRONMENT)
