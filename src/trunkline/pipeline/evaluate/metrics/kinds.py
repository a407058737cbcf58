"""The metrics of each task, by name, each computed for many resamples of the rows at once.

A resample says how many times each cluster of rows is taken, so a metric is written for rows with
whole-number weights: a mean needs only the sum of each cluster; an area under a curve needs one sort by
score, then running sums. Weights are counted in integers, and no sum is left to BLAS, whose order depends
on the number of threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trunkline.core.arrays import Floats, Integers, happened
from trunkline.core.errors import UserError
from trunkline.core.tasks import MANY, MOST_RELEVANT, Task
from trunkline.pipeline.evaluate.metrics.pairs import pair_counts, ranked_rightly, worth_counting

Better = Literal["larger", "smaller"]
Needs = Literal["levels", "naive_error"] | None

_BLOCK = 1 << 18  # running sums held at a time, 2 MB each: they stay in the processor's cache
_SUM = 1e-6  # by which the chances of the classes of a row may miss 1


@dataclass(frozen=True)
class Sample:
    """Rows to measure: label, score, and the cluster's column in the counts of resamples.

    Three arrays of one length; a part of the rows keeps the clusters' columns, and so the same resamples. Binary: label
    0 or 1, score from 0 to 1. Regression: any number each. Count: a whole number from 0 on, and a number from 0 on.
    Multiclass, ordinal: label the number of its class, scores of shape (rows, classes) from 0 to 1 that sum to 1.
    Quantile: label any number, scores of shape (rows, levels) that do not fall from one of the ascending `levels` to
    the next. Ranking: label a relevance, a whole number from 0 to 30, score any number, cluster the group.
    Multilabel: label the number of a set, scores of shape (rows, labels) from 0 to 1.
    `naive_error` is that of a simple forecast on the training rows, in the label's unit; None where there is none.
    Raises UserError for an impossible score or label: a number computed from it would look like any other.
    """

    labels: NDArray[Any]
    scores: Floats
    clusters: Integers
    task: Task = "binary"
    levels: tuple[float, ...] = ()
    naive_error: float | None = None

    def __post_init__(self) -> None:
        shapes = self.labels.shape, self.scores.shape[:1], self.clusters.shape
        several = self.task in (*MANY, "quantile")
        if len(set(shapes)) > 1 or self.labels.ndim != 1 or self.scores.ndim != (2 if several else 1):
            raise ValueError(f"labels {self.labels.shape}, scores {self.scores.shape}, clusters {self.clusters.shape}")
        if self.task == "quantile" and self.scores.shape[1] != len(self.levels):
            raise ValueError(f"scores {self.scores.shape} of the levels {self.levels}")
        _CHECKS[self.task](self.labels, self.scores)

    def part(self, places: Integers) -> "Sample":
        """Return the rows at these places."""
        return replace(self, labels=self.labels[places], scores=self.scores[places], clusters=self.clusters[places])

    def of_label(self, place: int) -> "Sample":
        """Return the same rows with one label of multilabel alone, as the only one that there is."""
        has = happened(self.labels, self.scores.shape[1], self.task)[:, place].astype(np.int64)
        return replace(self, labels=has, scores=self.scores[:, [place]])


def _binary(labels: NDArray[Any], scores: Floats) -> None:
    _refuse(~((scores >= 0) & (scores <= 1)), scores, "score", "from 0 to 1; check the model")
    _refuse((labels != 0) & (labels != 1), labels, "label", "0 or 1; check the target")


def _regression(labels: NDArray[Any], scores: Floats) -> None:
    _refuse(~np.isfinite(scores), scores, "score", "a finite number; check the model")
    _refuse(~np.isfinite(labels), labels, "label", "a finite number; check the target")


def _count(labels: NDArray[Any], scores: Floats) -> None:
    _refuse(~(np.isfinite(scores) & (scores >= 0)), scores, "score", "a number of at least 0; check the model")
    whole = np.isfinite(labels) & (labels >= 0) & (np.floor(labels) == labels)
    _refuse(~whole, labels, "label", "a whole number of at least 0; check the target")


def _multiclass(labels: NDArray[Any], scores: Floats) -> None:
    chances = ((scores >= 0) & (scores <= 1)).all(axis=1) & (np.abs(scores.sum(axis=1) - 1) <= _SUM)
    _refuse(~chances, scores, "score", "chances of the classes that sum to 1; check the model")
    _refuse((labels < 0) | (labels >= scores.shape[1]), labels, "label", "the number of a class; check the target")


def _quantile(labels: NDArray[Any], scores: Floats) -> None:
    finite, ordered = np.isfinite(scores), scores[:, 1:] >= scores[:, :-1]
    ascending = np.logical_and(finite.all(axis=1), ordered.all(axis=1))
    _refuse(~ascending, scores, "score", "finite quantiles, none below a lower one's; check the model")
    _refuse(~np.isfinite(labels), labels, "label", "a finite number; check the target")


def _ranking(labels: NDArray[Any], scores: Floats) -> None:
    _refuse(~np.isfinite(scores), scores, "score", "a finite number; check the model")
    whole = (labels >= 0) & (labels <= MOST_RELEVANT) & (np.floor(labels) == labels)
    _refuse(~whole, labels, "label", f"a whole number from 0 to {MOST_RELEVANT}; check the target")


def _multilabel(labels: NDArray[Any], scores: Floats) -> None:
    chances = np.asarray(((scores >= 0) & (scores <= 1)).all(axis=1))
    _refuse(~chances, scores, "score", "chances from 0 to 1; check the model")
    sets = (labels >= 0) & (labels < 2 ** scores.shape[1]) & (np.floor(labels) == labels)
    _refuse(~sets, labels, "label", "the number of a set of labels; check the target")


_CHECKS: dict[Task, Callable[[NDArray[Any], Floats], None]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "ordinal": _multiclass,
    "regression": _regression,
    "count": _count,
    "quantile": _quantile,
    "ranking": _ranking,
    "multilabel": _multilabel,
}


def _refuse(wrong: NDArray[np.bool_], values: NDArray[Any], what: str, must: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        examples = ", ".join(f"{values[row]} (row {row}, counted from 0)" for row in rows[:3])
        raise UserError(f"{len(rows)} of {len(values)} rows have a wrong {what}: {examples}; a {what} must be {must}")


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
    better: Better | None
    meaning: str
    source: str


@dataclass(frozen=True)
class RowMean(Metric):
    """The mean over rows of a number that a row has by its label and its score.

    `of` takes labels, scores and, if it `needs` it, what the sample has by that name; NaN where the sample has none.
    """

    of: Callable[..., Floats]
    needs: Needs = None


@dataclass(frozen=True)
class Combined(Metric):
    """What is made of sums over rows: `of` gives each row's numbers, shape (rows, k), `by` a value of their sums.

    `by` takes sums of shape (resamples, k) and the numbers of rows, and gives NaN where it is not defined. `needs` is
    as of a mean.
    """

    of: Callable[..., Floats]
    by: Callable[[Floats, Integers], Floats]
    needs: Needs = None


@dataclass(frozen=True)
class GroupMean(Metric):
    """The mean over groups of a number that a group has by the labels and the scores of its rows.

    `of` takes both, with the group of each row, and gives a number for each group, NaN for one that has none: it is
    left out. Groups are the clusters that are resampled.
    """

    of: Callable[[Floats, Floats, Integers], Floats]


@dataclass(frozen=True)
class RankArea(Metric):
    """An area under a curve, which depends on the order of the scores only; tied scores are one cutoff.

    Of several classes or labels, it is the mean over them; where `pooled`, that of all of them as one ranking.
    """

    under: Callable[[Cutoffs], Floats]
    pooled: bool = False


@dataclass(frozen=True)
class PairArea(RankArea):
    """An area that is a share of the pairs of a positive and a negative row: those ranked rightly, a tie half of one.

    Where clusters are few, the pairs are counted by cluster, and each resample is a sum over those counts.
    """


def ratio(over: NDArray[np.int64 | np.float64], under: NDArray[np.int64 | np.float64]) -> Floats:
    """Divide; NaN where the divisor is not above 0."""
    ratios = np.full(over.shape, np.nan)
    np.divide(over, under, out=ratios, where=under > 0)
    return ratios


def measure(metrics: Sequence[Metric], sample: Sample, counts: Integers) -> Floats:
    """Compute metrics on resamples of a sample.

    `counts`, shape (resamples, clusters), says how many times a resample takes each cluster. Returns shape
    (metrics, resamples), with NaN where a metric is not defined: without rows; for an area without positive
    rows; for ROC also without negative ones; for a mean over groups without one that has a relevant row.
    """
    values = np.empty((len(metrics), len(counts)))
    areas = [metric for metric in metrics if isinstance(metric, RankArea)]
    for row, metric in zip(values, metrics, strict=True):
        if isinstance(metric, RowMean | Combined):
            row[:] = _of_sums(metric, sample, counts)
        elif isinstance(metric, GroupMean):
            row[:] = _of_groups(metric, sample, counts)
    if areas:
        values[[isinstance(metric, RankArea) for metric in metrics]] = _of_order(areas, sample, counts)
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


def _of_sums(metric: RowMean | Combined, sample: Sample, counts: Integers) -> Floats:
    clusters = counts.shape[1]
    needed = [np.array(getattr(sample, metric.needs), dtype=np.float64)] if metric.needs else []
    values = metric.of(sample.labels.astype(np.float64), sample.scores, *needed)
    rows = np.einsum("rc,c->r", counts, np.bincount(sample.clusters, minlength=clusters))
    # einsum keeps its own loops: a matrix product would go to BLAS, which sums in an order of its own.
    columns = [values] if isinstance(metric, RowMean) else values.T
    sums = [
        np.einsum("rc,c->r", counts, np.bincount(sample.clusters, weights=column, minlength=clusters))
        for column in columns
    ]
    return ratio(sums[0], rows) if isinstance(metric, RowMean) else metric.by(np.stack(sums, axis=1), rows)


def _of_groups(metric: GroupMean, sample: Sample, counts: Integers) -> Floats:
    values = metric.of(sample.labels.astype(np.float64), sample.scores, sample.clusters)
    taken, known = counts[:, : len(values)], np.isfinite(values)
    sums, groups = (np.einsum("rg,g->r", taken, of) for of in (np.where(known, values, 0), known.astype(np.int64)))
    return ratio(sums, groups)


def _of_order(metrics: Sequence[RankArea], sample: Sample, counts: Integers) -> Floats:
    """Return areas, shape (metrics, resamples): means over the rankings, or of what is pooled that of the one."""
    values = np.empty((len(metrics), len(counts)))
    for pooled in {metric.pooled for metric in metrics}:
        asked = [metric for metric in metrics if metric.pooled == pooled]
        rankings = [_pooled(sample)] if pooled else _rankings(sample)
        of_each = [_areas(asked, ranking, counts) for ranking in rankings]
        values[[metric.pooled == pooled for metric in metrics]] = np.mean(of_each, axis=0)
    return values


def _areas(metrics: Sequence[RankArea], ranking: "_Ranking", counts: Integers) -> Floats:
    """Return areas of one ranking, shape (metrics, resamples): of pairs counted by cluster where that is less work."""
    resamples, clusters = counts.shape
    counted = worth_counting(len(ranking.clusters), clusters, resamples)
    paired = np.array([counted and isinstance(metric, PairArea) for metric in metrics])
    values = np.empty((len(metrics), resamples))
    if paired.any():
        values[paired] = _share_of_pairs(ranking, counts)
    if not paired.all():
        values[~paired] = _under(
            [metric for metric, pairs in zip(metrics, paired, strict=True) if not pairs], ranking, counts
        )
    return values


def _share_of_pairs(ranking: "_Ranking", counts: Integers) -> Floats:
    """Return the share of pairs ranked correctly: Hanley and McNeil, Radiology 143 (1982) 29-36; shape (resamples,)."""
    clusters = counts.shape[1]
    ranked = ranked_rightly(ranking.pairs(clusters), counts)
    positives, negatives = (
        np.einsum("rc,c->r", counts, np.bincount(rows, minlength=clusters))
        for rows in (ranking.positive_clusters, ranking.negative_clusters)
    )
    return ratio(ranked, 2 * positives * negatives)


def _under(metrics: Sequence[RankArea], ranking: "_Ranking", counts: Integers) -> Floats:
    """Return the areas by sums over the rows, some resamples at a time; shape (metrics, resamples)."""
    step = max(1, _BLOCK // max(1, len(ranking.clusters)))
    blocks = (ranking.cutoffs(counts[start : start + step]) for start in range(0, len(counts), step))
    return np.concatenate([np.stack([metric.under(cutoffs) for metric in metrics]) for cutoffs in blocks], axis=1)


def _rankings(sample: Sample) -> "list[_Ranking]":
    """Return the rows by score; for several classes, by the score of each, whose rows are the positive ones."""
    if sample.task == "binary":
        return [_Ranking.of(sample.labels, sample.scores, sample.clusters)]
    hits = happened(sample.labels, sample.scores.shape[1], sample.task).astype(np.int8)
    return [_Ranking.of(hit, scores, sample.clusters) for hit, scores in zip(hits.T, sample.scores.T, strict=True)]


def _pooled(sample: Sample) -> "_Ranking":
    """Return every row with every score of it as one ranking."""
    count = sample.scores.shape[1]
    hits = happened(sample.labels, count, sample.task).astype(np.int8)
    return _Ranking.of(hits.ravel(), sample.scores.ravel(), np.repeat(sample.clusters, count))


def _ends(ordered: Floats) -> Integers:
    """Return the index of the last row of each run of equal scores."""
    if not len(ordered):
        return np.empty(0, dtype=np.int64)
    return np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1).astype(np.int64)


@dataclass(frozen=True)
class _Ranking:
    """A sample sorted by score, once: clusters of all rows, and of each label's, and where the cutoffs are."""

    clusters: Integers
    positive_clusters: Integers
    negative_clusters: Integers
    flagged_above: Integers
    flagged: Integers
    true_above: Integers
    true: Integers

    @classmethod
    def of(cls, labels: NDArray[np.int8], scores: Floats, clusters: Integers) -> "_Ranking":
        order = np.argsort(-scores, kind="stable")
        labels, clusters = labels[order], clusters[order]
        flagged = _ends(scores[order]) + 1
        true = np.concatenate([[0], np.cumsum(labels, dtype=np.int64)])[flagged]
        flagged_above, true_above = (np.concatenate([[0], ends[:-1]]) for ends in (flagged, true))
        gains = true > true_above  # a cutoff without positive rows adds to no area
        kept = (ends[gains] for ends in (flagged_above, flagged, true_above, true))
        return cls(clusters, clusters[labels == 1], clusters[labels == 0], *kept)

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

    def pairs(self, clusters: int) -> Integers:
        """Count the pairs of a positive and a negative row by the clusters of the two (see `pair_counts`)."""
        tied = self.true - self.true_above  # positives of each cutoff, to which the same negatives are above
        above, reached = (
            np.repeat(rows - positives, tied)
            for rows, positives in ((self.flagged_above, self.true_above), (self.flagged, self.true))
        )
        return pair_counts(self.positive_clusters, self.negative_clusters, above, reached, clusters)


def _running(counts: Integers, clusters: Integers) -> Integers:
    """Return running sums of the rows' counts, from 0; shape (resamples, rows + 1)."""
    sums = np.zeros((len(counts), len(clusters) + 1), dtype=np.int64)
    np.cumsum(np.take(counts, clusters, axis=1), axis=1, out=sums[:, 1:])
    return sums
