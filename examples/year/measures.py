"""What answers are worth: ranking, calibration and cost, by week and over all, and paired differences."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from examples.year.plan import MISSED, NEEDLESS, THRESHOLD
from examples.year.rows import Rows
from trunkline.core.arrays import Floats, Integers
from trunkline.pipeline.evaluate.bootstrap import Resamples
from trunkline.pipeline.evaluate.metrics.kinds import Combined, Metric, RowMean, Sample, point
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.gate import comparison

BINS = 15
RESAMPLES, CONFIDENCE = 1000, 0.95


def _costs(labels: Floats, scores: Floats) -> Floats:
    """Return what each answer costs: a late flight without a warning, or a warning for nothing."""
    warned, late = scores >= THRESHOLD, labels == 1
    return np.where(warned & ~late, NEEDLESS, 0.0) + np.where(~warned & late, MISSED, 0.0)


def _apart(labels: Floats, scores: Floats) -> Floats:
    """Return how far each score is from what happened, in the column of its bin: shape (rows, BINS)."""
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    return np.where(bins[:, None] == np.arange(BINS), (scores - labels)[:, None], 0.0)


def _error(sums: Floats, rows: Integers) -> Floats:
    return np.asarray(np.abs(sums).sum(axis=-1) / rows)


METRICS: tuple[Metric, ...] = (
    named("roc_auc", "binary"),
    named("log_loss", "binary"),
    Combined("calibration error", "smaller", "Expected calibration error over 15 equal bins.", "", _apart, _error),
    RowMean("cost", "smaller", "Mean cost of an answer.", "", _costs),
)


@dataclass(frozen=True)
class Difference:
    """How much better one strategy is than another by a metric, positive is better, with its interval."""

    value: float
    low: float
    high: float


def values(rows: Rows, scores: Floats, chosen: NDArray[np.bool_]) -> dict[str, float]:
    """Return each metric of the chosen rows, by its name."""
    return dict(zip((metric.name for metric in METRICS), point(METRICS, _sample(rows, scores, chosen)), strict=True))


def differences(
    rows: Rows, than: Floats, scores: Floats, chosen: NDArray[np.bool_], seed: int
) -> dict[str, Difference]:
    """Compare two strategies on the same rows: resamples of whole days, the same for both, as gates compare models."""
    other, this = (_sample(rows, each, chosen) for each in (than, scores))
    resamples = Resamples(int(other.clusters.max()) + 1, RESAMPLES, seed)
    compared = {metric.name: comparison.difference(metric, other, this, resamples) for metric in METRICS}
    return {name: Difference(each.observed, *each.interval(CONFIDENCE)) for name, each in compared.items()}


def _sample(rows: Rows, scores: Floats, chosen: NDArray[np.bool_]) -> Sample:
    days = np.unique(rows.day[chosen], return_inverse=True)[1]
    return Sample(rows.label[chosen], scores[chosen], days.astype(np.int64))
