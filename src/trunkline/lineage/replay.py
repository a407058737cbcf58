"""Recomputes what a prediction log says: each score by the bundle that gave it, each joined feature as of its time.

A score has to have the same bits. A feature is computed from the request's columns by the plan that trained, over the
tables of a folder, of what was known at the logged moment; numbers may differ by a tolerance, whole numbers and texts
not at all.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trunkline.bundle.contract import Contract, Input
from trunkline.core.arrays import Floats
from trunkline.core.errors import UserError, one_line
from trunkline.core.graphs import MISSING
from trunkline.lineage import predictions
from trunkline.serve import bundles
from trunkline.serve.batch.job import FEATURES
from trunkline.serve.bundles import Served
from trunkline.serve.joined import OfflineTables
from trunkline.serve.log import DIGEST, INPUTS, REQUEST
from trunkline.serve.online.plan import feature_names
from trunkline.serve.prediction_log import sealed
from trunkline.serve.prediction_log.sealed import Keys
from trunkline.serve.prediction_log.segments import ABOUT, COLUMNS, PREDICTION_TIME, PROBLEM, ROW
from trunkline.serve.raw import RawRows
from trunkline.show.text import clean

_CALL = 4096  # rows that are scored at once
_AT_ONCE = 100_000  # rows whose features are computed together: a pass over the tables for each minute's file is slow

_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Example:
    """A row of a request of which the log says another value than is recomputed; None: it is missing there."""

    request: str
    row: int
    logged: Any
    recomputed: Any


@dataclass
class Comparison:
    """How a score or a feature of the log compares with the recomputed one.

    `view` is the one that a feature is of; None for an expression of the row. `largest` is the largest difference, None
    where one of the two is missing or it is a text; `first` is the first row that differs.
    """

    name: str
    view: str | None = None
    rows: int = 0
    different: int = 0
    largest: float | None = None
    first: Example | None = None

    def add(self, rows: int, differs: _Mask, by: Floats, example: Callable[[int], Example]) -> None:
        """Add so many rows, of which some differ by so much; `example` gives the one at a place."""
        self.rows += rows
        self.different += int(differs.sum())
        if differs.any():
            self.first = self.first or example(int(differs.argmax()))
            sizes = by[differs & np.isfinite(by)]
            self.largest = max([self.largest or 0.0, *sizes.tolist()]) if len(sizes) else self.largest

    def merge(self, later: "Comparison") -> None:
        """Add what was compared of rows that follow these."""
        self.rows += later.rows
        self.different += later.different
        self.first = self.first or later.first
        self.largest = max((each for each in (self.largest, later.largest) if each is not None), default=None)


@dataclass
class Replay:
    """What was compared of a log; `left` counts the rows of which something was not, by why."""

    tolerance: float
    segments: int = 0
    rows: int = 0
    scores: dict[str, Comparison] = field(default_factory=dict)
    features: dict[str, Comparison] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether something was compared, and nothing differs."""
        compared = [*self.scores.values(), *self.features.values()]
        return any(each.rows for each in compared) and not any(each.different for each in compared)

    def leave(self, why: str, rows: int) -> None:
        """Count rows of which something was not compared."""
        self.left[why] = self.left.get(why, 0) + rows

    def merge(self, later: "Replay") -> None:
        """Add what was compared of segments that follow these."""
        self.segments += later.segments
        self.rows += later.rows
        for ours, theirs in ((self.scores, later.scores), (self.features, later.features)):
            for name, comparison in theirs.items():
                ours.setdefault(name, Comparison(name, comparison.view)).merge(comparison)
        for why, rows in later.left.items():
            self.leave(why, rows)


def merged(tolerance: float, replays: Iterable[Replay]) -> Replay:
    """Return what was compared of parts of a log, in their order, as of one."""
    result = Replay(tolerance)
    for each in replays:
        result.merge(each)
    return result


@dataclass(frozen=True)
class Scoring:
    """A bundle, and what makes its features of a request's columns; None for a bundle that does not say."""

    bundle: Served
    raw: RawRows | None


def replay(
    logs: Sequence[str], find: Callable[[str], Path], tables: Path | None, tolerance: float, keys: Keys | None = None
) -> Replay:
    """Return how the rows of logs compare with what is recomputed.

    `find` returns the folder of a bundle by its digest, or raises UserError; `tables` are those that features are
    joined from, None: features are not compared. Raises UserError for a file that no server or batch has written.
    """
    result, known = Replay(tolerance), dict[str, Scoring]()
    for part in _together(_parts(logs, result, keys)):
        if part.digest not in known:
            known[part.digest] = _scoring(find(part.digest), tables)
        _compare(part.path, part.rows, known[part.digest], result)
    return result


