"""The rows of a log that are measured, in batches of bounded size: typed alike, whatever segment they come from.

A column that a segment lacks is null. Statistics of Parquet say of a column with one value that it need not be read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from trunkline.monitor.table import INSTANT, WINDOW
from trunkline.serve.log import DIGEST, INPUTS, REQUEST, TIME
from trunkline.serve.prediction_log.place import Place
from trunkline.serve.prediction_log.segments import ARM, COLUMNS, ENVIRONMENT, PREDICTION_TIME, PROBLEM, ROW

LATENCY = "latency"
BATCH = 1 << 18  # rows that are held at a time

_SHADOW = "shadow"
_OF_ALL: dict[str, Any] = {
    ROW: pl.Int64(), TIME: INSTANT, LATENCY: pl.Float64(), PREDICTION_TIME: INSTANT, PROBLEM: pl.String(),
}  # fmt: skip
_OF_KEYS: dict[str, Any] = {REQUEST: pl.String(), COLUMNS: pl.String()}
_CHOSEN = (DIGEST, ENVIRONMENT, ARM)
_TYPES = {"numeric": pl.Float64(), "categorical": pl.String()}


def feature(name: str) -> str:
    """Return the name of a feature's column in a batch."""
    return f"feature:{name}"


@dataclass(frozen=True)
class Choice:
    """Which rows: of a bundle and an environment (None: of all), up to both moments (UTC), in windows of a width."""

    since: datetime
    until: datetime
    window: timedelta
    digest: str | None
    environment: str | None


@dataclass(frozen=True)
class Columns:
    """What is read of rows: features with their roles, scores, and the inputs that keys and slices may be in.

    With `identified`, also what outcomes are joined by: request_id, request_columns and a struct of these inputs.
    """

    features: dict[str, str]
    scores: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    identified: bool = False


