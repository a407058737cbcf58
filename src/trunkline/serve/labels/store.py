"""Outcomes as they are kept: segments in the folder `labels` of a prediction log, to which rows are only ever added."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from trunkline.core.errors import UserError
from trunkline.core.tasks import Task
from trunkline.serve.labels import identity
from trunkline.serve.labels.identity import IDENTITY, KEY, Key
from trunkline.serve.log import REQUEST
from trunkline.serve.prediction_log.place import LABELS, Place
from trunkline.serve.prediction_log.segments import ROW

OUTCOME, ARRIVED, IMPORTED = "outcome", "arrived_at", "imported_at"
TYPES: dict[Task, pl.DataType] = {
    "binary": pl.Boolean(),
    "multiclass": pl.String(),
    "ordinal": pl.String(),
    "regression": pl.Float64(),
    "count": pl.Float64(),
    "quantile": pl.Float64(),
    "ranking": pl.Float64(),
    "multilabel": pl.Int64(),
}
INSTANT = pl.Datetime("us", "UTC")

_ABOUT = b"trunkline.labels"  # in the schema's metadata


class About(msgspec.Struct, frozen=True):
    """What outcomes are: the name of the label, the task, and the key of those that are not by id."""

    label: str
    task: Task
    key: Key | None = None

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The columns of outcomes, as they are kept."""
        own: dict[str, pl.DataType] = {REQUEST: pl.String(), ROW: pl.Int64(), KEY: pl.String()}
        return own | {OUTCOME: TYPES[self.task], ARRIVED: INSTANT, IMPORTED: INSTANT}


@dataclass(frozen=True)
class Outcomes:
    """All outcomes of a log: a row for each, with its kept columns and its identity, and the keys that name some."""

    rows: pl.DataFrame
    keys: frozenset[Key]

    def with_rows(self, rows: pl.DataFrame, now: datetime) -> "Outcomes":
        """Return these and more, which are imported now."""
        more = rows.with_columns(pl.lit(now, INSTANT).alias(IMPORTED)).select(self.rows.columns)
        return replace(self, rows=pl.concat([self.rows, more]))


def read(place: Place, task: Task | None = None) -> Outcomes:
    """Return the outcomes that are kept in a log; of none, as of a task.

    Raises UserError where they are of another task, or of two; OutsideError where they cannot be read.
    """
    pieces, abouts = [], []
    for name in place.labels():
        with place.open(LABELS, name) as file:
            abouts.append(_about(name, file.schema_arrow))
            pieces.append(pl.DataFrame(pl.from_arrow(file.read())))
    tasks = {about.task for about in abouts} | ({task} if task else set())
    if len(tasks) > 1:
        raise UserError(f"{LABELS}/: would hold outcomes of {' and '.join(sorted(tasks))}; log to another place")
    empty = pl.DataFrame(schema=About("", next(iter(tasks), "binary")).schema)
    keys = frozenset(about.key for about in abouts if about.key)
    rows = identity.identified(pl.concat([empty, *pieces])).sort(IMPORTED, maintain_order=True)
    rows = rows.unique([IDENTITY, OUTCOME, ARRIVED], keep="first", maintain_order=True)  # of imports at the same time
    return Outcomes(rows, keys)


def write(place: Place, about: About, rows: pl.DataFrame, now: datetime) -> None:
    """Write outcomes as one segment, whole; the same outcomes again are the same file."""
    kept = rows.select(name for name in about.schema if name != IMPORTED)
    content = msgspec.json.encode(about)
    digest = hashlib.sha256(content + kept.write_csv().encode()).hexdigest()
    table = kept.with_columns(pl.lit(now, INSTANT).alias(IMPORTED)).to_arrow(compat_level=pl.CompatLevel.oldest())
    table = table.replace_schema_metadata({_ABOUT: content})
    place.write(LABELS, f"{LABELS}-{digest[:24]}.parquet", table)


def _about(name: str, schema: Any) -> About:
    try:
        return msgspec.json.decode((schema.metadata or {})[_ABOUT], type=About)
    except (KeyError, msgspec.DecodeError):
        raise UserError(f"{LABELS}/{name}: is no file of trunkline labels import; move it away") from None
