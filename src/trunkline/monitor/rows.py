"""The rows of a log that are measured, in batches of bounded size: typed alike, whatever segment they come from.

A column that a segment lacks is null. Statistics of Parquet say of a column with one value that it need not be read.
A text is only the place of its cell in the reference from here on: many different ones take no more memory than few.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

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
_CELL = pl.Int32()


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
    """What is read of rows: features, scores, and the inputs that keys and slices may be in.

    Of a feature that is a number, there is None; of one that is a text, the texts that have a cell of their own.
    With `identified`, also what outcomes are joined by: request_id, request_columns and a struct of these inputs.
    """

    features: Mapping[str, Sequence[str] | None]
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

        Of a feature that is a text, there is the place of its cell: its own, that of all others, that of missing ones.
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
        texts = [f"{INPUTS}.{each}" for each, cells in self.columns.features.items() if cells is not None]
        with self.place.open(folder, name, texts) as file:
            sole = {each: _sole(file.metadata, each) for each in _CHOSEN}
            if self._foreign(sole):
                return
            stored = {field.name: field.type for field in file.schema_arrow}
            wanted = self._wanted(stored, [each for each in _CHOSEN if sole[each] is None])
            for batch in file.iter_batches(BATCH, columns=wanted):
                yield self._chosen(self._typed(batch), sole)

    def _wanted(self, stored: Mapping[str, Any], chosen: Sequence[str]) -> list[str]:
        """Return the columns of a segment to read."""
        of_keys = _OF_KEYS if self.columns.identified else {}
        own = [name for name in (*chosen, *_OF_ALL, *of_keys, *self.columns.scores) if name in stored]
        inputs = [*self.columns.features, *(self.columns.inputs if self.columns.identified else ())]
        logged = _names(stored.get(INPUTS))
        return [*own, *(f"{INPUTS}.{name}" for name in dict.fromkeys(inputs) if name in logged)]

    def _foreign(self, sole: Mapping[str, str | None]) -> bool:
        """Tell whether no row of a segment is chosen, by the columns that have one value."""
        own = {DIGEST: self.choice.digest, ENVIRONMENT: self.choice.environment}
        others = [name for name, value in own.items() if value is not None and sole[name] not in (None, value)]
        return sole[ARM] == _SHADOW or bool(others)

    def _typed(self, batch: Any) -> pl.DataFrame:
        """Return the columns of a pa.RecordBatch, those that say whose rows they are as well."""
        count, logged = batch.num_rows, batch.schema.names
        own = dict.fromkeys(_CHOSEN, pl.String()) | _OF_ALL | dict.fromkeys(self.columns.scores, pl.Float64())
        own |= _OF_KEYS if self.columns.identified else {}
        typed = [_series(name, batch.column(name) if name in logged else None, of, count) for name, of in own.items()]
        names = _names(batch.schema.field(INPUTS).type) if INPUTS in logged else []
        inputs = dict(zip(names, batch.column(INPUTS).flatten() if names else [], strict=True))
        for name, texts in self.columns.features.items():
            values, of = inputs.get(name), pl.Float64() if texts is None else _CELL
            cells = values if texts is None else _cells(values, texts, count)
            typed.append(_series(feature(name), cells, of, count))
        if self.columns.identified:
            given = [_series(name, inputs.get(name), pl.String(), count) for name in self.columns.inputs]
            typed.append(pl.DataFrame(given).to_struct(INPUTS) if given else _series(INPUTS, None, pl.Null(), count))
        return pl.DataFrame(typed)

    def _chosen(self, rows: pl.DataFrame, sole: Mapping[str, str | None]) -> pl.DataFrame:
        """Leave out the rows of others, and give each its window."""
        choice, environment, arm = self.choice, pl.col(ENVIRONMENT), pl.col(ARM)
        conditions = [pl.col(TIME).is_between(choice.since, choice.until, closed="both")]
        if sole[ARM] is None:
            conditions.append(arm.is_null() | (arm != _SHADOW))
        if choice.digest is not None and sole[DIGEST] is None:
            conditions.append(pl.col(DIGEST) == choice.digest)
        if choice.environment is not None and sole[ENVIRONMENT] is None:
            conditions.append(environment.is_null() | (environment == choice.environment))
        chosen = rows.select(pl.all_horizontal(conditions)).to_series()
        window = pl.col(TIME).dt.truncate(_width(choice.window)).alias(WINDOW)
        return (rows if chosen.all() else rows.filter(chosen)).drop(_CHOSEN).with_columns(window)


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


def _series(name: str, values: Any, kind: Any, count: int) -> pl.Series:
    """Return an array of pyarrow's or numpy's with its type; None: as many nulls."""
    if values is None:
        return pl.repeat(None, count, dtype=kind, eager=True).alias(name)
    return pl.Series(name, values if isinstance(values, np.ndarray) else pl.from_arrow(values)).cast(kind)


def _cells(values: Any, texts: Sequence[str], count: int) -> Any:
    """Return the place of each value's cell: that of its text, then that of all others, then that of missing ones."""
    if values is None:
        return np.full(count, len(texts) + 1)
    if not pa.types.is_dictionary(values.type):
        values = pl.Series(pl.from_arrow(values)).cast(pl.String).to_arrow().dictionary_encode()
    known = pc.index_in(values.dictionary.cast(pa.string()), value_set=pa.array(texts, pa.string()))
    places = np.append(known.fill_null(len(texts)).to_numpy(zero_copy_only=False), len(texts) + 1)
    return places[values.indices.fill_null(-1).to_numpy(zero_copy_only=False)]


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
