"""What outcomes show of a window: metrics with intervals by clusters, calibration, and the outcomes' own drift."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from trunkline.core import arrays
from trunkline.core.arrays import Floats
from trunkline.core.tasks import CLASSES, MANY, NUMERIC, UNITLESS, Task, levels, score_columns
from trunkline.monitor import table
from trunkline.monitor.outcomes import CLUSTER, parts
from trunkline.pipeline.evaluate import drift
from trunkline.pipeline.evaluate.bootstrap import Interval, Resamples, percentile_interval, resampled
from trunkline.pipeline.evaluate.metrics.kinds import Metric, RowMean, Sample, point
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.serve.labels.store import OUTCOME

LEAST = 20  # outcomes of a slice's value below which it is not measured
RESAMPLES, SEED = 200, 0
CONFIDENCE, UNDEFINED = 0.9, 0.1

DEFAULTS: Mapping[Task, tuple[str, ...]] = {
    "binary": ("roc_auc", "log_loss", "brier"),
    "multiclass": ("log_loss", "accuracy"),
    "ordinal": ("ranked_probability", "rank_mae"),
    "regression": ("mae", "rmse"),
    "count": ("mae", "poisson_deviance"),
    "quantile": ("pinball", "coverage"),
    "ranking": ("ndcg", "map"),
    "multilabel": ("log_loss", "hamming_loss"),
}

Asked = tuple[dict[str, Any], Metric]  # a row of the table, and the metric that is its value


@dataclass(frozen=True)
class Judge:
    """Measures the rows of a window that have an outcome; `reference` is the content of reference.json."""

    reference: Mapping[str, Any]
    task: Task
    classes: tuple[str, ...]
    metrics: tuple[str, ...]
    slices: tuple[str, ...]

    def measured(self, rows: pl.DataFrame) -> Iterator[dict[str, Any]]:
        """Yield rows of the table without window, coverage and complete; `rows` are some of outcomes.Labelled.

        Of a metric that is not defined, such as an area with one class only, there is none.
        """
        for name, label, part in parts(rows, self.slices):
            known = part.drop_nulls(OUTCOME)
            if known.height >= (LEAST if name else 1):
                where = {table.SLICE: name, table.LABEL: label, table.ROWS: known.height}
                where[table.COVERAGE] = known.height / part.height
                yield from (where | row for row in self._of(known, name, label))

    def _of(self, rows: pl.DataFrame, name: str, label: str) -> Iterator[dict[str, Any]]:
        sample = self.sample(rows)
        calibrated = self.task not in UNITLESS
        errors = self._errors(sample, name) if calibrated else ()
        asked = [*self._performance(name, label), *errors, *self._means(sample, name)]
        metrics = [metric for _, metric in asked]
        draws = _draws(metrics, sample)
        for (row, _), value, drawn in zip(asked, point(metrics, sample).tolist(), draws, strict=True):
            if math.isfinite(value):
                low, high = drawn or (None, None)
                yield row | {table.VALUE: value, table.LOW: low, table.HIGH: high}
        yield from self._binned(sample, name) if calibrated else ()
        if not name:
            yield from self._shift(rows[OUTCOME])

    def sample(self, rows: pl.DataFrame) -> Sample:
        """Return outcomes as labels, with scores and clusters; raises UserError for a score or outcome that is none."""
        names = list(score_columns(self.classes))
        scores = np.ascontiguousarray(rows.select(names).to_numpy().astype(np.float64))
        clusters = rows[CLUSTER].rank("dense").cast(pl.Int64).to_numpy() - 1
        values = rows[OUTCOME]
        if self.task in CLASSES:
            values = values.replace_strict(list(self.classes), range(len(self.classes)), default=-1)
        labels = values.cast(pl.Float64).to_numpy()
        given_levels, naive_error = levels(self.task, self.classes), self.reference.get("naive_error")
        return Sample(labels, scores if self.classes else scores[:, 0], clusters, self.task, given_levels, naive_error)

    def _performance(self, name: str, label: str) -> Iterator[Asked]:
        whole: Mapping[str, Any] = self.reference.get("metrics", {})
        of_slices = self.reference.get("slices", {})
        references = of_slices.get(name, {}).get(label, {}).get("metrics", {}) if name else whole
        for metric in self.metrics:
            yield _row(table.PERFORMANCE, metric, "value", references.get(metric)), named(metric, self.task)

    def _errors(self, sample: Sample, name: str) -> Iterator[Asked]:
        """Ask for the mean error of each score: whether it is calibrated in the large."""
        for score, scores, happened in self._scored(sample):
            known = self._known(score, name)
            row = _row(table.CALIBRATION, score, "in_the_large", _apart(known).sum() if known else None)
            yield row, _mean(scores - happened)

    def _means(self, sample: Sample, name: str) -> Iterator[Asked]:
        """Ask for the mean outcome, or the share of each class."""
        entry = self.reference.get("outcomes", {}) if not name else {}
        if self.task in NUMERIC:
            yield _row(table.OUTCOME, table.OUTCOME, "mean", _of_holdout(entry, "", self.task)), _mean(sample.labels)
            return
        for outcome, (_, _, happened) in zip(self.classes or (table.OUTCOME,), self._scored(sample), strict=True):
            measure = "share" if self.classes else "mean"
            yield _row(table.OUTCOME, outcome, measure, _of_holdout(entry, outcome, self.task)), _mean(happened)

    def _binned(self, sample: Sample, name: str) -> Iterator[dict[str, Any]]:
        """Yield the expected calibration error of each score by the reference's bins, which is large of few rows."""
        of_scores = self.reference["scores"]
        entries = [of_scores["classes"][each] for each in self.classes] or [of_scores]
        for entry, (score, scores, happened) in zip(entries, self._scored(sample), strict=True):
            bins = np.searchsorted(np.array(entry["edges"][:-1]), scores, side="left")
            error = float(np.abs(np.bincount(bins, scores - happened)).sum() / len(scores))
            known = self._known(score, name)
            row = _row(table.CALIBRATION, score, "error", np.abs(_apart(known)).sum() if known else None)
            yield row | {table.VALUE: error}

    def _shift(self, outcomes: pl.Series) -> Iterator[dict[str, Any]]:
        """Yield how far the outcomes are from those of the holdout, where the reference has them."""
        if "outcomes" in self.reference:
            role, kind = ("numeric", pl.Float64()) if self.task in NUMERIC else ("categorical", pl.String())
            if self.task == "multilabel":
                has = arrays.happened(outcomes.to_numpy(), len(self.classes), self.task)
                outcomes = pl.Series(np.repeat(self.classes, has.sum(axis=0).astype(int)), dtype=pl.String)
            shift = drift.shift({"role": role, **self.reference["outcomes"]}, outcomes.cast(kind))
            yield _row(table.OUTCOME, table.OUTCOME, "psi", None) | {table.VALUE: shift.psi}
            yield _row(table.OUTCOME, table.OUTCOME, "jensen_shannon", None) | {table.VALUE: shift.jensen_shannon}

    def _scored(self, sample: Sample) -> Iterator[tuple[str, Floats, Floats]]:
        """Yield the name of each score, the scores, and what they are scores of."""
        hits = arrays.happened(sample.labels, len(self.classes), self.task)
        for place, name in enumerate(score_columns(self.classes)):
            scores = sample.scores[:, place] if self.classes else sample.scores
            yield name, scores, hits[:, place] if self.task in MANY else sample.labels

    def _known(self, score: str, name: str) -> Mapping[str, Any] | None:
        """Return the calibration of the holdout; there is none of a slice."""
        known: Mapping[str, Any] | None = self.reference.get("calibration", {}).get(score)
        return known if not name else None


