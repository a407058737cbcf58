"""Measures scores on a holdout: metrics over all rows and over declared slices, with intervals, and curves.

The same resamples serve the whole holdout and every slice. What is not defined is None, never a number.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
import polars as pl

from trunkline import rows
from trunkline.bootstrap import Interval, Resamples, intervals
from trunkline.core import files, paths
from trunkline.core.errors import UserError
from trunkline.dataset import Dataset
from trunkline.metrics import Floats, Integers, Metric, Sample, cutoffs, named, point
from trunkline.params.evaluation import WHOLE, Evaluation

MISSING = "(missing)"
MOST_SLICES = 1000
SCORE = "score"


@dataclass(frozen=True)
class Estimate:
    """A metric's value and its interval; None where it is not defined."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Slice:
    """A part of the holdout: its number of rows, and its metrics unless it is too small to be measured."""

    n: int
    metrics: dict[str, Estimate]


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

    DVC draws the fields in the order of their names, the first one solid: hence the names.
    """

    score: float
    observed_rate: float
    observed_rate_low: float
    observed_rate_high: float
    n: int


@dataclass(frozen=True)
class Report:
    """What was measured; `slices` are by slice name and label, the whole holdout is `all` of `all`."""

    slices: dict[str, dict[str, Slice]]
    roc: tuple[RocPoint, ...]
    precision_recall: tuple[PrecisionRecallPoint, ...]
    calibration: tuple[CalibrationBin, ...]

    @property
    def whole(self) -> Slice:
        """The whole holdout."""
        return self.slices[WHOLE][WHOLE]


Part = tuple[str, str, Integers]  # slice, label, places of its rows
Track = Callable[[Sequence[Part]], Iterable[Part]]


def evaluate(dataset: Dataset, scores: Floats, params: Evaluation, seed: int, track: Track = iter) -> Report:
    """Measure scores, one from 0 to 1 per row of the dataset, as declared.

    `track` passes the parts of the holdout on and may show how far it is. Raises UserError for a score that
    is none, a holdout without rows of both classes, or a slice of too many values.
    """
    sample, clusters = clustered(dataset, scores, params.interval.cluster)
    _need_both_classes(sample, dataset.schema.label)
    resamples = Resamples(clusters, params.interval.resamples, seed)
    slices: dict[str, dict[str, Slice]] = {}
    for name, label, places in track(list(parts(dataset, params))):
        measured = name == WHOLE or len(places) >= params.slice_min_rows
        found = estimates(sample.part(places), params, resamples) if measured else {}
        slices.setdefault(name, {})[label] = Slice(len(places), found)
    return Report(
        slices,
        _roc(sample, params.curves.points),
        _precision_recall(sample, params.curves.points),
        _calibration(sample, params.curves.bins, params.interval.confidence),
    )


def parts(dataset: Dataset, params: Evaluation) -> Iterator[Part]:
    """Yield the whole dataset, then the rows of each value of each slice, however few.

    Raises UserError for a slice of too many values.
    """
    yield WHOLE, WHOLE, np.arange(len(dataset.frame))
    for name, (labels, codes) in zip(params.slices, _coded(dataset, params.slices), strict=True):
        if len(labels) > MOST_SLICES:
            raise UserError(
                f"evaluation.slices.{name}: {len(labels)} different values, such as {labels[0]}; "
                f"at most {MOST_SLICES} can be reported, so group them in the expression"
            )
        ends = np.cumsum(np.bincount(codes))
        for label, places in zip(labels, np.split(np.argsort(codes, kind="stable"), ends[:-1]), strict=True):
            yield name, label, places


def estimates(sample: Sample, params: Evaluation, resamples: Resamples) -> dict[str, Estimate]:
    """Measure a sample: each declared metric with its interval."""
    metrics: list[Metric] = [named(name) for name in params.metrics]
    declared = params.interval
    found = intervals(metrics, sample, resamples, declared.confidence, declared.undefined_limit)
    return {
        metric.name: Estimate(float(value) if np.isfinite(value) else None, interval)
        for metric, value, interval in zip(metrics, point(metrics, sample), found, strict=True)
    }


def clustered(dataset: Dataset, scores: Floats, cluster: str) -> tuple[Sample, int]:
    """Return a dataset's labels and scores with the cluster of each row, and the number of clusters.

    Rows whose cluster is missing are one cluster together.
    """
    [(clusters, codes)] = _coded(dataset, {"cluster": cluster})
    return Sample(dataset.label.to_numpy(), scores, codes), len(clusters)


def predictions(dataset: Dataset, scores: Floats) -> pl.DataFrame:
    """Return the request columns, event_time and the label, which come before the features, and the score.

    Raises UserError if the request has a column `score` itself.
    """
    kept = dataset.frame[:, : dataset.frame.get_column_index(dataset.schema.label) + 1]
    if SCORE in kept.columns:
        raise UserError(f"contract: the name '{SCORE}' is reserved for predictions; rename the column")
    return kept.with_columns(pl.Series(SCORE, scores, dtype=pl.Float64))


def write(report: Report) -> None:
    """Write the metrics, the slices and the curves where DVC and the gates look for them."""
    values = {name: estimate.value for name, estimate in report.whole.metrics.items()}
    files.write_json(paths.METRICS, {"holdout": {**values, "n": report.whole.n}})
    content = asdict(report)
    files.write_json(paths.SLICES, content.pop("slices"))
    for curve, points in content.items():
        files.write_json(paths.CURVES / f"{curve}.json", points)


def _coded(dataset: Dataset, sources: dict[str, str]) -> Iterator[tuple[list[str], Integers]]:
    """Yield, for each expression, its distinct values as sorted labels, and the place of each row's label."""
    if sources:
        request = dataset.frame.drop(dataset.schema.label)
        for values in rows.evaluate(request, sources, dataset.schema.timezone):
            texts = _text(values)
            codes = texts.rank("dense").cast(pl.Int64).to_numpy() - 1
            yield texts.unique().sort().to_list(), codes


