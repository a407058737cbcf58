"""How far somebody has to move a row, within its contract, until the bundle decides otherwise.

The declared features move together, each at most so many of its spreads. The box grows step by step; in each, feature
after feature takes the value that brings the score nearest to another decision (coordinate descent, as Kantchelian,
Tygar and Joseph, "Evasion and hardening of tree ensemble classifiers", ICML 2016, do for trees). A flip that is seen is
one; one that is not seen may exist, so the share is the least that an attacker gets.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trunkline.bundle.contract import Input
from trunkline.conf import gates as conf_gates
from trunkline.conf.gates import Gates
from trunkline.core.arrays import Floats, Integers
from trunkline.core.errors import UserError
from trunkline.pipeline.gate import comparison, shares
from trunkline.pipeline.gate.evidence import BundleModel, Evidence
from trunkline.pipeline.gate.leaks import Inputs
from trunkline.pipeline.gate.rules import limited
from trunkline.pipeline.reports import Verdict

Scorer = Callable[[pl.DataFrame], Floats]
UNDECIDED = 0.5  # where nothing says from which score on a row is taken for a positive one


@dataclass(frozen=True)
class Reach:
    """What somebody can do: the spread of each feature, how far it may move in spreads, and in how many steps."""

    spreads: tuple[tuple[str, float], ...]
    within: float
    steps: int
    decides_at: float

    def offsets(self, step: int) -> list[float]:
        """Return the moves of a feature up to a step, in spreads, the smallest first."""
        return sorted((self.within * number / self.steps for number in range(-step, step + 1)), key=abs)


@dataclass(frozen=True)
class Flips:
    """The smallest move that flips each row's decision, in spreads, infinite where none was seen; the rows, moved."""

    sizes: Floats
    moved: pl.DataFrame


def evasion(blank: Verdict, rule: conf_gates.Evasion, gates: Gates, evidence: Evidence) -> Iterator[Verdict]:
    """Judge the share of rows whose decision flips."""
    chosen = evidence.reports.decision.chosen
    decides_at = rule.decides_at or (chosen.threshold if chosen else UNDECIDED)
    reach = Reach(tuple(sorted(rule.features.items())), rule.within, rule.steps, decides_at)
    places, flips = _ask(evidence.bundle, evidence.inputs, reach, rule.rows)
    flipped = np.isfinite(flips.sizes)
    draws, clusters = shares.drawn(flipped, evidence.clusters[places], gates.resamples, evidence.seed)
    share, interval = float(flipped.mean()), comparison.interval(draws, clusters, gates.confidence)
    ends = interval if rule.tested == "interval" else (share, share)
    what = f"the share of {len(places)} decisions that flip by moves of at most {reach.within:g}"
    judged = limited(blank, conf_gates.Limits(None, rule.maximum), share, ends, what)
    reason = f"{judged.reason}: {_example(flips, evidence, places, reach)}"
    yield replace(judged, interval=interval, reason=reason)


def _example(flips: Flips, evidence: Evidence, places: Integers, reach: Reach) -> str:
    """Say which move was the smallest."""
    nearest = int(flips.sizes.argmin())
    if not np.isfinite(flips.sizes[nearest]):
        return "none was seen to flip"
    row = int(places[nearest])
    before, after = evidence.inputs.features.row(row, named=True), flips.moved.row(nearest, named=True)
    names = [name for name, _ in reach.spreads if before[name] != after[name]]
    moves = ", ".join(f"{name} from {before[name]:.4g} to {after[name]:.4g}" for name in names)
    return f"the smallest is {flips.sizes[nearest]:.3g}, in row {row} of the holdout: {moves}"


