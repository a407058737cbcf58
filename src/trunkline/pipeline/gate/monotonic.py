"""Whether the score moves only the declared way when a feature moves alone: asked of the bundle itself.

Rows of the holdout are scored with the feature at each step of its range, all else as it is. The range is the
contract's, or that of the training rows where the contract has no limit. Half of the steps are quantiles of the
training rows, so that most are where most rows are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import polars as pl

from trunkline.bundle.contract import Input
from trunkline.conf import gates as conf_gates
from trunkline.conf.gates import Gates
from trunkline.core.arrays import Floats
from trunkline.core.errors import UserError
from trunkline.pipeline.gate.evidence import BundleModel, Evidence
from trunkline.pipeline.gate.leaks import Inputs
from trunkline.pipeline.reports import Verdict


@dataclass(frozen=True)
class Move:
    """The largest move of a row's score the wrong way, in units of the score, and where it is."""

    size: float
    row: int
    values: tuple[float, float]
    scores: tuple[float, float]


@dataclass(frozen=True)
class _Asked:
    """What a bundle has answered about a feature: its worst move, the range, and of how many rows."""

    move: Move
    ends: tuple[float, float]
    rows: int

    def reason(self, name: str, direction: int, *, wrong: bool) -> str:
        verb = "falls" if direction == 1 else "grows"
        if not wrong:
            low, high = self.ends
            return f"the score never {verb} as {name} grows alone from {low:g} to {high:g}, in any of {self.rows} rows"
        (low, high), (before, after) = self.move.values, self.move.scores
        return (
            f"the score {verb} by {self.move.size:.3g}, from {before:.4g} to {after:.4g}, as {name} grows alone from "
            f"{low:g} to {high:g}, in row {self.move.row} of the holdout; constrain it in conf/model"
        )


def monotonic(blank: Verdict, rule: conf_gates.Monotonic, _: Gates, evidence: Evidence) -> Iterator[Verdict]:
    """Judge each feature by itself."""
    for name, direction in sorted(rule.features.items()):
        asked = _ask(evidence.bundle, evidence.inputs, name, direction, rule.rows, rule.steps)
        wrong = asked.move.size > rule.tolerance
        judged = replace(blank, verdict="fail" if wrong else "pass", slice=name, threshold=rule.tolerance)
        yield replace(judged, observed=asked.move.size, reason=asked.reason(name, direction, wrong=wrong))


@lru_cache(maxsize=64)  # of the models that a self-test plants, most are of the same bundle
def _ask(  # noqa: PLR0913, PLR0917  what an answer depends on
    bundle: BundleModel, inputs: Inputs, name: str, direction: int, rows: int, count: int
) -> _Asked:
    """Move a feature over its range in some rows of the holdout; raises UserError for a score that is no number."""
    if name not in bundle.inputs or name not in inputs.features.columns:
        raise UserError(f"the bundle has no input {name}; run: dvc repro")
    values = steps(bundle.inputs[name], inputs.trained[name], count)
    height = inputs.features.height
    places = np.unique(np.linspace(0, height - 1, min(rows, height)).astype(np.int64))
    move = worst(bundle.score, inputs.features[places], name, values, direction)
    if not np.isfinite(move.size):
        raise UserError(f"a score is {move.size} when {name} moves alone, which is no number")
    return _Asked(replace(move, row=int(places[move.row])), (float(values[0]), float(values[-1])), len(places))


def steps(field: Input, trained: pl.Series, count: int) -> Floats:
    """Return the values that a feature is moved over, from the smallest to the largest.

    Raises UserError for a feature that has one value only, or none.
    """
    known = trained.drop_nulls().drop_nans().to_numpy()
    ends = [limit for limit in (field.min, field.max) if limit is not None]
    low = field.min if field.min is not None else min([*known, *ends], default=0.0)
    high = field.max if field.max is not None else max([*known, *ends], default=0.0)
    values = np.linspace(low, high, count)
    if len(known):
        values = np.concatenate([values, np.quantile(known, np.linspace(0, 1, count)).clip(low, high)])
    if field.allowed is not None:
        values = np.array([float(value) for value in field.allowed])
    values = np.unique(values.round() if field.type != "number" else values)
    if len(values) < 2:
        raise UserError(f"{field.name} has one value only and cannot move: declare its min and max in conf/contract")
    return values


def worst(
    score: Callable[[pl.DataFrame], Floats], rows: pl.DataFrame, name: str, values: Floats, direction: int
) -> Move:
    """Return the largest fall of a row's score from any value to a larger one, or the largest rise if direction is -1.

    Raises UserError for a model that gives a row several scores.
    """
    columns = [score(rows.with_columns(pl.lit(value, pl.Float64).alias(name))) for value in values.tolist()]
    if columns[0].ndim > 1:
        raise UserError("a row of several classes has several scores, which have no one direction")
    scores = np.stack(columns, axis=1)  # (rows, values)
    fallen = np.maximum.accumulate(direction * scores, axis=1) - direction * scores
    row, after = np.unravel_index(fallen.argmax(), fallen.shape)  # where there is a NaN, it is the first one
    before = (direction * scores[row, : after + 1]).argmax()
    ends = (int(before), int(after))
    return Move(
        size=float(fallen[row, after]),
        row=int(row),
        values=(float(values[ends[0]]), float(values[ends[1]])),
        scores=(float(scores[row, ends[0]]), float(scores[row, ends[1]])),
    )
