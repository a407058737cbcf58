"""What a log says of both arms, as sums of each cluster: of all rows, and of each value of a slice.

Memory grows with the number of clusters and of rows that have an outcome, not with that of rows. The log is read twice:
once for the levels that rows are compared with, and once for the sums.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from trunkline.core.arrays import Floats
from trunkline.deploy.rollout.difference import Sums
from trunkline.deploy.rollout.rows import CLUSTER, ERROR, REFUSAL, SECONDS, Hour
from trunkline.deploy.rollout.step import Step
from trunkline.serve.labels.store import INSTANT, OUTCOME
from trunkline.serve.log import TIME

ROWS, SCORED, REQUESTS, CHANGED = "rows", "scored", "requests", "changed"  # of a cluster, beside errors and refusals
QUANTILES = {"latency_p50": 0.5, "latency_p99": 0.99}
DECILES = np.arange(1, 10) / 10

_KEPT = 1 << 18  # numbers of which a level is computed; of more, every second one, fourth, …
_SLICE, _LABEL = "slice", "label"
_GROUP = [_SLICE, _LABEL, CLUSTER]
_CURRENT = ":current"  # ends the columns of the current version, beside the candidate's


class Part(NamedTuple):
    """All rows (both texts empty), or those with a value of a slice."""

    slice: str = ""
    label: str = ""


WHOLE = Part()


class Sample:
    """Numbers of a stream, evenly thinned, so that quantiles can be taken of any amount."""

    def __init__(self) -> None:
        """Begin with none."""
        self._pieces: list[Floats] = []
        self._stride = 1

    def add(self, numbers: pl.Series) -> None:
        """Add the numbers that are not null."""
        self._pieces.append(numbers.drop_nulls().to_numpy()[:: self._stride])
        if sum(map(len, self._pieces)) > _KEPT:
            self._pieces, self._stride = [np.concatenate(self._pieces)[::2]], self._stride * 2

    @property
    def numbers(self) -> Floats:
        """The numbers that are left."""
        return np.concatenate([np.empty(0), *self._pieces])


@dataclass(frozen=True)
class Levels:
    """What the current version's rows are like: seconds by rule, and of each score its deciles and its deviation."""

    seconds: Mapping[str, float]
    deciles: Mapping[str, Floats]
    deviation: Mapping[str, float]

    @property
    def scores(self) -> Sequence[str]:
        """The columns of the scores."""
        return tuple(self.deciles)


@dataclass(frozen=True)
class Arm:
    """An arm's sums by part and cluster, and its rows with an outcome: cluster, outcome, scores and slices."""

    sums: pl.DataFrame
    labelled: pl.DataFrame


class Source(Protocol):
    """Where the rows of a step come from, hour by hour, as often as they are asked for; `scores` are known by then."""

    @property
    def step(self) -> Step:
        """The step."""

    @property
    def scores(self) -> Sequence[str]:
        """The columns of the scores, after the first hour."""

    def hours(self) -> Iterator[Hour]:
        """Yield the hours, in order."""


@dataclass
class Evidence:
    """What is known of both arms at a moment; `parts` are those of slices, the first that had a row first."""

    step: Step
    end: datetime
    levels: Levels
    candidate: Arm
    current: Arm
    parts: tuple[Part, ...] = ()
    _joined: dict[Part, pl.DataFrame] = field(default_factory=dict, init=False, repr=False)

    @property
    def rows(self) -> int:
        """How many rows the candidate has scored or failed on."""
        return int(self.candidate.sums.filter(pl.col(_SLICE) == "")[ROWS].sum())

    def sums(self, part: Part, rows: str, values: str) -> tuple[Sums, Sums]:
        """Return the candidate's and the current version's sums of a part, of the same clusters in one order."""
        if part not in self._joined:
            self._joined[part] = self._clusters(part)
        both = self._joined[part]
        arms = [Sums(both[f"{rows}{side}"].to_numpy(), both[f"{values}{side}"].to_numpy()) for side in ("", _CURRENT)]
        return arms[0], arms[1]

    def _clusters(self, part: Part) -> pl.DataFrame:
        """Return a row for each cluster of a part, with the sums of both arms, 0 where one has no such cluster."""
        of_part = (pl.col(_SLICE) == part.slice) & (pl.col(_LABEL) == part.label)
        candidate, current = (arm.sums.filter(of_part).drop(_SLICE, _LABEL) for arm in (self.candidate, self.current))
        both = candidate.join(current, on=CLUSTER, how="full", coalesce=True, suffix=_CURRENT)
        return both.fill_null(0).sort(CLUSTER)


def gather(source: Source) -> Iterator[Evidence]:
    """Yield what is known at the end of each hour that has rows, the last time at the moment that is read up to."""
    step, levels = source.step, levels_of(source)
    candidate = current = Arm(pl.DataFrame(), pl.DataFrame())
    first = pl.DataFrame(schema={_SLICE: pl.String(), _LABEL: pl.String(), TIME: INSTANT})
    for hour in source.hours():
        ours, theirs = _measured(hour, step, levels)
        candidate, current = _added(candidate, ours, step, levels), _added(current, theirs, step, levels)
        first = _appeared(first, (ours, theirs), step.rules.slices)
        parts = tuple(Part(*key) for key in first.select(_SLICE, _LABEL).iter_rows())
        yield Evidence(step, hour.end, levels, candidate, current, parts)


