"""The metrics of a binary classifier, by name, each computed for many resamples of the rows at once.

A resample says how many times each cluster of rows is taken, so a metric is written for rows with
whole-number weights: a mean needs only the sum of each cluster; an area under a curve needs one sort by
score, then running sums. Weights are counted in integers, and no sum is left to BLAS, whose order depends
on the number of threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trunkline.core.errors import UserError, nearest

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_BLOCK = 1 << 18  # running sums held at a time, 2 MB each: they stay in the processor's cache


@dataclass(frozen=True)
class Sample:
    """Rows to measure: label 0 or 1, score from 0 to 1, and the cluster's column in the counts of resamples.

    Three arrays of one length; a part of the rows keeps the clusters' columns, and so the same resamples.
    Raises UserError for a score or a label that is none: a number computed from it would look like any other.
    """

    labels: NDArray[np.int8]
    scores: Floats
    clusters: Integers

    def __post_init__(self) -> None:
        if not self.labels.shape == self.scores.shape == self.clusters.shape or self.labels.ndim != 1:
            raise ValueError(f"labels {self.labels.shape}, scores {self.scores.shape}, clusters {self.clusters.shape}")
        _refuse(~((self.scores >= 0) & (self.scores <= 1)), self.scores, "score", "from 0 to 1; check the model")
        _refuse((self.labels != 0) & (self.labels != 1), self.labels, "label", "0 or 1; check the target")

    def part(self, places: Integers) -> "Sample":
        """Return the rows at these places."""
        return Sample(self.labels[places], self.scores[places], self.clusters[places])


def _refuse(wrong: NDArray[np.bool_], values: NDArray[Any], what: str, must: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        found = ", ".join(f"{values[row]} (row {row}, counted from 0)" for row in rows[:3])
        raise UserError(f"{len(rows)} of {len(values)} rows have a wrong {what}: {found}; a {what} must be {must}")


@dataclass(frozen=True)
class Cutoffs:
    """Rows at or above each distinct score that a positive row has, from the highest down, per resample.

    Integers of shape (resamples, cutoffs): `flagged` are the rows at or above, `true` the positives among
    them; `*_above` leave out the rows at the score itself. `positives` and `rows`, (resamples, 1), are all
    there are.
    """

    true_above: Integers
    true: Integers
    flagged_above: Integers
    flagged: Integers
    positives: Integers
    rows: Integers


@dataclass(frozen=True)
class Metric:
    """What a metric is called and means; `better` is None for a number that describes and does not judge."""

    name: str
    better: Literal["larger", "smaller"] | None
    meaning: str
    source: str


@dataclass(frozen=True)
class RowMean(Metric):
    """The mean over rows of a number that a row has by its label and its score."""

    of: Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class RankArea(Metric):
    """An area under a curve, which depends on the order of the scores only; tied scores are one cutoff."""

    under: Callable[[Cutoffs], Floats]


def _log_loss(labels: Floats, scores: Floats) -> Floats:
    smallest = np.finfo(np.float64).eps  # as in scikit-learn: a wrong certainty costs 36, not infinity
    given: Floats = np.clip(np.where(labels == 1, scores, 1 - scores), smallest, 1 - smallest)
    return -np.log(given)


def _roc_auc(cutoffs: Cutoffs) -> Floats:
    negatives = cutoffs.rows - cutoffs.positives
    false, false_above = cutoffs.flagged - cutoffs.true, cutoffs.flagged_above - cutoffs.true_above
    # Negatives below, and half of those at the score itself; doubled, to stay whole.
    twice_below = 2 * negatives - false - false_above
    pairs = ((cutoffs.true - cutoffs.true_above) * twice_below).sum(axis=1)
    return _ratio(pairs, (2 * cutoffs.positives * negatives)[:, 0])


def _average_precision(cutoffs: Cutoffs) -> Floats:
    # At least 1: a resample without rows at or above a score gains nothing there, so nothing is added.
    precision = _ratio(cutoffs.true, np.maximum(cutoffs.flagged, 1))
    weighted = ((cutoffs.true - cutoffs.true_above) * precision).sum(axis=1)
    return _ratio(weighted, cutoffs.positives[:, 0])


def _ratio(over: NDArray[np.int64 | np.float64], under: NDArray[np.int64]) -> Floats:
    ratio = np.full(over.shape, np.nan)
    np.divide(over, under, out=ratio, where=under > 0)
    return ratio


REGISTRY: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        RankArea(
            "roc_auc",
            "larger",
            "Chance that a positive row is scored above a negative one, a tie counting one half.",
            "Hanley and McNeil, Radiology 143 (1982) 29-36",
            _roc_auc,
        ),
        RankArea(
            "average_precision",
            "larger",
            "Precision at each distinct score, weighted by the recall gained there; not interpolated.",
            "sklearn.metrics.average_precision_score; Manning et al., Information Retrieval, 8.4",
            _average_precision,
        ),
        RowMean(
            "log_loss",
            "smaller",
            "Mean of -log of the probability given to what happened, clipped by 2.2e-16 as in scikit-learn.",
            "Good, Journal of the Royal Statistical Society B 14 (1952) 107-114; sklearn.metrics.log_loss",
            _log_loss,
        ),
        RowMean(
            "brier",
            "smaller",
            "Mean squared difference of the score and the label.",
            "Brier, Monthly Weather Review 78 (1950) 1-3; sklearn.metrics.brier_score_loss",
            lambda labels, scores: np.square(scores - labels),
        ),
        RowMean(
            "accuracy",
            "larger",
            "Share of rows whose label is 1 exactly where the score is above one half.",
            "sklearn.metrics.accuracy_score of a classifier's predict, which gives a tie to class 0",
            lambda labels, scores: ((scores > 0.5) == (labels == 1)).astype(np.float64),
        ),
        RowMean(
            "base_rate",
            None,
            "Share of rows whose label is 1.",
            "Murphy, Journal of Applied Meteorology 12 (1973) 595-600, where it is called climatology",
            lambda labels, scores: labels,
        ),
        RowMean(
            "mean_score",
            None,
            "Mean score; equals the base rate when the scores are calibrated in the large.",
            "Cox, Biometrika 45 (1958) 562-565",
            lambda labels, scores: scores,
        ),
    )
}


def named(name: str) -> Metric:
    """Return a metric by its name.

    Raises UserError with the nearest valid name.
    """
    if name not in REGISTRY:
        raise UserError(f"evaluation.metrics: no metric '{name}'{nearest(name, REGISTRY)}")
    return REGISTRY[name]


def measure(metrics: Sequence[Metric], sample: Sample, counts: Integers) -> Floats:
    """Compute metrics on resamples of a sample.

    `counts`, shape (resamples, clusters), says how many times a resample takes each cluster. Returns shape
    (metrics, resamples), with NaN where a metric is not defined: without rows; for an area without positive
    rows; for ROC also without negative ones.
    """
    values = np.empty((len(metrics), len(counts)))
    areas = [(row, metric) for row, metric in zip(values, metrics, strict=True) if isinstance(metric, RankArea)]
    for row, metric in zip(values, metrics, strict=True):
        if isinstance(metric, RowMean):
            row[:] = _means(metric, sample, counts)
    if areas:
        ranking = _Ranking.of(sample)
        step = max(1, _BLOCK // max(1, len(sample.labels)))
        for start in range(0, len(counts), step):
            cutoffs = ranking.cutoffs(counts[start : start + step])
            for row, metric in areas:
                row[start : start + step] = metric.under(cutoffs)
    return values


def point(metrics: Sequence[Metric], sample: Sample) -> Floats:
    """Compute metrics on the sample itself; shape (metrics,), NaN where one is not defined."""
    clusters = int(sample.clusters.max(initial=-1)) + 1
    return measure(metrics, sample, np.ones((1, clusters), dtype=np.int64))[:, 0]


def cutoffs(labels: NDArray[np.int8], scores: Floats) -> tuple[Floats, Integers, Integers]:
    """Return the distinct scores from the highest down, with the rows and the positives at or above each."""
    order = np.argsort(-scores, kind="stable")
    ends = _ends(scores[order])
    return scores[order][ends], ends + 1, np.cumsum(labels[order], dtype=np.int64)[ends]


def _means(metric: RowMean, sample: Sample, counts: Integers) -> Floats:
    clusters = counts.shape[1]
    values = metric.of(sample.labels.astype(np.float64), sample.scores)
    sums = np.bincount(sample.clusters, weights=values, minlength=clusters)
    rows = np.bincount(sample.clusters, minlength=clusters)
    # einsum keeps its own loops: a matrix product would go to BLAS, which sums in an order of its own.
    return _ratio(np.einsum("rc,c->r", counts, sums), np.einsum("rc,c->r", counts, rows))


def _ends(ordered: Floats) -> Integers:
    """Return the index of the last row of each run of equal scores."""
    if not len(ordered):
        return np.empty(0, dtype=np.int64)
    return np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1).astype(np.int64)


@dataclass(frozen=True)
class _Ranking:
    """A sample sorted by score, once: clusters of all and of positive rows, and where the cutoffs are."""

    clusters: Integers
    positive_clusters: Integers
    flagged_above: Integers
    flagged: Integers
    true_above: Integers
    true: Integers

    @classmethod
    def of(cls, sample: Sample) -> "_Ranking":
        order = np.argsort(-sample.scores, kind="stable")
        labels, clusters = sample.labels[order], sample.clusters[order]
        flagged = _ends(sample.scores[order]) + 1
        true = np.concatenate([[0], np.cumsum(labels, dtype=np.int64)])[flagged]
        flagged_above, true_above = (np.concatenate([[0], ends[:-1]]) for ends in (flagged, true))
        gains = true > true_above  # a cutoff without positive rows adds to no area
        kept = (ends[gains] for ends in (flagged_above, flagged, true_above, true))
        return cls(clusters, clusters[labels == 1], *kept)

    def cutoffs(self, counts: Integers) -> Cutoffs:
        rows, positives = _running(counts, self.clusters), _running(counts, self.positive_clusters)
        return Cutoffs(
            true_above=np.take(positives, self.true_above, axis=1),
            true=np.take(positives, self.true, axis=1),
            flagged_above=np.take(rows, self.flagged_above, axis=1),
            flagged=np.take(rows, self.flagged, axis=1),
            positives=positives[:, -1:],
            rows=rows[:, -1:],
        )


def _running(counts: Integers, clusters: Integers) -> Integers:
    """Return running sums of the rows' counts, from 0; shape (resamples, rows + 1)."""
    sums = np.zeros((len(counts), len(clusters) + 1), dtype=np.int64)
    np.cumsum(np.take(counts, clusters, axis=1), axis=1, out=sums[:, 1:])
    return sums
