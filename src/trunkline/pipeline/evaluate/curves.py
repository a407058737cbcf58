"""The pictures of a task as numbers: ROC, precision and recall, calibration, scores; predicted and observed; confusion.

Each is a file of reports/curves, which reports/dvc.yaml draws. What a task has no numbers for is an empty list: DVC
draws nothing of that, and complains about a file that is not there.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from trunkline.conf.evaluation import Evaluation
from trunkline.core.arrays import Floats, Integers
from trunkline.core.tasks import Task
from trunkline.pipeline.evaluate.bootstrap import Interval
from trunkline.pipeline.evaluate.metrics.kinds import Sample, cutoffs


@dataclass(frozen=True)
class RocPoint:
    """Rates when scores at or above the threshold are called positive; no threshold: none is."""

    false_positive_rate: float
    true_positive_rate: float
    threshold: float | None


@dataclass(frozen=True)
class PrecisionRecallPoint:
    """Recall and precision when scores at or above the threshold are called positive."""

    recall: float
    precision: float
    threshold: float


@dataclass(frozen=True)
class CalibrationBin:
    """Rows of neighbouring scores: their mean score, and the observed rate with its interval.

    Of quantiles, the level of one, and the share of labels up to it.

    DVC draws the fields in the order of their names, the first one solid: hence the names.
    """

    score: float
    observed_rate: float
    observed_rate_low: float
    observed_rate_high: float
    n: int


@dataclass(frozen=True)
class ScoreBin:
    """The shares of the negative and of the positive rows whose score is around `score`."""

    score: float
    negative: float
    positive: float


@dataclass(frozen=True)
class ObservedBin:
    """Rows of neighbouring scores: their mean score, and the mean label with its interval."""

    score: float
    observed: float
    observed_low: float
    observed_high: float
    n: int


@dataclass(frozen=True)
class ConfusionCell:
    """How many rows of a class were called another, or the same; `share` is of the rows of the class."""

    actual: str
    predicted: str
    n: int
    share: float | None


Curves = dict[str, tuple[Any, ...]]

KINDS = ("calibration", "confusion", "observed", "precision_recall", "roc", "scores")
SCORE_BINS = 20


def curves(sample: Sample, classes: Sequence[str], params: Evaluation) -> Curves:
    """Return what there is to draw, by the name of its file; of a kind that the task does not have, nothing."""
    return dict.fromkeys(KINDS, ()) | _TASKS[sample.task](sample, classes, params)


def content(by_kind: Mapping[str, tuple[Any, ...]]) -> dict[str, list[dict[str, Any]]]:
    """Return the curves as JSON has them."""
    return {name: [asdict(point) for point in points] for name, points in by_kind.items()}


def _binary(sample: Sample, _: Sequence[str], params: Evaluation) -> Curves:
    return {
        "roc": _roc(sample, params.curves.points),
        "precision_recall": _precision_recall(sample, params.curves.points),
        "calibration": _calibration(sample, params.curves.bins, params.interval.confidence),
        "scores": _scores(sample),
    }


def _regression(sample: Sample, _: Sequence[str], params: Evaluation) -> Curves:
    return {"observed": _observed(sample, params.curves.bins, params.interval.confidence)}


def _multiclass(sample: Sample, classes: Sequence[str], _: Evaluation) -> Curves:
    called, counts = sample.scores.argmax(axis=1), np.zeros((len(classes),) * 2, dtype=np.int64)
    np.add.at(counts, (sample.labels.astype(np.int64), called), 1)
    cells = (
        ConfusionCell(actual, predicted, int(n), n / row.sum() if row.sum() else None)
        for actual, row in zip(classes, counts, strict=True)
        for predicted, n in zip(classes, row, strict=True)
    )
    return {"confusion": tuple(cells)}


def _quantile(sample: Sample, _: Sequence[str], params: Evaluation) -> Curves:
    """Return the share of labels up to each quantile, by its level: it is to be the level."""
    shares, rows = (sample.labels[:, None] <= sample.scores).mean(axis=0), len(sample.labels)
    return {
        "calibration": tuple(
            CalibrationBin(level, share, *wilson(share, rows, params.interval.confidence), rows)
            for level, share in zip(sample.levels, shares.tolist(), strict=True)
        )
    }


_TASKS: dict[Task, Callable[[Sample, Sequence[str], Evaluation], Curves]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "ordinal": _multiclass,
    "regression": _regression,
    "count": _regression,
    "quantile": _quantile,
    "ranking": _regression,
    "multilabel": lambda *_: {},
}


def _roc(sample: Sample, points: int) -> tuple[RocPoint, ...]:
    thresholds, flagged, true = cutoffs(sample.labels, sample.scores)
    true_rate = np.append(0, true) / true[-1]
    false_rate = np.append(0, flagged - true) / (flagged[-1] - true[-1])
    return tuple(
        RocPoint(float(false_rate[i]), float(true_rate[i]), float(thresholds[i - 1]) if i else None)
        for i in _spread(true_rate + false_rate, points)
    )


def _precision_recall(sample: Sample, points: int) -> tuple[PrecisionRecallPoint, ...]:
    thresholds, flagged, true = cutoffs(sample.labels, sample.scores)
    recall, precision = true / true[-1], true / flagged
    return tuple(
        PrecisionRecallPoint(float(recall[i]), float(precision[i]), float(thresholds[i]))
        for i in _spread(recall, points)
    )


def _spread(along: Floats, points: int) -> Integers:
    """Return at most `points` indices, evenly spread over the values of a rising sequence, with both ends."""
    if len(along) <= points:
        return np.arange(len(along))
    indices = np.searchsorted(along, np.linspace(along[0], along[-1], points))
    return np.unique(np.append(indices[:-1], len(along) - 1))


def _calibration(sample: Sample, bins: int, confidence: float) -> tuple[CalibrationBin, ...]:
    code = _bins(sample.scores, bins)
    counts = np.bincount(code)
    scores, rates = (np.bincount(code, weights=of) / counts for of in (sample.scores, sample.labels))
    return tuple(
        CalibrationBin(score, rate, *wilson(rate, n, confidence), n)
        for score, rate, n in zip(scores.tolist(), rates.tolist(), counts.tolist(), strict=True)
    )


def _scores(sample: Sample) -> tuple[ScoreBin, ...]:
    edges = np.linspace(0, 1, SCORE_BINS + 1)
    negative, positive = (
        np.histogram(sample.scores[of], edges)[0] / max(1, int(of.sum()))
        for of in (sample.labels == 0, sample.labels == 1)
    )
    middles = (edges[:-1] + edges[1:]) / 2
    return tuple(ScoreBin(*row) for row in zip(middles.tolist(), negative.tolist(), positive.tolist(), strict=True))


def _observed(sample: Sample, bins: int, confidence: float) -> tuple[ObservedBin, ...]:
    code = _bins(sample.scores, bins)
    counts = np.bincount(code)
    scores, means, squares = (
        np.bincount(code, weights=of) / counts for of in (sample.scores, sample.labels, np.square(sample.labels))
    )
    spread = np.sqrt(np.maximum(0, squares - np.square(means)) / np.maximum(1, counts - 1))
    half = NormalDist().inv_cdf((1 + confidence) / 2) * spread
    columns = (scores, means, means - half, means + half, counts)
    return tuple(ObservedBin(*row) for row in zip(*(column.tolist() for column in columns), strict=True))


def _bins(scores: Floats, bins: int) -> Integers:
    """Split by score into bins of equal count, rows of one score together; a bin without rows is left out."""
    _, rank, equal = np.unique(scores, return_inverse=True, return_counts=True)
    twice_middle_rank = 2 * np.cumsum(equal) - equal
    code = (twice_middle_rank * bins // (2 * len(rank)))[rank]
    numbers: Integers = np.unique(code, return_inverse=True)[1]
    return numbers


def wilson(share: float, n: int, confidence: float) -> Interval:
    """Return the score interval of a share of n rows (Wilson, J. Amer. Statist. Assoc. 22 (1927) 209-212).

    It takes rows as independent; the intervals of metrics do not.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