@lru_cache(maxsize=8)  # of the models that a self-test plants, most are of the same bundle
def _ask(bundle: BundleModel, inputs: Inputs, reach: Reach, rows: int) -> tuple[Integers, Flips]:
    """Move some rows of the holdout; return their places, and what flips.

    Raises UserError for a feature that the bundle has not, or that cannot move so little.
    """
    for name, spread in reach.spreads:
        if name not in bundle.inputs or name not in inputs.features.columns:
            raise UserError(f"the bundle has no input {name}; run: dvc repro")
        if bundle.inputs[name].type != "number" and spread * reach.within < 1:
            raise UserError(f"{name} moves by whole numbers, and {reach.within:g} of its spread {spread:g} is below 1")
    height = inputs.features.height
    places = np.unique(np.linspace(0, height - 1, min(rows, height)).astype(np.int64))
    fields = [bundle.inputs[name] for name, _ in reach.spreads]
    return places, flips_of(bundle.score, inputs.features[places], fields, reach)


def flips_of(score: Scorer, rows: pl.DataFrame, fields: list[Input], reach: Reach) -> Flips:
    """Return the smallest moves that were seen to flip decisions; `fields` are the inputs of the reach's features.

    Raises UserError for a score that is no number.
    """
    decisions = _decided(_finite(score(rows)), reach.decides_at)
    sizes, left, moved = np.full(rows.height, np.inf), np.arange(rows.height), rows
    flipped_rows: list[tuple[Integers, pl.DataFrame]] = []
    for step in range(1, reach.steps + 1):
        for field, (_, spread) in zip(fields, reach.spreads, strict=True):
            origin = rows[field.name].to_numpy()[left]
            values = np.stack([reachable(field, origin, spread * offset) for offset in reach.offsets(step)])
            moved = _pushed(score, moved, field.name, values, decisions[left], reach.decides_at)
        flipped = _decided(_finite(score(moved)), reach.decides_at) != decisions[left]
        sizes[left[flipped]] = reach.within * step / reach.steps
        flipped_rows.append((left[flipped], moved.filter(flipped)))
        left, moved = left[~flipped], moved.filter(~flipped)
        if not len(left):
            break
    order = np.concatenate([*(places for places, _ in flipped_rows), left]).argsort()
    return Flips(sizes, pl.concat([*(part for _, part in flipped_rows), moved])[order])


def reachable(field: Input, origin: Floats, offset: float) -> Floats:
    """Return values moved by an offset, as the contract lets them: one that it refuses, or is missing, stays."""
    whole = offset if field.type == "number" else np.trunc(offset)
    low, high = (end if limit is None else limit for limit, end in ((field.min, -np.inf), (field.max, np.inf)))
    values = np.clip(origin + whole, low, high)
    allowed = [0, 1] if field.type == "boolean" else field.allowed
    if allowed is not None:
        return np.where(np.isin(values, [float(value) for value in allowed]), values, origin)
    return values


def _pushed(  # noqa: PLR0913, PLR0917  a step of the search
    score: Scorer, rows: pl.DataFrame, name: str, values: Floats, decisions: NDArray[Any], decides_at: float
) -> pl.DataFrame:
    """Return rows with that one of a feature's values, shape (values, rows), which is nearest to another decision."""
    moved = [rows.with_columns(pl.Series(name, column, nan_to_null=True)) for column in values]
    near = np.stack([_nearness(_finite(score(each)), decisions, decides_at) for each in moved])
    best = values[near.argmax(axis=0), np.arange(rows.height)]
    return rows.with_columns(pl.Series(name, best, nan_to_null=True))


def _decided(scores: Floats, decides_at: float) -> NDArray[Any]:
    return scores.argmax(axis=1) if scores.ndim > 1 else scores >= decides_at


def _nearness(scores: Floats, decisions: NDArray[Any], decides_at: float) -> Floats:
    """Return how near scores are to another decision than the given: the larger, the nearer."""
    if scores.ndim == 1:
        return np.where(decisions, decides_at - scores, scores - decides_at)
    rows = np.arange(len(scores))
    others = scores.copy()
    others[rows, decisions] = -np.inf
    return np.asarray(others.max(axis=1) - scores[rows, decisions], dtype=np.float64)


def _finite(scores: Floats) -> Floats:
    if not np.isfinite(scores).all():
        raise UserError("a moved row has a score that is no number")
    return scores
