"""The rows of a log that are measured, in batches of bounded size: typed alike, whatever segment they come from.

A column that a segment lacks is null. Statistics of Parquet say of a column with one value, or with none, that it need
not be read.
A text is only the place of its cell in the reference from here on: many different ones take no more memory than few.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa

from trunkline.monitor.table import INSTANT, WINDOW
from trunkline.serve.log import DIGEST, INPUTS, REQUEST, TIME
from trunkline.serve.prediction_log.place import Place, columns
from trunkline.serve.prediction_log.segments import ABOUT, ARM, COLUMNS, ENVIRONMENT, PREDICTION_TIME, PROBLEM, ROW

LATENCY = "latency"
BATCH = 1 << 16  # rows that are held at a time

T = TypeVar("T")

_SHADOW = "shadow"
_OF_ALL: dict[str, Any] = {
    ROW: pl.Int64(), TIME: INSTANT, LATENCY: pl.Float64(), PREDICTION_TIME: INSTANT, PROBLEM: pl.String(),
}  # fmt: skip
_OF_KEYS: dict[str, Any] = {REQUEST: pl.String(), COLUMNS: pl.String()}
_CHOSEN = (DIGEST, ENVIRONMENT, ARM)


def feature(name: str) -> str:
    """Return the name of a feature's column in a batch."""
    return f"feature:{name}"


@dataclass(frozen=True)
class _Kind:
    """Of rows that are typed alike: their fields, and which of the columns that say whose they are may vary."""

    fields: tuple[Any, ...]
    varying: tuple[str, ...]


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
    """Reads chosen rows of a log; `hidden` are the features that were left out of what has been read, or hashed.

    `listed` are the folders and names of the segments to read; None: of all that may have chosen rows.
    """

    place: Place
    choice: Choice
    columns: Columns
    hidden: set[str] = field(default_factory=set)
    listed: Sequence[tuple[str, str]] | None = None

    def batches(self) -> Iterator[pl.DataFrame]:
        """Yield rows with their window's start: row, time, latency, prediction_time, problem, scores and features.

        Of a feature that is a text, there is the place of its cell: its own, that of all others, that of missing ones.
        A batch has rows of some segments, or a part of a large one. Raises OutsideError for a segment that cannot be
        read.
        """
        yield from _ahead(map(self._joined, self._read_together()))

    def _read_together(self) -> Iterator[dict[_Kind, list[Any]]]:
        """Yield pa.RecordBatches of a batch by their kind."""
        held: dict[_Kind, list[Any]] = {}
        count = 0
        for folder, name in self.segments():
            for kind, batch in self._read(folder, name):
                held.setdefault(kind, []).append(batch)
                count += batch.num_rows
                if count >= BATCH:
                    yield held
                    held, count = {}, 0
        if held:
            yield held

    def segments(self) -> list[tuple[str, str]]:
        """Return the folder and name of each segment that may have chosen rows, in order of the hours."""
        if self.listed is not None:
            return list(self.listed)
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

    def _joined(self, held: Mapping[_Kind, Sequence[Any]]) -> pl.DataFrame:
        """Return the chosen rows of pa.RecordBatches; those of a kind are typed at once."""
        return pl.concat(self._chosen(self._typed(pa.Table.from_batches(of)), kind) for kind, of in held.items())

    def _read(self, folder: str, name: str) -> Iterator[tuple[_Kind, Any]]:
        """Yield pa.RecordBatches of a segment that may have chosen rows."""
        texts = [f"{INPUTS}.{each}" for each, cells in self.columns.features.items() if cells is not None]
        with self.place.open(folder, name, texts) as file:
            known = _known(file.metadata, [*_CHOSEN, *_OF_ALL])
            if self._foreign(known):
                return
            about = json.loads((file.schema_arrow.metadata or {}).get(ABOUT, b"{}"))
            self.hidden.update(name for names in about.values() for name in names if name in self.columns.features)
            nulls = [name for name, value in known.items() if value is None]
            stored = {each.name: each.type for each in file.schema_arrow if each.name not in nulls}
            varying = tuple(each for each in _CHOSEN if each not in known)
            for batch in file.iter_batches(BATCH, columns=self._wanted(stored, varying), use_threads=False):
                yield _Kind(tuple(batch.schema), varying), batch

    def _wanted(self, stored: Mapping[str, Any], chosen: Sequence[str]) -> list[str]:
        """Return the columns of a segment to read."""
        of_keys = _OF_KEYS if self.columns.identified else {}
        own = [name for name in (*chosen, *_OF_ALL, *of_keys, *self.columns.scores) if name in stored]
        inputs = [*self.columns.features, *(self.columns.inputs if self.columns.identified else ())]
        logged = _names(stored.get(INPUTS))
        return [*own, *(f"{INPUTS}.{name}" for name in dict.fromkeys(inputs) if name in logged)]

    def _foreign(self, known: Mapping[str, Any]) -> bool:
        """Tell whether no row of a segment is chosen, by the columns that have one value."""
        digest, environment = self.choice.digest, self.choice.environment
        other_digest = digest is not None and known.get(DIGEST, digest) != digest
        other_environment = environment is not None and known.get(ENVIRONMENT) not in (None, environment)
        return other_digest or other_environment or known.get(ARM) == _SHADOW

    def _typed(self, read: Any) -> pl.DataFrame:
        """Return the columns of a pa.Table, those that say whose rows they are as well."""
        columns = dict(zip(read.schema.names, read.columns, strict=True))
        names = _names(columns[INPUTS].type) if INPUTS in columns else []
        inputs = dict(zip(names, columns[INPUTS].flatten() if names else [], strict=True))
        arrays, kinds = {name: columns.get(name) for name in self._kinds}, dict(self._kinds)
        cells = {}
        for name, texts in self.columns.features.items():
            values = None if name in self.hidden else inputs.get(name)  # a hash is no number
            if texts is not None:
                encoded = _encoded(values, read.num_rows)
                cells[feature(name)] = _cells(encoded.dictionary.to_pylist(), texts), len(texts) + 1
                values = encoded.indices
            arrays[feature(name)], kinds[feature(name)] = values, pl.Float64() if texts is None else pl.Int32()
        keys = [f"{INPUTS}.{name}" for name in self.columns.inputs] if self.columns.identified else []
        arrays |= {key: inputs.get(key.removeprefix(f"{INPUTS}.")) for key in keys}
        rows = _frame(arrays, kinds | dict.fromkeys(keys, pl.String()))
        rows = rows.with_columns(
            of.gather(rows[name]).fill_null(missing).alias(name) for name, (of, missing) in cells.items()
        )
        if not self.columns.identified:
            return rows
        given = pl.struct(pl.col(key).alias(key.removeprefix(f"{INPUTS}.")) for key in keys) if keys else pl.lit(None)
        return rows.with_columns(given.alias(INPUTS)).drop(keys)

    @cached_property
    def _kinds(self) -> Mapping[str, Any]:
        own = dict.fromkeys(_CHOSEN, pl.String()) | _OF_ALL | dict.fromkeys(self.columns.scores, pl.Float64())
        return own | (_OF_KEYS if self.columns.identified else {})

    def _chosen(self, rows: pl.DataFrame, kind: _Kind) -> pl.DataFrame:
        """Leave out the rows of others, and give each its window."""
        choice, environment, arm = self.choice, pl.col(ENVIRONMENT), pl.col(ARM)
        conditions = [self._within]
        if ARM in kind.varying:
            conditions.append(arm.is_null() | (arm != _SHADOW))
        if choice.digest is not None and DIGEST in kind.varying:
            conditions.append(pl.col(DIGEST) == choice.digest)
        if choice.environment is not None and ENVIRONMENT in kind.varying:
            conditions.append(environment.is_null() | (environment == choice.environment))
        chosen = rows.select(pl.all_horizontal(conditions)).to_series()
        return (rows if chosen.all() else rows.filter(chosen)).drop(_CHOSEN).with_columns(self._window)

    @cached_property
    def _within(self) -> pl.Expr:
        return pl.col(TIME).is_between(self.choice.since, self.choice.until, closed="both")

    @cached_property
    def _window(self) -> pl.Expr:
        return pl.col(TIME).dt.truncate(f"{self.choice.window // timedelta(microseconds=1)}us").alias(WINDOW)


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


