"""What another bundle would have answered to the requests that a log has: nothing is served, and no server is asked.

A row's inputs are in the log as its model saw them, so the other bundle scores the very row, with the bits that a
server would give. A row whose inputs are hashed, left out or of other features cannot be answered, and is counted.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl

from trunkline.bundle.contract import FieldError, row_check
from trunkline.bundle.runtime import Bundle
from trunkline.conf.previews import Previews
from trunkline.core.arrays import Floats
from trunkline.core.tasks import NUMERIC, Task
from trunkline.deploy.rollout import rows as logged
from trunkline.serve.log import DIGEST, INPUTS, REQUEST, TIME
from trunkline.serve.prediction_log.place import Place
from trunkline.serve.prediction_log.segments import ABOUT, ARM, COLUMNS, ENVIRONMENT, PROBLEM, ROW

LEAST = 20  # rows of a value that is listed: of fewer, a share says nothing
MOST = 8  # values that are listed

_CALL = 4096  # rows that are scored at once
_VERSION = "version"
_ABOUT_ROW = [REQUEST, ROW, TIME, _VERSION, DIGEST]
_OPTIONAL = {ARM: pl.String(), PROBLEM: pl.String(), ENVIRONMENT: pl.String()}
_OTHER = "another version answered them"


@dataclass(frozen=True)
class Move:
    """How answers change on some rows: the share of decisions, and the mean of the score.

    `changed` is None for a number, of which nothing is decided; `mean` for several classes, which have no one score.
    """

    rows: int
    changed: float | None
    mean: float | None


@dataclass(frozen=True)
class Preview:
    """What a bundle would have answered to the newest rows of an environment, beside what `version` did.

    Where it can answer none, `version` is None. `slices` are the values that move most, by column and value. `left`
    counts the rows that could not be answered again, by why; `absent` are columns of slices that no row has.
    """

    environment: str
    previews: Previews
    version: str | None
    requests: int
    whole: Move
    slices: tuple[tuple[str, str, Move], ...]
    left: dict[str, int]
    absent: tuple[str, ...] = ()


@dataclass
class Reader:
    """Reads the newest rows that a version of an environment answered up to a moment (UTC), as a bundle can take them.

    `left` counts, after `newest`, what cannot be answered again.
    """

    place: Place
    environment: str
    previews: Previews
    bundle: Bundle
    until: datetime

    def __post_init__(self) -> None:
        """Begin with no row."""
        self.left: Counter[str] = Counter()

    def newest(self) -> pl.DataFrame:
        """Return rows with their inputs, scores and slices, the newest first, all of one bundle."""
        kept = pl.DataFrame()
        for _, segments in groupby(self._segments(), key=lambda each: each[0]):
            for _, folder, name in segments:
                rows = self._read(folder, name)
                kept = pl.concat([kept, rows], how="diagonal_relaxed") if kept.width else rows
                kept = kept.sort(TIME, REQUEST, ROW, descending=True).head(self.previews.requests)
            if kept.height >= self.previews.requests:
                break
        if not kept.height:
            return kept
        own = kept.filter(pl.col(DIGEST) == kept[DIGEST][0])
        self._leave(_OTHER, kept.height - own.height)
        return own

    def _segments(self) -> list[tuple[str, str, str]]:
        """Return the hour, folder and name of each segment that may have rows, the newest hour first."""
        since = self.until - timedelta(hours=self.previews.hours)
        first, last = (f"{moment:%Y-%m-%dT%H}" for moment in (since, self.until))
        listed = [(folder.rpartition("/")[2], folder, name) for folder, name in self.place.segments()]
        return sorted((each for each in listed if first <= each[0] <= last), reverse=True)

    def _read(self, folder: str, name: str) -> pl.DataFrame:
        """Return the rows of a segment that the bundle can answer, and count the others."""
        slices, wanted = self.previews.slices, [one.name for one in self.bundle.contract.inputs]
        with self.place.open(folder, name) as file:
            schema = file.schema_arrow
            stored, scores = set(schema.names), list(self.bundle.contract.scores)
            kind = schema.field(INPUTS).type
            inputs = [field.name for field in kind if field.name in {*wanted, *slices}] if kind.num_fields else []
            columns = [each for each in (*_ABOUT_ROW, COLUMNS, *_OPTIONAL, *scores) if each in stored]
            frame: Any = pl.from_arrow(file.read([*columns, *(f"{INPUTS}.{each}" for each in inputs)]))
        rows = self._answered(frame)
        why = self._hidden(json.loads(schema.metadata[ABOUT]), inputs, stored)
        if why is not None:
            self._leave(why, rows.height)
            rows = rows.clear()
        texts = logged.texts(rows, slices)
        asked = [pl.col(INPUTS).struct.field(each) for each in wanted if each in inputs]
        return rows.select(
            *_ABOUT_ROW,
            *(pl.col(each) for each in scores if each in stored),
            pl.struct(asked).alias(INPUTS) if asked else pl.lit(None).alias(INPUTS),
            *(texts[each].alias(f"slice:{each}") for each in slices),
        )

    def _answered(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that were scored for the environment by what it runs, within the hours."""
        lacking = [pl.lit(None, kind).alias(each) for each, kind in _OPTIONAL.items() if each not in frame.columns]
        since = self.until - timedelta(hours=self.previews.hours)
        return frame.with_columns(lacking).filter(
            (pl.col(ARM).is_null() | (pl.col(ARM) == "current"))
            & pl.col(PROBLEM).is_null()
            & (pl.col(ENVIRONMENT).is_null() | (pl.col(ENVIRONMENT) == self.environment))
            & pl.col(TIME).is_between(since, self.until, closed="both")
        )

    def _hidden(self, treated: dict[str, Any], inputs: Sequence[str], stored: set[str]) -> str | None:
        """Return why the bundle cannot answer the rows of a segment; None if it can."""
        words = {"hash": "hashed", "leave_out": "left out"}
        hidden = {name: words[how] for how in words for name in treated[how]}
        for name in (one.name for one in self.bundle.contract.inputs):
            if name in hidden:
                return f"the log has its input {name} {hidden[name]}"
            if name not in inputs:
                return f"its input {name} is not in the log: the version had no such feature"
        if not stored.issuperset(self.bundle.contract.scores):
            return "it predicts something else than the version"
        return None

    def _leave(self, why: str, rows: int) -> None:
        if rows:
            self.left[why] += rows