class _Part(NamedTuple):
    """Rows that one bundle has scored, as a pa.Table, and the segment they are of, the first of several."""

    path: Path
    digest: str
    rows: Any

    def joins(self, other: "_Part") -> bool:
        """Whether the rows of another one are of the same bundle, and treated alike."""
        return self.digest == other.digest and bool(self.rows.schema.equals(other.rows.schema, check_metadata=True))


def _parts(logs: Sequence[str], result: Replay, keys: Keys | None) -> Iterator[_Part]:
    """Yield the rows of each segment by bundle, and count both."""
    for path in predictions.expand(logs):
        table = _scored(_read(path, keys), result)
        result.segments += 1
        result.rows += len(table)
        for digest in pc.unique(table[DIGEST]).to_pylist():
            yield _Part(path, digest, table.filter(pc.equal(table[DIGEST], digest)))


def _together(parts: Iterable[_Part]) -> Iterator[_Part]:
    """Join parts that follow one another, up to some number of rows."""
    joined: list[_Part] = []
    for part in parts:
        if joined and (not part.joins(joined[0]) or sum(len(each.rows) for each in joined) >= _AT_ONCE):
            yield joined[0]._replace(rows=pa.concat_tables(each.rows for each in joined))
            joined = []
        joined.append(part)
    if joined:
        yield joined[0]._replace(rows=pa.concat_tables(each.rows for each in joined))


def content(compared: Replay) -> dict[str, Any]:
    """Return what was compared as plain values."""
    return {**asdict(compared), "holds": compared.holds}


def _read(path: Path, keys: Keys | None) -> Any:
    try:
        with sealed.parquet(path, keys) as content:
            if ABOUT not in (pq.read_schema(content).metadata or {}):
                raise UserError(f"{path}: is no segment that trunkline serve or trunkline predict --log has written")
            return pq.read_table(content)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read: {one_line(error)}; leave it out, or fetch it again") from None


def _scored(table: Any, result: Replay) -> Any:
    """Return the rows that have a score: while a rollout runs, not all do."""
    if PROBLEM not in table.column_names:
        return table
    scored = table.filter(pc.is_null(table[PROBLEM]))
    if len(scored) < len(table):
        result.leave(
            "the row has no score, but a problem: it was refused, or its model failed", len(table) - len(scored)
        )
    return scored


def _scoring(folder: Path, tables: Path | None) -> Scoring:
    bundle, features = bundles.load(folder, _CALL), folder / FEATURES
    raw = RawRows.parse(features.read_bytes()) if features.is_file() else None
    if raw is None or tables is None:
        return Scoring(bundle, None)
    offline = OfflineTables(tables)
    offline.check(raw.plan)
    return Scoring(bundle, replace(raw, tables=offline))


def _compare(path: Path, rows: Any, scoring: Scoring, result: Replay) -> None:
    """Compare the rows of a segment that one bundle has scored."""
    treated = json.loads(rows.schema.metadata[ABOUT])
    hidden = {name: why for why in ("hash", "leave_out") for name in treated[why]}
    contract = scoring.bundle.contract
    names = [one.name for one in contract.inputs if one.name in hidden]
    if names:
        result.leave(f"the input {names[0]} is not in the log as the model saw it ({hidden[names[0]]})", len(rows))
    else:
        _compare_scores(path, rows, scoring.bundle, result)
    joined = rows.filter(pc.and_(pc.is_valid(rows[COLUMNS]), pc.is_valid(rows[PREDICTION_TIME])))
    if len(joined) and scoring.raw is None:
        result.leave("features were not compared: name the tables that they are joined from (--tables)", len(joined))
    elif len(joined) and scoring.raw:
        _compare_features(joined, scoring.raw, contract, hidden, result)


def _compare_scores(path: Path, rows: Any, bundle: Served, result: Replay) -> None:
    numbers, texts = _matrices(path, rows, bundle.contract)
    blocks = [slice(start, start + _CALL) for start in range(0, len(rows), _CALL)]
    again = np.concatenate([bundle.scores(numbers[block], texts[block]) for block in blocks])
    again = again.reshape(len(rows), len(bundle.contract.scores))
    for name, computed in zip(bundle.contract.scores, again.T, strict=True):
        logged = rows[name].to_numpy()
        differs = _bits(logged) != _bits(computed)
        comparison = result.scores.setdefault(name, Comparison(name))
        example = partial(_example, rows, rows[name], pa.array(np.ascontiguousarray(computed)))
        comparison.add(len(rows), differs, np.abs(logged - computed), example)


