"""Intervals by the cluster bootstrap: rows of one cluster, such as the flights of a day, are not independent.

Whole clusters are drawn with replacement, as many as there are, and a resample holds all rows of each drawn
cluster as often as it was drawn (the cluster bootstrap of Field and Welsh, "Bootstrapping clustered data",
Journal of the Royal Statistical Society B 69 (2007) 369-390). So the number of rows varies between
resamples, as it does between months. The same `Resamples` give the same draws for any two score vectors
over the same rows: the resampled values of a difference are the differences of the resampled values.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trunkline.core.arrays import Floats, Integers
from trunkline.pipeline.evaluate.metrics.kinds import Metric, Sample, measure

Interval = tuple[float, float]

_BLOCK = 1 << 21  # draws held at a time: 16 MB, whatever the number of clusters and resamples


@dataclass(frozen=True)
class Resamples:
    """`count` draws of `clusters` clusters with replacement, the same for the same seed."""

    clusters: int
    count: int
    seed: int

    def blocks(self, size: int = _BLOCK) -> Iterator[Integers]:
        """Yield how often each resample takes each cluster, shape (resamples of the block, clusters).

        `size` bounds a block and changes no draw: the generator's stream is read in order, as whole numbers.
        """
        generator = np.random.default_rng(self.seed)
        step = max(1, size // self.clusters)
        for start in range(0, self.count, step):
            rows = min(step, self.count - start)
            draws = generator.integers(self.clusters, size=(rows, self.clusters))
            places = draws + np.arange(rows)[:, None] * self.clusters
            yield np.bincount(places.ravel(), minlength=draws.size).reshape(draws.shape)


def resampled(metrics: Sequence[Metric], sample: Sample, resamples: Resamples) -> Floats:
    """Return each metric's value on each resample, shape (metrics, resamples); NaN where it is not defined.

    For a paired comparison call it twice with the same resamples and labels and subtract.
    """
    return np.concatenate([measure(metrics, sample, counts) for counts in resamples.blocks()], axis=1)


def intervals(
    metrics: Sequence[Metric], sample: Sample, resamples: Resamples, confidence: float, undefined_limit: float
) -> list[Interval | None]:
    """Return the interval of each metric; None where all rows are of one cluster, which tells nothing."""
    if np.unique(sample.clusters).size < 2:
        return [None] * len(metrics)
    values = resampled(metrics, sample, resamples)
    return [percentile_interval(row, confidence, undefined_limit) for row in values]


def percentile_interval(values: Floats, confidence: float, undefined_limit: float) -> Interval | None:
    """Return the percentile interval of one metric's (or one difference's) resampled values.

    Its ends are the values of rank (R+1)a and (R+1)(1-a) of the R defined ones, interpolated between two
    ranks, where 1-2a is the confidence (Davison and Hinkley, Bootstrap Methods and their Application, 1997,
    5.3). None where more than the share `undefined_limit` of the values is NaN.
    """
    defined = values[np.isfinite(values)]
    if len(defined) == 0 or len(defined) < (1 - undefined_limit) * len(values):
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail], method="weibull")
    return float(low), float(high)
