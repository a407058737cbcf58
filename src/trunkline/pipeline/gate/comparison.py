"""Whether one model is better than another on the same rows: paired, clustered, and right about its own error rate.

Both models are measured on the same resamples of whole clusters (see `bootstrap`), so a resampled difference is the
difference of what is resampled, and what makes a day hard for both cancels. A month has some thirty clusters only, for
which plain percentiles are too narrow; the percentiles are moved outwards as Hesterberg proposes (The American
Statistician 69 (2015) 371-386, section 5.3): to those of a t distribution with one degree of freedom per cluster but
one. docs/gate.md has the error rates that were measured.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy import special

from trunkline.core.arrays import Floats
from trunkline.core.errors import UserError
from trunkline.pipeline.evaluate.bootstrap import Resamples, resampled
from trunkline.pipeline.evaluate.metrics.kinds import Metric, Sample, point

UNDEFINED = 0.05  # share of resamples without a value above which nothing is concluded
_NORMAL = NormalDist()


@dataclass(frozen=True)
class ScoreDifference:
    """How much better a challenger is than a champion by one metric; positive is better, whatever the metric.

    `draws` are the differences on the resamples, `clusters` those that have rows of the sample.
    """

    observed: float
    draws: Floats
    clusters: int

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the two-sided interval."""
        return interval(self.draws, self.clusters, confidence)

    def p_value(self, margin: float) -> float:
        """Return the p-value of the hypothesis that the true difference is at most `margin`: the interval, inverted.

        A negative margin asks for non-inferiority, 0 or more for superiority by that much.
        """
        return self._p_value(int(np.sum(self.draws <= margin)))

    @property
    def smallest_p_value(self) -> float:
        """The p-value of a margin below all draws: no evidence of so few resamples and clusters gives a smaller one."""
        return self._p_value(0)

    def _p_value(self, below: int) -> float:
        share = (below + 1) / (len(self.draws) + 1)
        if share >= 1:
            return 1.0
        return float(special.stdtr(self.clusters - 1, _NORMAL.inv_cdf(share) / self._widening))

    @property
    def _widening(self) -> float:
        return _widening(self.clusters)


def interval(draws: Floats, clusters: int, confidence: float) -> tuple[float, float]:
    """Return the two-sided interval of draws on resamples of so many clusters, two or more."""
    # The share of draws to cut off for a tail of the t distribution.
    tail = _NORMAL.cdf(float(special.stdtrit(clusters - 1, (1 - confidence) / 2)) * _widening(clusters))
    low, high = np.quantile(draws, [tail, 1 - tail], method="weibull")
    return float(low), float(high)


def _widening(clusters: int) -> float:
    return math.sqrt(clusters / (clusters - 1))


def difference(metric: Metric, champion: Sample, challenger: Sample, resamples: Resamples) -> ScoreDifference:
    """Compare two samples of the same rows, which differ in their scores only.

    Raises UserError where nothing can be concluded: a metric that judges nothing, other rows, a metric that is not
    defined on the rows or on too many resamples, or rows of one cluster only.
    """
    if metric.better is None:
        raise UserError(f"gates: {metric.name} is neither better nor worse when it is larger; use another metric")
    _same_rows(champion, challenger)
    sign = 1 if metric.better == "larger" else -1
    values = [sign * resampled([metric], sample, resamples)[0] for sample in (champion, challenger)]
    observed = sign * (point([metric], challenger)[0] - point([metric], champion)[0])
    draws = values[1] - values[0]
    defined = draws[np.isfinite(draws)]
    clusters = len(np.unique(challenger.clusters))
    if clusters == 1:
        raise UserError(f"all {len(challenger.labels)} rows are of one cluster, which says nothing about another")
    if not np.isfinite(observed) or len(defined) < (1 - UNDEFINED) * len(draws):
        raise UserError(
            f"{metric.name} is not defined on these {len(challenger.labels)} rows, or on too many resamples"
        )
    return ScoreDifference(float(observed), defined, clusters)


def delong(champion: Sample, challenger: Sample) -> tuple[float, float]:
    """Return the difference of the areas under the ROC curves and its standard error, clusters respected.

    DeLong et al., Biometrics 44 (1988) 837-845, for clustered rows as Obuchowski, Biometrics 53 (1997) 567-578; the
    placements by sorting, as Sun and Xu, IEEE Signal Processing Letters 21 (2014) 1389-1393.
    """
    _same_rows(champion, challenger)
    parts = _influence(challenger) - _influence(champion)
    sums = np.bincount(challenger.clusters, weights=parts)
    count = len(np.unique(challenger.clusters))
    error = math.sqrt(count / (count - 1) * float(np.sum(np.square(sums)))) if count > 1 else math.inf
    return _area(challenger) - _area(champion), error


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values that allow for there being several (Holm, Scandinavian Journal of Statistics 6 (1979) 65-70)."""
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: (p_values[name], name))):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return adjusted


def _same_rows(champion: Sample, challenger: Sample) -> None:
    same = np.array_equal(champion.labels, challenger.labels) and np.array_equal(champion.clusters, challenger.clusters)
    if not same:
        raise UserError("the two models are not measured on the same rows: evaluate both on this commit's holdout")


def _placements(sample: Sample) -> tuple[Floats, Floats]:
    """Return, for each positive row, the share of negatives below it (a tie counts half), and the reverse."""
    positive = sample.labels == 1
    ordered = {side: np.sort(sample.scores[positive == side]) for side in (False, True)}

    def shares(scores: Floats, others: Floats) -> Floats:
        below = np.searchsorted(others, scores, "left") + np.searchsorted(others, scores, "right")
        return np.asarray(below / (2 * max(1, len(others))), dtype=np.float64)

    return shares(sample.scores[positive], ordered[False]), 1 - shares(sample.scores[~positive], ordered[True])


def _area(sample: Sample) -> float:
    return float(_placements(sample)[0].mean())


def _influence(sample: Sample) -> Floats:
    """Return what each row adds to the deviation of the area."""
    positive = sample.labels == 1
    of_positives, of_negatives = _placements(sample)
    area, parts = of_positives.mean(), np.empty(len(sample.labels))
    parts[positive] = (of_positives - area) / len(of_positives)
    parts[~positive] = (of_negatives - area) / len(of_negatives)
    return parts
