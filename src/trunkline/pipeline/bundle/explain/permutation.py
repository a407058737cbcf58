"""Permutation importance: what a metric loses when one feature is shuffled."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from sklearn.pipeline import Pipeline

from trunkline.core.arrays import Floats
from trunkline.core.dataset import Dataset
from trunkline.core.progress import track
from trunkline.core.tasks import Task
from trunkline.pipeline.evaluate.metrics.kinds import Sample, point
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.train import fit

METRICS: dict[Task, str] = {
    "binary": "roc_auc",
    "multiclass": "accuracy",
    "ordinal": "quadratic_kappa",
    "regression": "r2",
    "count": "poisson_d2",
    "quantile": "pinball_d2",
    "ranking": "ndcg",
    "multilabel": "macro_average_precision",
}
REPEATS = 5
PERMUTED_ROWS = 5_000


@dataclass(frozen=True)
class Drop:
    """How much of the metric is lost when a feature is shuffled: mean, smallest and largest of the repeats."""

    mean: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Permutation:
    """Permutation importance (Breiman, Machine Learning 45 (2001) 5-32) of each feature."""

    metric: str
    baseline: float
    rows: int
    repeats: int
    drops: dict[str, Drop]


def permutation(pipeline: Pipeline, holdout: Dataset, seed: int) -> Permutation:
    """Shuffle one feature at a time and measure what the metric loses."""
    frame = sample(holdout.frame, PERMUTED_ROWS, seed)
    sampled, task = Dataset(frame, holdout.schema), holdout.schema.task
    features = sampled.features
    baseline = _metric(sampled, fit.scores(pipeline, features))
    drops = {}
    for number, name in enumerate(track(features.columns, "shuffling", "features")):
        # A generator for each feature: another feature in the schema must not shuffle this one differently.
        random = np.random.default_rng([seed, number])
        orders = np.concatenate([random.permutation(features.height) for _ in range(REPEATS)])
        shuffled = pl.concat([features] * REPEATS).with_columns(features[name].gather(orders))
        scores = np.split(fit.scores(pipeline, shuffled), REPEATS)
        lost = [baseline - _metric(sampled, part) for part in scores]
        drops[name] = Drop(float(np.mean(lost)), min(lost), max(lost))
    return Permutation(METRICS[task], baseline, frame.height, REPEATS, drops)


def sample(frame: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """Return at most so many rows, drawn at random and in random order, so that the first are a sample too."""
    return frame[np.random.default_rng(seed).permutation(frame.height)[:most]]


def _metric(rows: Dataset, scores: Floats) -> float:
    """Return the metric of a task; the area under the ROC curve reads the order of the scores only."""
    task = rows.schema.task
    if task == "binary":  # any scale will do
        ranks = np.unique(scores, return_inverse=True)[1]
        scores = ranks / max(1, ranks.max(initial=0))
    measured = Sample(rows.label.to_numpy(), scores, rows.groups.to_numpy(), task, rows.schema.levels)
    return float(point([named(METRICS[task], task)], measured)[0])
