"""Chooses the score from which on a row is taken for a positive one: where declared costs are the smallest.

That is judged on scores of training rows by models that had not seen them, never on the holdout, which shows what it
costs (`decision`). Of chances that are right, the best threshold is known: false_positive / (false_positive +
false_negative + gain) (Elkan, "The foundations of cost-sensitive learning", IJCAI 2001).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trunkline.conf.evaluation import Decision, Evaluation
from trunkline.conf.model import Model
from trunkline.core import files
from trunkline.core.arrays import Floats
from trunkline.core.dataset import Dataset
from trunkline.core.params import Params
from trunkline.core.values import Duration, Group, Strict
from trunkline.pipeline.evaluate.estimate import Chosen
from trunkline.pipeline.train import choice, fit, folds
from trunkline.pipeline.train.folds import Cut


class Known(Strict, extra="ignore"):
    """When a label is known after its event; None where rows have no time."""

    known_after: Duration | None = None


class Hashed(Strict, extra="ignore"):
    """How training rows and holdout are told apart where rows have no time."""

    by: list[str] = Field(default_factory=list)
    seed: int = 0


class Cutting(Group, extra="ignore"):
    """All that folds depend on of conf/data."""

    key = "data"

    timezone: str
    target: Known
    unique_key: list[str]
    split: Hashed | None = None

    @property
    def cut(self) -> Cut:
        """The same for search and for this."""
        split = self.split or Hashed()
        return Cut(self.timezone, self.target.known_after, tuple(split.by or self.unique_key), split.seed)


def chosen(params: Params, evaluation: Evaluation, threads: int) -> Chosen | None:
    """Fit the chosen model on folds of the training rows and choose the threshold; None where no costs are declared.

    Raises UserError for folds without rows.
    """
    declared = evaluation.decision
    if declared is None:
        return None
    model, dataset = choice.trained(params.group(Model)), Dataset.read("train")
    parts = folds.split(dataset, params.group(Cutting).cut, declared.folds, params.seed, "evaluation.decision.folds")
    scored = [_out_of_fold(dataset, part, model, params.seed, threads) for part in parts]
    labels, scores = (np.concatenate(columns) for columns in zip(*scored, strict=True))
    return choose(labels, scores, declared)


def _out_of_fold(
    dataset: Dataset, part: folds.Fold, model: Model, seed: int, threads: int
) -> tuple[NDArray[Any], Floats]:
    learnt, validated = (Dataset(dataset.frame[places], dataset.schema) for places in (part.train, part.validate))
    return validated.label.to_numpy(), fit.scores(fit.fit(learnt, model, seed, threads), validated.features)


def choose(labels: NDArray[Any], scores: Floats, declared: Decision) -> Chosen:
    """Return the threshold whose cost per row is the smallest, of equal ones the lowest.

    Those that are tried are between any two scores, 0, which takes all rows for positive ones, and 1.
    """
    order = np.argsort(scores, kind="stable")
    ordered, positives = scores[order], np.concatenate([[0], np.cumsum(labels[order], dtype=np.int64)])
    distinct = np.unique(ordered)
    tried = np.concatenate([[0.0], (distinct[:-1] + distinct[1:]) / 2, [1.0]])
    below = np.searchsorted(ordered, tried, side="left")
    missed = positives[below]
    caught = positives[-1] - missed
    alarms = len(ordered) - below - caught
    costs = declared.false_positive * alarms + declared.false_negative * missed - declared.gain * caught
    best = int(costs.argmin())
    threshold = files.rounded(float(tried[best]))  # the reports' digits: what is measured is what is written
    return Chosen(threshold, declared.folds, len(ordered), float(costs[best]) / len(ordered))