def preview(reader: Reader, task: Task) -> Preview:
    """Return what a bundle would have answered to what the log has; raises OutsideError where it cannot be read."""
    rows, again = _scored(reader.newest(), reader.bundle, reader.left)
    before = rows.select(reader.bundle.contract.scores).to_numpy() if rows.height else again
    moves = rows.with_columns(_moves(before, again, reader.previews.threshold, task))
    slices = [name for name in reader.previews.slices if rows.height and rows[f"slice:{name}"].null_count() < len(rows)]
    return Preview(
        reader.environment,
        reader.previews,
        (rows[_VERSION][0] or rows[DIGEST][0][:12]) if rows.height else None,
        rows[REQUEST].n_unique() if rows.height else 0,
        _move(moves),
        _largest(moves, slices),
        dict(reader.left),
        tuple(name for name in reader.previews.slices if rows.height and name not in slices),
    )


def _scored(rows: pl.DataFrame, bundle: Bundle, left: Counter[str]) -> tuple[pl.DataFrame, Floats]:
    """Return the rows that the contract lets pass, and their scores (n, scores); others are counted."""
    check, kept, numbers, texts = row_check(bundle.contract), list[int](), list[Any](), list[Any]()
    for place, request in enumerate(rows[INPUTS].to_list() if rows.height else ()):
        try:
            row = check({name: value for name, value in request.items() if value is not None})
        except FieldError as error:
            left[f"its contract refuses the field {error.field}"] += 1
            continue
        kept.append(place)
        numbers.append(row[0])
        texts.append(row[1])
    contract = bundle.contract
    numeric = np.array(numbers, np.float64).reshape(len(kept), contract.width("numeric"))
    categorical = np.array(texts, object).reshape(len(kept), contract.width("categorical"))
    blocks = [slice(start, start + _CALL) for start in range(0, len(kept), _CALL)]
    scores = [bundle.scores(numeric[block], categorical[block]).reshape(-1, len(contract.scores)) for block in blocks]
    return rows[kept], np.concatenate([np.empty((0, len(contract.scores))), *scores])


def _moves(before: Floats, after: Floats, threshold: float, task: Task) -> list[pl.Series]:
    """Return for each row whether its decision changes, and by how much its score does; null where there is none."""
    one, empty = before.shape[1] == 1, pl.Series([None] * len(before), dtype=pl.Float64)
    mean = pl.Series((after - before)[:, 0]) if one else empty
    if task in NUMERIC:
        return [empty.alias("changed"), mean.alias("moved")]
    by_score = one or task == "multilabel"
    decided = [each > threshold if by_score else each.argmax(axis=1)[:, None] for each in (before, after)]
    changed = pl.Series((decided[0] != decided[1]).any(axis=1).astype(np.float64))
    return [changed.alias("changed"), mean.alias("moved")]


def _move(rows: pl.DataFrame) -> Move:
    return Move(rows.height, *(rows[name].mean() for name in ("changed", "moved")))  # type: ignore[arg-type]


def _largest(rows: pl.DataFrame, slices: Sequence[str]) -> tuple[tuple[str, str, Move], ...]:
    """Return the values of enough rows, those first on which most decisions change, or the mean score most."""

    def values() -> Iterator[tuple[str, str, Move]]:
        for name in slices:
            column = pl.col(f"slice:{name}").fill_null(logged.MISSING)
            for (value,), part in rows.group_by(column, maintain_order=True):
                if part.height >= LEAST:
                    yield name, str(value), _move(part)

    ordered = sorted(values(), key=lambda each: (-(each[2].changed or 0), -abs(each[2].mean or 0), each[0], each[1]))
    return tuple(ordered[:MOST])