def _example(rows: Any, logged: Any, computed: Any, place: int) -> Example:
    """Return what two columns say of the row at a place."""
    values = (
        clean(each) if isinstance(each, str) else each for each in (logged[place].as_py(), computed[place].as_py())
    )
    return Example(clean(rows[REQUEST][place].as_py()), rows[ROW][place].as_py(), *values)


def _bits(values: Floats) -> npt.NDArray[np.int64]:
    return np.ascontiguousarray(values).view(np.int64)


def _matrices(path: Path, rows: Any, contract: Contract) -> tuple[Floats, npt.NDArray[np.object_]]:
    """Return the inputs of rows as the model saw them."""
    inputs = rows[INPUTS].combine_chunks()
    named = {one.name for one in inputs.type}
    for one in contract.inputs:
        if one.name not in named:
            raise UserError(
                f"{path}: column {INPUTS}.{one.name}: is missing, and the bundle of its digest has this input"
            )
    numbers: list[Any] = [_floats(inputs.field(one.name)) for one in contract.inputs if one.role == "numeric"]
    texts = [_texts(inputs.field(one.name), MISSING) for one in contract.inputs if one.role == "categorical"]
    return (
        np.ascontiguousarray(np.array(numbers, np.float64).reshape(len(numbers), len(rows)).T),
        np.ascontiguousarray(np.array(texts, object).reshape(len(texts), len(rows)).T),
    )


def _floats(column: Any) -> Floats:
    """Return numbers as float64, NaN for null."""
    plain = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    values: Floats = plain.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values


def _texts(column: Any, missing: str | None) -> list[str | None]:
    return [missing if text is None else text for text in column.to_pylist()]


def _compare_features(rows: Any, raw: RawRows, contract: Contract, hidden: Mapping[str, str], result: Replay) -> None:
    requests = [json.loads(text) for text in rows[COLUMNS].to_pylist()]
    absent = [name for name in raw.read if name in hidden or not all(name in request for request in requests)]
    if absent:
        result.leave(f"the request's column {absent[0]}, which features are made of, is not in the log", len(rows))
        return
    names = dict.fromkeys([*raw.read, *(name for name in raw.identity if name not in hidden)])
    columns = {name: pl.Series(name, [request.get(name) for request in requests], strict=False) for name in names}
    times = pl.Series(rows[PREDICTION_TIME].cast(pa.timestamp("us")).to_pylist(), dtype=pl.Datetime("us"))
    computed, _ = raw.inputs(pl.DataFrame(columns).to_arrow(), times)
    views = {name: view.name for view in raw.plan.primitives for name in feature_names(view)}  # of what is joined
    for one, ours, theirs in _pairs(contract, rows[INPUTS].combine_chunks(), computed, hidden):
        differs, by = _difference(one, ours, theirs, result.tolerance)
        joined = np.array([one.name in raw.declared or one.name not in request for request in requests])  # not given
        comparison = result.features.setdefault(one.name, Comparison(one.name, views.get(one.name)))
        comparison.add(int(joined.sum()), differs & joined, by, partial(_example, rows, ours, theirs))


def _pairs(
    contract: Contract, logged: Any, computed: Any, hidden: Mapping[str, str]
) -> Iterator[tuple[Input, Any, Any]]:
    for one in contract.inputs:
        if one.name not in hidden and one.name in computed.column_names:
            yield one, logged.field(one.name), computed[one.name].combine_chunks()


def _difference(one: Input, logged: Any, computed: Any, tolerance: float) -> tuple[_Mask, Floats]:
    """Return in which rows an input differs, and by how much; NaN where one of the two is missing, or it is a text."""
    if one.role == "categorical":
        differs = np.array(_texts(logged, None), object) != np.array(_texts(computed.cast(pa.string()), None), object)
        return differs, np.full(len(differs), np.nan)
    ours, theirs = _floats(logged), _floats(computed)
    by = np.abs(ours - theirs)
    allowed = tolerance * np.maximum(1.0, np.abs(theirs)) if one.type == "number" else 0.0
    return ~(by <= allowed) & ~(np.isnan(ours) & np.isnan(theirs)), by
