"""Histograms of what the model has learnt from, of the scores it gave and of what came of it, for later comparisons.

They are written to a file that rounds its numbers, so bounds are rounded first and rows are counted by them:
whoever counts other rows by the file's bounds counts them in the same way.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from trunkline.conf.evaluation import WHOLE
from trunkline.core import files
from trunkline.core.arrays import Floats, happened
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.tasks import NUMERIC, score_columns
from trunkline.pipeline.evaluate.estimate import Slice

BINS = 20
CATEGORIES = 50
LABELS = 50  # of a slice, above which it is left out


def histograms(train: Dataset, holdout_scores: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return the content of reference.json: a histogram of each feature's training rows, and of holdout scores.

    Of several classes, the scores are those of each class, by its name. The counts of a histogram sum to `rows`, those
    of missing values included.
    """
    count = {"numeric": _numeric_feature, "categorical": categorical}
    features, roles = train.features, {feature.name: feature.role for feature in train.schema.features}
    return {
        "features": {name: {"role": role, **count[role](features[name])} for name, role in roles.items()},
        "rows": features.height,
        "scores": {"rows": len(holdout_scores), **_scores(train.schema.classes, holdout_scores)},
    } | ({} if train.schema.naive_error is None else {"naive_error": train.schema.naive_error})


def outcomes(holdout: Dataset, scores: Floats, slices: Mapping[str, Mapping[str, Slice]]) -> dict[str, Any]:
    """Return what reference.json says of the holdout's outcomes: their histogram, calibration, metrics and slices.

    `scores` have a row for each of the holdout, and a column for each class of several; `slices` are those of
    reports/slices.json, of which one with more than LABELS labels is left out. `calibration` has, by the name of the
    score, the rows, the mean score and the mean outcome of each bin that has rows.
    """
    schema, labels = holdout.schema, holdout.label
    measured = {
        name: {label: {"rows": part.n, "metrics": _metrics(part)} for label, part in parts.items() if part.metrics}
        for name, parts in slices.items()
        if name != WHOLE and len(parts) <= LABELS
    }
    return {
        "outcomes": {"rows": len(labels), **_outcomes(holdout)},
        "calibration": {
            name: calibration(of, happened)
            for name, of, happened in zip(
                score_columns(schema.classes), _columns(scores), _happened(labels, schema), strict=True
            )
        },
        "metrics": _metrics(slices[WHOLE][WHOLE]),
        "slices": {name: labels for name, labels in measured.items() if labels},
    }


def calibration(scores: Floats, happened: Floats) -> dict[str, list[float]]:
    """Return the rows, the mean score and the mean outcome of each bin of the scores' histogram that has rows."""
    edges = np.array(numeric(pl.Series(scores))["edges"])
    bins = np.minimum(np.searchsorted(edges, scores, side="left"), len(edges) - 1)
    rows, of, sums = (np.bincount(bins, weights) for weights in (None, scores, happened))
    there = rows > 0
    means = {"score": of[there] / rows[there], "outcome": sums[there] / rows[there]}
    return {"rows": rows[there].tolist(), **{name: values.tolist() for name, values in means.items()}}


def _columns(scores: Floats) -> Floats:
    return scores.T if scores.ndim > 1 else scores[None]


def _happened(labels: pl.Series, schema: Schema) -> list[Floats]:
    """Return what each score is a score of: whether a row is of the class, of several; else the label itself."""
    values, classes = labels.to_numpy().astype(np.float64), schema.classes
    if schema.task == "quantile":
        return [values] * len(classes)
    return list(happened(values, len(classes), schema.task).T) or [values]


def _outcomes(holdout: Dataset) -> dict[str, Any]:
    labels, schema = holdout.label, holdout.schema
    if schema.task in NUMERIC:
        return _numeric_feature(labels)
    names = schema.classes or ("false", "true")
    if schema.task == "multilabel":
        counts = happened(labels.to_numpy(), len(names), "multilabel").sum(axis=0).astype(int).tolist()
        return {"counts": dict(zip(names, counts, strict=True)), "other": 0, "missing": 0}
    counts = np.bincount(labels.to_numpy(), minlength=len(names)).tolist()
    return {"counts": dict(zip(names, counts, strict=True)), "other": 0, "missing": 0}


def _metrics(part: Slice) -> dict[str, float]:
    return {name: estimate.value for name, estimate in part.metrics.items() if estimate.value is not None}


def _numeric_feature(values: pl.Series) -> dict[str, Any]:
    """Count numbers in bins, with their mean and standard deviation; null for none."""
    numbers = values.fill_nan(None).drop_nulls().sort()  # sorted, since a sum depends on the order
    return {**numeric(values), "mean": numbers.mean(), "deviation": numbers.std(ddof=0)}


def _scores(classes: Sequence[str], scores: npt.NDArray[np.float64]) -> dict[str, Any]:
    if not classes:
        return _numeric_feature(pl.Series(scores, dtype=pl.Float64))
    return {
        "classes": {
            name: _numeric_feature(pl.Series(of, dtype=pl.Float64)) for name, of in zip(classes, scores.T, strict=True)
        }
    }


def numeric(values: pl.Series) -> dict[str, Any]:
    """Count numbers in bins of nearly equal counts; few distinct values have a bin each.

    Bin i holds what is above edge i-1 up to and with edge i, the first one from `lowest`, itself included.
    `below` and `above` are outside of them: in the rows that made the bins, by rounding only.
    """
    numbers = values.fill_nan(None).drop_nulls().sort().to_numpy()
    edges, lowest = _edges(numbers), files.rounded(float(numbers[0])) if len(numbers) else None
    below = 0 if lowest is None else int(np.searchsorted(numbers, lowest, side="left"))
    ends = np.searchsorted(numbers, edges, side="right").tolist()
    return {
        "lowest": lowest,
        "edges": edges,
        "counts": np.diff([below, *ends]).tolist(),
        "below": below,
        "above": len(numbers) - ends[-1] if ends else 0,
        "missing": len(values) - len(numbers),
    }


def categorical(values: pl.Series) -> dict[str, Any]:
    """Count the most frequent texts, those of equal counts in alphabetical order, then all others as one."""
    texts = values.drop_nulls()
    counted = texts.alias("value").value_counts(name="count")
    most = counted.sort(["count", "value"], descending=[True, False]).head(CATEGORIES)
    counts = dict(zip(most["value"].to_list(), most["count"].to_list(), strict=True))
    return {"counts": counts, "other": len(texts) - sum(counts.values()), "missing": values.null_count()}


def _edges(ordered: npt.NDArray[np.float64]) -> list[float]:
    """Return upper bounds of bins, ascending: the rounded values at equal steps of the rank."""
    distinct = np.unique(ordered)
    if len(distinct) > BINS:
        distinct = ordered[-(-len(ordered) * np.arange(1, BINS + 1) // BINS) - 1]
    return sorted({files.rounded(value) for value in distinct.tolist()})