def _draws(metrics: Sequence[Metric], sample: Sample) -> list[Interval | None]:
    """Return the interval of each metric; None of rows of one cluster, which tell nothing."""
    clusters = int(sample.clusters.max()) + 1
    if clusters == 1:
        return [None] * len(metrics)
    values = resampled(metrics, sample, Resamples(clusters, RESAMPLES, SEED))
    return [percentile_interval(each, CONFIDENCE, UNDEFINED) for each in values]


def _mean(values: Floats) -> RowMean:
    """Return the metric that is the mean of a number of each row."""
    return RowMean("mean", None, "Mean.", "numpy.mean", lambda _labels, _scores: values)


def _apart(known: Mapping[str, Any]) -> Floats:
    """Return what each bin of a calibration adds to the mean error."""
    rows = np.array(known["rows"], np.float64)
    apart: Floats = rows * (np.array(known["score"]) - np.array(known["outcome"])) / rows.sum()
    return apart


def _of_holdout(entry: Mapping[str, Any], name: str, task: Task) -> float | None:
    """Return the mean outcome of the holdout, or the share of a class; None where the reference lacks it."""
    if not entry or task in NUMERIC:
        return entry.get("mean")
    return float(entry["counts"].get("true" if task == "binary" else name, 0) / entry["rows"])


def _row(kind: str, subject: str, measure: str, reference: float | None) -> dict[str, Any]:
    return {table.KIND: kind, table.SUBJECT: subject, table.MEASURE: measure, table.REFERENCE: reference}
