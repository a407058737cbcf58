"""Histograms of what the model has learnt from and of the scores it gave, for later checks of drift.

They are written to a file that rounds its numbers, so bounds are rounded first and rows are counted by them:
whoever counts other rows by the file's bounds counts them in the same way.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from trunkline.core import files
from trunkline.core.dataset import Dataset

BINS = 20
CATEGORIES = 50


def histograms(train: Dataset, holdout_scores: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return the content of reference.json: a histogram of each feature's training rows, and of holdout scores.

    Of several classes, the scores are those of each class, by its name. The counts of a histogram sum to `rows`, those
    of missing values included.
    """
    count = {"numeric": numeric, "categorical": categorical}
    features, roles = train.features, {feature.name: feature.role for feature in train.schema.features}
    return {
        "features": {name: {"role": role, **count[role](features[name])} for name, role in roles.items()},
        "rows": features.height,
        "scores": {"rows": len(holdout_scores), **_scores(train.schema.classes, holdout_scores)},
    }


def _scores(classes: Sequence[str], scores: npt.NDArray[np.float64]) -> dict[str, Any]:
    if not classes:
        return numeric(pl.Series(scores, dtype=pl.Float64))
    return {
        "classes": {name: numeric(pl.Series(of, dtype=pl.Float64)) for name, of in zip(classes, scores.T, strict=True)}
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