@dataclass(frozen=True)
class Reader:
    """Reads chosen rows of a log."""

    place: Place
    choice: Choice
    columns: Columns

    def batches(self) -> Iterator[pl.DataFrame]:
        """Yield rows with their window's start: row, time, latency, prediction_time, problem, scores and features.

        A batch has rows of some segments, or a part of a large one. Raises OutsideError for a segment that cannot be
        read.
        """
        held: list[pl.DataFrame] = []
        for folder, name in self.segments():
            for rows in self._read(folder, name):
                held.append(rows)
                if sum(each.height for each in held) >= BATCH:
                    yield pl.concat(held)
                    held = []
        if held:
            yield pl.concat(held)

    def segments(self) -> list[tuple[str, str]]:
        """Return the folder and name of each segment that may have chosen rows, in order of the hours."""
        first, last = (f"{moment:%Y-%m-%dT%H}" for moment in (self.choice.since, self.choice.until))
        listed = ((folder.partition("/")[2], folder, name) for folder, name in self.place.segments())
        return [(folder, name) for hour, folder, name in sorted(listed) if first <= hour <= last]

    def stored(self) -> int:
        """Return how many rows the segments have, chosen or not."""
        total = 0
        for folder, name in self.segments():
            with self.place.open(folder, name) as file:
                total += file.metadata.num_rows
        return total

    def _read(self, folder: str, name: str) -> Iterator[pl.DataFrame]:
        with self.place.open(folder, name) as file:
            sole = {each: _sole(file.metadata, each) for each in _CHOSEN}
            if sole[ARM] == _SHADOW or (self.choice.digest and sole[DIGEST] not in (None, self.choice.digest)):
                return
            stored = {field.name: field.type for field in file.schema_arrow}
            wanted = self._wanted(stored, [each for each in _CHOSEN if sole[each] is None])
            for batch in file.iter_batches(BATCH, columns=wanted):
                rows: Any = pl.from_arrow(pa.Table.from_batches([batch]))
                yield self._typed(self._chosen(rows, sole))

    def _wanted(self, stored: dict[str, Any], chosen: Sequence[str]) -> list[str]:
        """Return the columns of a segment to read."""
        of_keys = _OF_KEYS if self.columns.identified else {}
        own = [name for name in (*chosen, *_OF_ALL, *of_keys, *self.columns.scores) if name in stored]
        inputs = [*self.columns.features, *(self.columns.inputs if self.columns.identified else ())]
        logged = _names(stored.get(INPUTS))
        return [*own, *(f"{INPUTS}.{name}" for name in dict.fromkeys(inputs) if name in logged)]

    def _chosen(self, rows: pl.DataFrame, sole: dict[str, str | None]) -> pl.DataFrame:
        """Leave out the rows of others."""
        for name, value in sole.items():
            if value is not None or name not in rows.columns:
                rows = rows.with_columns(pl.lit(value, pl.String).alias(name))
        choice, environment, arm = self.choice, pl.col(ENVIRONMENT), pl.col(ARM)
        conditions = [
            arm.is_null() | (arm != _SHADOW),
            pl.col(TIME).is_between(choice.since, choice.until, closed="both"),
        ]
        if choice.digest is not None:
            conditions.append(pl.col(DIGEST) == choice.digest)
        if choice.environment is not None:
            conditions.append(environment.is_null() | (environment == choice.environment))
        return rows.filter(conditions)

    def _typed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the columns of a batch, in one order and with their types."""
        kind = rows.schema.get(INPUTS)
        logged = [field.name for field in kind.fields] if isinstance(kind, pl.Struct) else []
        own = dict(_OF_ALL) | dict.fromkeys(self.columns.scores, pl.Float64())
        own |= _OF_KEYS if self.columns.identified else {}
        columns = [_as(pl.col(name) if name in rows.columns else None, kind, name) for name, kind in own.items()]
        for name, role in self.columns.features.items():
            values = pl.col(INPUTS).struct.field(name) if name in logged else None
            columns.append(_as(values, _TYPES[role], feature(name)))
        if self.columns.identified:
            texts = [
                _as(pl.col(INPUTS).struct.field(name) if name in logged else None, pl.String(), name)
                for name in self.columns.inputs
            ]
            columns.append(pl.struct(texts).alias(INPUTS) if texts else pl.lit(None).alias(INPUTS))
        return rows.select(pl.col(TIME).dt.truncate(_width(self.choice.window)).alias(WINDOW), *columns)


def thinned(rows: pl.DataFrame, share: float) -> pl.DataFrame:
    """Return about this share of rows, evenly: the same ones wherever and whenever they are read."""
    if share >= 1:
        return rows
    times, numbers = (rows[name].cast(pl.Int64).to_numpy().astype(np.uint64) for name in (TIME, ROW))
    mixed = _mixed(times + np.uint64(0x9E3779B97F4A7C15) * (numbers + np.uint64(1)))
    return rows.filter(pl.Series(mixed < np.uint64(int(share * 2**64))))


def starts(choice: Choice) -> list[datetime]:
    """Return the start of each window, from that of `since` on."""
    first = begin(choice.since, choice.window)
    count = -(-(choice.until - first) // choice.window)
    return [first + number * choice.window for number in range(count)]


def begin(moment: datetime, window: timedelta) -> datetime:
    """Return the start of a moment's window: windows are multiples of their width since 1970."""
    start = datetime(1970, 1, 1, tzinfo=UTC)
    return start + (moment - start) // window * window


def _mixed(values: Any) -> Any:
    """Return numbers that look random: the finalizer of SplitMix64 (Steele et al., OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _width(window: timedelta) -> str:
    return f"{window // timedelta(microseconds=1)}us"


def _as(values: pl.Expr | None, kind: Any, name: str) -> pl.Expr:
    if values is None:
        return pl.lit(None, kind).alias(name)
    typed = values.cast(kind)
    return (typed.fill_nan(None) if kind == pl.Float64() else typed).alias(name)


def _names(kind: Any) -> list[str]:
    return [field.name for field in kind] if isinstance(kind, pa.StructType) else []


def _sole(metadata: Any, name: str) -> str | None:
    """Return the one value that a column of texts has in a whole segment by its statistics; None where it may vary."""
    paths = [metadata.schema.column(place).path for place in range(metadata.num_columns)]
    groups = range(metadata.num_row_groups if name in paths else 0)
    statistics = [metadata.row_group(group).column(paths.index(name)).statistics for group in groups]
    known = [each for each in statistics if each is not None and each.has_min_max and each.null_count == 0]
    values = {value for each in known for value in (each.min, each.max)}
    return values.pop() if groups and len(known) == len(groups) and len(values) == 1 else None
