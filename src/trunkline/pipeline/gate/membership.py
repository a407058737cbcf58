"""How well somebody who knows a row and its label can tell whether the model was trained on it.

A model that has memorised rows has a smaller loss on them than on others, so the guess is by a threshold on the loss
(Yeom et al., "Privacy risk in machine learning: analyzing the connection to overfitting", CSF 2018). The advantage is
the share of training rows that are called so, less that of the holdout's: 0 is chance, 1 is certainty. The threshold is
the best one of every other row, and the advantage is of the rest, so that it is not too high by having been chosen.

A holdout of later rows differs from the training rows also by what has changed since. The same guess by the losses of a
baseline that is too simple to remember a row is right as often by that alone, and only what goes beyond it is judged
(after Watson et al., "On the importance of difficulty calibration in membership inference attacks", ICLR 2022).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trunkline.conf import gates as conf_gates
from trunkline.conf.gates import Gates
from trunkline.core.arrays import Floats, Integers
from trunkline.core.errors import UserError
from trunkline.core.tasks import Task
from trunkline.pipeline.evaluate.metrics.kinds import RowMean, Sample
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.gate import comparison, shares
from trunkline.pipeline.gate.evidence import BundleModel, Evidence, Members
from trunkline.pipeline.gate.leaks import Inputs
from trunkline.pipeline.gate.rules import limited
from trunkline.pipeline.reports import Verdict

LOSSES: dict[Task, str] = {
    "binary": "log_loss",
    "multiclass": "log_loss",
    "ordinal": "log_loss",
    "multilabel": "log_loss",
    "regression": "mae",
    "count": "poisson_deviance",
}


@dataclass(frozen=True)
class Asked:
    """The loss of a row of each side, by the bundle and by the baseline, and the places of the rows."""

    losses: tuple[Floats, Floats]
    baseline_losses: tuple[Floats, Floats] | None
    places: tuple[Integers, Integers]


@dataclass(frozen=True)
class Guess:
    """The advantage of calling the rows with a loss up to a threshold training rows, and on each resample."""

    threshold: float
    advantage: float
    draws: Floats
    clusters: int


def membership(blank: Verdict, rule: conf_gates.Membership, gates: Gates, evidence: Evidence) -> Iterator[Verdict]:
    """Judge the advantage of a guess by the loss."""
    asked = _ask(evidence.bundle, evidence.inputs, evidence.members, rule.rows)
    clusters = evidence.members.clusters[asked.places[0]], evidence.clusters[asked.places[1]]
    own = guess(asked.losses, clusters, gates.resamples, evidence.seed)
    what = f"the advantage of telling training rows from others by a loss up to {own.threshold:.3g}"
    advantage, draws = own.advantage, own.draws
    if rule.than == "baseline":
        if asked.baseline_losses is None:
            raise UserError("the baseline's scores of the training rows are missing; run: dvc repro")
        other = guess(asked.baseline_losses, clusters, gates.resamples, evidence.seed)
        advantage, draws = advantage - other.advantage, draws - other.draws
        what = f"{what}, beyond the {other.advantage:.4g} by the baseline's,"
    interval = comparison.interval(draws, own.clusters, gates.confidence)
    ends = interval if rule.tested == "interval" else (advantage, advantage)
    judged = limited(blank, conf_gates.Limits(None, rule.maximum), advantage, ends, what)
    yield replace(judged, interval=interval)


@lru_cache(maxsize=8)  # of the models that a self-test plants, most are of the same bundle
def _ask(bundle: BundleModel, inputs: Inputs, members: Members, rows: int) -> Asked:
    """Ask the bundle about rows of both sides; raises UserError for a task whose loss is not known."""
    places = _spread(inputs.trained.height, rows), _spread(inputs.features.height, rows)
    labels = members.labels[places[0]], inputs.labels[places[1]]

    def of(scores: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        return losses(labels[0], scores[0], inputs.task), losses(labels[1], scores[1], inputs.task)

    asked = bundle.score(inputs.trained[places[0]]), bundle.score(inputs.features[places[1]])
    if members.baseline is None:
        return Asked(of(asked), None, places)
    trained, holdout = members.baseline
    return Asked(of(asked), of((trained[places[0]], holdout[places[1]])), places)


def _spread(height: int, rows: int) -> Integers:
    if height < 4:
        raise UserError(f"{height} rows are too few to guess from; run: dvc repro")
    return np.unique(np.linspace(0, height - 1, min(rows, height)).astype(np.int64))


def guess(sides: tuple[Floats, Floats], clusters: tuple[Integers, Integers], count: int, seed: int) -> Guess:
    """Return the advantage on every other row of the two sides, by the best threshold of the rest."""
    threshold = best_threshold(sides[0][::2], sides[1][::2])
    called = sides[0][1::2] <= threshold, sides[1][1::2] <= threshold
    members, some = shares.drawn(called[0], clusters[0][1::2], count, seed)
    others, more = shares.drawn(called[1], clusters[1][1::2], count, seed + 1)
    return Guess(threshold, float(called[0].mean() - called[1].mean()), members - others, min(some, more))


def losses(labels: NDArray[Any], scores: Floats, task: Task) -> Floats:
    """Return the loss of each row; raises UserError for scores that are none of the task's."""
    metric = named(LOSSES[task], task) if task in LOSSES else None
    if not isinstance(metric, RowMean):
        raise UserError(f"no loss of a row is known of the task {task}; remove the rule")
    sample = Sample(labels, scores, np.arange(len(labels)), task)
    return metric.of(sample.labels, sample.scores)


def best_threshold(members: Floats, others: Floats) -> float:
    """Return the loss up to which calling a row a training row is right most often."""
    tried = np.unique(np.concatenate([members, others]))
    called = [np.searchsorted(np.sort(side), tried, side="right") / len(side) for side in (members, others)]
    return float(tried[(called[0] - called[1]).argmax()])