def _appeared(first: pl.DataFrame, arms: Sequence[pl.DataFrame], slices: Sequence[str]) -> pl.DataFrame:
    """Return when each value of a slice had its first row, in this order."""
    seen = [rows.select(pl.lit(name).alias(_SLICE), _label(name), TIME) for rows in arms for name in slices]
    return pl.concat([first, *seen]).group_by(_SLICE, _LABEL).agg(pl.col(TIME).min()).sort(TIME, _SLICE, _LABEL)


def levels_of(source: Source) -> Levels:
    """Return what the current version's rows are like."""
    seconds, scores = Sample(), dict[str, Sample]()
    for hour in source.hours():
        seconds.add(hour.current[SECONDS])
        for name in source.scores:
            scores.setdefault(name, Sample()).add(hour.current[name])
    numbers = {name: sample.numbers for name, sample in scores.items() if len(sample.numbers)}
    return Levels(
        {rule: float(np.quantile(seconds.numbers, share)) for rule, share in QUANTILES.items() if len(seconds.numbers)},
        {name: np.quantile(values, DECILES) for name, values in numbers.items()},
        {name: float(values.std()) for name, values in numbers.items()},
    )


def total(score: str) -> str:
    """Return the name of the sum of a score."""
    return f"total:{score}"


def below(score: str, decile: int) -> str:
    """Return the name of the sum of the rows whose score is at most the current version's decile, numbered from 0."""
    return f"below:{decile}:{score}"


def _measured(hour: Hour, step: Step, levels: Levels) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the candidate's and the current version's rows with a column for each sum."""
    ratios = {rule: getattr(step.rules, rule) or 1.0 for rule in QUANTILES}
    slower = {rule: seconds * ratios[rule] for rule, seconds in levels.seconds.items()}
    candidate = hour.candidate.with_columns(_columns(levels, slower))
    current = hour.current.with_columns(_columns(levels, levels.seconds))
    if step.kind == "shadow" and levels.scores:
        ours, theirs = (arm.select(_decision(levels, step.rules.threshold)).to_series() for arm in (candidate, current))
        candidate = candidate.with_columns((ours != theirs).fill_null(value=False).cast(pl.Float64).alias(CHANGED))
    return candidate, current


def _columns(levels: Levels, limits: Mapping[str, float]) -> list[pl.Expr]:
    """Return the numbers of each row that are summed, named as `_summed` has them."""
    seconds, scores = pl.col(SECONDS), levels.scores
    numbers = {
        ROWS: pl.lit(1.0),
        ERROR: pl.col(ERROR),
        REFUSAL: pl.col(REFUSAL),
        REQUESTS: seconds.is_not_null(),
        SCORED: pl.col(scores[0]).is_not_null() if scores else pl.lit(0.0),
        CHANGED: pl.lit(0.0),
    }
    numbers |= {rule: (seconds > limit).fill_null(value=False) for rule, limit in limits.items()}
    numbers |= {total(name): pl.col(name).fill_null(0.0) for name in scores}
    numbers |= {
        below(name, number): (pl.col(name) <= decile).fill_null(value=False)
        for name in scores
        for number, decile in enumerate(levels.deciles[name])
    }
    return [expression.cast(pl.Float64).alias(name) for name, expression in numbers.items()]


def _summed(levels: Levels) -> list[str]:
    """Return the names of the sums."""
    of_scores = [total(name) for name in levels.scores]
    of_scores += [below(name, number) for name in levels.scores for number in range(len(DECILES))]
    return [ROWS, ERROR, REFUSAL, REQUESTS, SCORED, CHANGED, *levels.seconds, *of_scores]


def _decision(levels: Levels, threshold: float) -> pl.Expr:
    if len(levels.scores) > 1:
        return pl.concat_list(levels.scores).list.arg_max().cast(pl.Int64)
    return (pl.col(levels.scores[0]) > threshold).cast(pl.Int64)


def _label(name: str) -> pl.Expr:
    return pl.col(f"slice:{name}").alias(_LABEL)


def _added(arm: Arm, rows: pl.DataFrame, step: Step, levels: Levels) -> Arm:
    """Return an arm with more rows."""
    names = _summed(levels)
    groups = [(pl.lit("").alias(_SLICE), pl.lit("").alias(_LABEL))]
    groups += [(pl.lit(name).alias(_SLICE), _label(name)) for name in step.rules.slices]
    summed = [rows.group_by(*group, CLUSTER).agg(pl.col(names).sum()) for group in groups]
    slices = [f"slice:{name}" for name in step.rules.slices]
    known = rows.select(CLUSTER, OUTCOME, *levels.scores, *slices).drop_nulls([OUTCOME, *levels.scores])
    return Arm(reduce(_merged, summed, arm.sums), pl.concat([arm.labelled, known]) if arm.labelled.width else known)


def _merged(sums: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([sums, more]).group_by(_GROUP).agg(pl.all().sum()) if sums.width else more