def _ahead(batches: Iterator[T]) -> Iterator[T]:
    """Yield what a thread of its own reads, one ahead: the next is decoded and typed while this one is counted."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch


def _mixed(values: Any) -> Any:
    """Return numbers that look random: the finalizer of SplitMix64 (Steele et al., OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _frame(arrays: Mapping[str, Any], kinds: Mapping[str, Any]) -> pl.DataFrame:
    """Return arrays of pyarrow's, some of which are there, as columns of their types; None: nulls."""
    there = {name: array for name, array in arrays.items() if array is not None}
    rows = pl.DataFrame(pl.from_arrow(pa.table(there))).rechunk()
    schema = rows.schema
    typed = [pl.col(name).cast(kind) for name, kind in kinds.items() if name in there and schema[name] != kind]
    lacking = [pl.lit(None, kind).alias(name) for name, kind in kinds.items() if name not in there]
    return rows.with_columns(*typed, *lacking).select(list(kinds))


def _encoded(values: Any, count: int) -> Any:
    """Return a pa.ChunkedArray of texts as a pa.DictionaryArray; None: as many that are missing."""
    if values is None:
        return pa.nulls(count, pa.dictionary(pa.int32(), pa.string()))
    if pa.types.is_dictionary(values.type):
        return pa.concat_arrays(values.chunks)  # of one dictionary, then
    return pl.Series(pl.from_arrow(values)).cast(pl.String).to_arrow().dictionary_encode()


def _cells(given: Sequence[str], texts: Sequence[str]) -> pl.Series:
    """Return the place of each text's cell: its own, or that of all others."""
    known = {text: place for place, text in enumerate(texts)}
    return pl.Series([known.get(text, len(texts)) for text in given], dtype=pl.Int16)


def _names(kind: Any) -> list[str]:
    return [each.name for each in kind] if isinstance(kind, pa.StructType) else []


def _known(metadata: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the one value of each column that has one in a whole segment, by its statistics; None: nulls alone."""
    places = {path: place for place, path in enumerate(columns(metadata))}
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    values = {name: {_sole(group.column(places[name])) for group in groups} for name in names if name in places}
    return {name: of.pop() for name, of in values.items() if len(of) == 1 and ... not in of}


def _sole(column: Any) -> Any:
    """Return the one value of a column of a row group, None where all are null, and `...` where they may vary."""
    of = column.statistics
    if of is None or not of.has_null_count:
        return ...
    if of.null_count == column.num_values:
        return None
    return of.min if of.null_count == 0 and of.has_min_max and of.min_raw == of.max_raw else ...
