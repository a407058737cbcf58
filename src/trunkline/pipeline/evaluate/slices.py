"""Measures scores on a holdout: metrics over all rows and over declared slices, with intervals, and curves.

The same resamples serve the whole holdout and every slice. What is not defined is None, never a number.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trunkline.conf.evaluation import LABEL, WHOLE, Evaluation
from trunkline.core import files, paths
from trunkline.core.arrays import Floats, Integers
from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError
from trunkline.core.tables import rows
from trunkline.pipeline.evaluate import curves as evaluate_curves
from trunkline.pipeline.evaluate import undefined
from trunkline.pipeline.evaluate.bootstrap import Resamples, intervals
from trunkline.pipeline.evaluate.estimate import Estimate, Slice
from trunkline.pipeline.evaluate.metrics.kinds import Metric, Sample, point
from trunkline.pipeline.evaluate.metrics.registry import named

MISSING = "(missing)"
MOST_SLICES = 1000


@dataclass(frozen=True)
class Measurements:
    """What was measured; `slices` are by slice name and label, the whole holdout is `all` of `all`; curves by name."""

    slices: dict[str, dict[str, Slice]]
    curves: Mapping[str, tuple[Any, ...]]

    @property
    def whole(self) -> Slice:
        """The whole holdout."""
        return self.slices[WHOLE][WHOLE]

    @property
    def undefined(self) -> tuple[str, ...]:
        """A line for each metric that has no value on a part of the holdout: where, why, and what to do."""
        return tuple(
            f"{metric} of {name} {label} is not defined: {estimate.undefined}; {undefined.REMEDY}"
            for name, labels in self.slices.items()
            for label, part in labels.items()
            for metric, estimate in part.metrics.items()
            if estimate.undefined
        )


Part = tuple[str, str, Integers]  # slice, label, places of its rows
Track = Callable[[Sequence[Part]], Iterable[Part]]


def evaluate(dataset: Dataset, scores: Floats, params: Evaluation, seed: int, track: Track = iter) -> Measurements:
    """Measure the scores of each row of the dataset, as declared.

    `track` passes the parts of the holdout on and may show how far it is. Raises UserError for a score that
    is none, a holdout whose labels are all the same, or a slice of too many values.
    """
    sample, clusters = clustered(dataset, scores, params.interval.cluster)
    _need_two_labels(sample, dataset)
    resamples = Resamples(clusters, params.interval.resamples, seed)
    slices: dict[str, dict[str, Slice]] = {}
    for name, label, places in track(list(parts(dataset, params))):
        measured = name == WHOLE or len(places) >= params.slice_min_rows
        estimated = estimates(sample.part(places), params, resamples, dataset.schema.classes) if measured else {}
        slices.setdefault(name, {})[label] = Slice(len(places), estimated)
    if sample.task == "multilabel":
        slices[LABEL] = by_label(sample, dataset.schema.classes, params, resamples)
    return Measurements(slices, evaluate_curves.curves(sample, dataset.schema.classes, params))


def by_label(sample: Sample, names: Sequence[str], params: Evaluation, resamples: Resamples) -> dict[str, Slice]:
    """Measure each label of multilabel by itself, on all rows, as if it were the only one."""
    return {
        name: Slice(len(sample.labels), estimates(sample.of_label(place), params, resamples, (name,)))
        for place, name in enumerate(names)
    }


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


def estimates(
    sample: Sample, params: Evaluation, resamples: Resamples, classes: Sequence[str] = ()
) -> dict[str, Estimate]:
    """Measure a sample: each declared metric with its interval; `classes` are the names of the labels of multiclass."""
    metrics: list[Metric] = [named(name, sample.task) for name in params.metrics]
    declared = params.interval
    bounds = intervals(metrics, sample, resamples, declared.confidence, declared.undefined_limit)
    return {
        metric.name: Estimate(float(value), interval)
        if np.isfinite(value)
        else Estimate(None, interval, undefined.cause(metric, sample, classes))
        for metric, value, interval in zip(metrics, point(metrics, sample), bounds, strict=True)
    }


def clustered(dataset: Dataset, scores: Floats, cluster: str | None) -> tuple[Sample, int]:
    """Return a dataset's labels and scores with the cluster of each row, and the number of clusters.

    Rows whose cluster is missing are one cluster together; without an expression, each row is its own, and of a
    ranking each group.
    """
    codes, count = clusters(dataset, cluster)
    schema = dataset.schema
    return Sample(dataset.label.to_numpy(), scores, codes, schema.task, schema.levels, schema.naive_error), count


def clusters(dataset: Dataset, cluster: str | None) -> tuple[Integers, int]:
    """Return the cluster of each row of a dataset as `clustered` does, and the number of clusters."""
    if cluster is None:
        groups = dataset.groups.to_numpy()
        return groups, int(groups.max(initial=-1)) + 1
    [(values, codes)] = _coded(dataset, {"cluster": cluster})
    return codes, len(values)


def predictions(dataset: Dataset, scores: Floats) -> pl.DataFrame:
    """Return the request columns, event_time and the label, which come before the features, and the scores.

    Raises UserError if the request has a column of that name itself.
    """
    kept, names = dataset.frame[:, : dataset.frame.get_column_index(dataset.schema.label) + 1], dataset.schema.scores
    for name in names:
        if name in kept.columns:
            raise UserError(f"contract: the name '{name}' is reserved for predictions; rename the column")
    columns = scores.reshape(len(kept), len(names)).T
    return kept.with_columns(pl.Series(name, of, dtype=pl.Float64) for name, of in zip(names, columns, strict=True))


def scores_of(predictions: pl.DataFrame, names: Sequence[str]) -> Floats:
    """Return the scores that `predictions` has written: shape (rows), or (rows, classes)."""
    scores = predictions.select(names).to_numpy().astype(np.float64)
    return np.ascontiguousarray(scores if len(names) > 1 else scores[:, 0])


def content(report: Measurements) -> dict[Path, Any]:
    """Return the contents of reports/metrics.json and reports/slices.json, where only what is undefined says why."""
    values = {name: estimate.value for name, estimate in report.whole.metrics.items()}
    slices: dict[str, Any] = asdict(report)["slices"]
    for part in (part for labels in slices.values() for part in labels.values()):
        for estimate in part["metrics"].values():
            if estimate["undefined"] is None:
                del estimate["undefined"]
    return {paths.METRICS: {"holdout": {**values, "n": report.whole.n}}, paths.SLICES: slices}


def write(report: Measurements) -> None:
    """Write the metrics, the slices and the curves where DVC and the gates look for them."""
    for path, written in content(report).items():
        files.write_json(path, written)
    for curve, points in evaluate_curves.content(report.curves).items():
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


def _need_two_labels(sample: Sample, dataset: Dataset) -> None:
    if len(np.unique(sample.labels)) > 1:
        return
    n, label = len(sample.labels), dataset.schema.label
    rows_are = f"all {n} rows have {label} = {dataset.frame[label][0]}" if n else "no row has a label"
    advice = "metrics need different labels: move data.window.holdout, or change data.split"
    raise UserError(f"data/features/holdout.parquet: {rows_are}; {advice}")