def _text(values: pl.Series) -> pl.Series:
    """Write values as labels: 6.0 is `6`, a missing value is `(missing)`."""
    if values.dtype.is_float():
        values = values.fill_nan(None) + 0.0  # so that -0.0 is 0.0
        return values.cast(pl.String).str.strip_suffix(".0").fill_null(MISSING)
    return values.cast(pl.String).fill_null(MISSING)


def _need_both_classes(sample: Sample, label: str) -> None:
    n, positives = len(sample.labels), int(sample.labels.sum())
    if positives in (0, n):
        rows_are = f"all {n} rows have {label} = {sample.labels[0]}" if n else "no row has a label"
        raise UserError(f"data.window.holdout: {rows_are}; metrics need both classes: move the window")


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
    found = np.searchsorted(along, np.linspace(along[0], along[-1], points))
    return np.unique(np.append(found[:-1], len(along) - 1))


def _calibration(sample: Sample, bins: int, confidence: float) -> tuple[CalibrationBin, ...]:
    """Split by score into bins of equal count, rows of one score together; a bin without rows is left out."""
    _, place, equal = np.unique(sample.scores, return_inverse=True, return_counts=True)
    twice_middle_rank = 2 * np.cumsum(equal) - equal
    code = (twice_middle_rank * bins // (2 * len(place)))[place]
    _, code, counts = np.unique(code, return_inverse=True, return_counts=True)
    scores, rates = (np.bincount(code, weights=of) / counts for of in (sample.scores, sample.labels))
    return tuple(
        CalibrationBin(score, rate, *wilson(rate, n, confidence), n)
        for score, rate, n in zip(scores.tolist(), rates.tolist(), counts.tolist(), strict=True)
    )


def wilson(share: float, n: int, confidence: float) -> Interval:
    """Return the score interval of a share of n rows (Wilson, J. Amer. Statist. Assoc. 22 (1927) 209-212).

    It takes rows as independent; the intervals of metrics do not.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
