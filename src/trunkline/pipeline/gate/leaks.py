"""Signs of a leak: what one feature knows by itself, what the model leans on, and which rows it has been trained on.

Strength is what a feature alone, without a model, knows of the order of the labels: ROC AUC, of one class against the
others where there are several, or Spearman's coefficient of a number. Which end is which does not matter. Missing
values rank below or above all others, or are left out, whichever ranks best: their pattern is a feature as well.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trunkline.core.arrays import Floats, happened, middle
from trunkline.core.tasks import MANY, NUMERIC, Task

FEWEST = 10  # rows of a class: with fewer, some feature of many ranks it well by chance
PRESENT = 0.1  # share of the rows that must be present to be looked at alone
_ENDS = (-np.inf, np.inf)


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a model reads: features of the holdout, with the labels of its rows, and features of the training rows.

    What they show is measured once, however many models are judged by it.
    """

    features: pl.DataFrame
    trained: pl.DataFrame
    labels: NDArray[Any]
    task: Task

    @cached_property
    def strengths(self) -> dict[str, float]:
        """What each feature alone knows of the labels."""
        return strengths(self.features, self.labels, self.task)

    @cached_property
    def repeated(self) -> float:
        """The share of the holdout's rows that stand among the training rows, beyond what rows repeat anyway."""
        return repeated(self.features, self.trained)


def strengths(features: pl.DataFrame, labels: NDArray[Any], task: Task) -> dict[str, float]:
    """Return the strength of each feature; numbers are Float64, categories String. Empty if labels are all alike."""
    targets = list(_targets(labels, task))
    return {
        series.name: max(
            _strength(values, ranked, task) for target in targets for values, ranked in _numbers(series, target, task)
        )
        for series in (features.get_columns() if targets else ())
    }


def ranking(scores: Floats, labels: NDArray[Any], task: Task) -> float | None:
    """Return how well scores rank, 0 to 1: the mean over the classes, or Spearman's coefficient on that scale.

    None if labels are all alike.
    """
    if task in NUMERIC:
        scores = middle(scores)
        return next(((1 + _rank(scores, target, task)) / 2 for target in _targets(labels, task)), None)
    each = scores.T if task in MANY else scores[None]
    hits = happened(labels, len(each), task).T if task in MANY else [labels.astype(np.float64)]
    ranks = [_rank(of, hit, task) for of, hit in zip(each, hits, strict=True) if _enough(hit)]
    return float(np.mean(ranks)) if ranks else None


def unranked(labels: NDArray[Any], task: Task) -> str:
    """Say why nothing can be told to rank such labels, and what to do."""
    counts = np.unique(labels, return_counts=True)[1]
    if task in NUMERIC or len(counts) < 2:
        return "the labels of the holdout are all alike; hold out other rows: window or split of conf/data"
    return (
        f"the holdout has {counts.min()} rows of its rarest class, and with fewer than {FEWEST} some feature ranks "
        "them well by chance; hold out more rows: window or split of conf/data"
    )


def dwarfing(importances: Mapping[str, float]) -> tuple[str, float] | None:
    """Return the most important feature and its share of all importance; None where there is no rest to dwarf."""
    total = sum(importances.values())
    if len(importances) < 3 or not total > 0:
        return None
    name = max(sorted(importances), key=lambda each: importances[each])
    return name, importances[name] / total


def repeated(features: pl.DataFrame, trained: pl.DataFrame) -> float:
    """Return the share of rows that also stand among the training rows, beyond what such rows repeat anyway.

    How often they do is taken from the rows themselves: if a share `s` of them has a twin among them, of `k` times as
    many rows it is at most 1 - (1 - s)^k.
    """
    if not features.height or not trained.height:
        return 0.0
    seen = features.join(trained, on=features.columns, how="semi", nulls_equal=True).height / features.height
    own = float(np.mean(features.is_duplicated().to_numpy()))
    usual = 1 - float((1 - own) ** max(1.0, trained.height / features.height))
    return max(0.0, seen - usual)


def _targets(labels: NDArray[Any], task: Task) -> Iterator[Floats]:
    """Yield what is to be ranked: the label, or for each class or label whether a row is of it."""
    if task in NUMERIC:
        yield from [labels.astype(np.float64)] if len(np.unique(labels)) > 1 else []
        return
    highest = int(labels.max(initial=0))
    hits = happened(labels, highest.bit_length() if task == "multilabel" else highest + 1, task).T
    yield from filter(_enough, hits[1:] if task == "binary" else hits)


def _enough(target: Floats) -> bool:
    """Whether there are rows enough that are of a class, and that are not."""
    return bool(min(target.sum(), len(target) - target.sum()) >= FEWEST)


def _numbers(series: pl.Series, target: Floats, task: Task) -> Iterator[tuple[Floats, Floats]]:
    """Yield a feature as numbers to rank by, with what is ranked."""
    if series.dtype == pl.String:
        yield _crossed(series, target), target
        return
    numbers = series.fill_nan(None)
    yield from ((numbers.fill_null(end).to_numpy(), target) for end in (_ENDS if numbers.null_count() else _ENDS[:1]))
    present = numbers.is_not_null().to_numpy()
    if numbers.null_count() and present.sum() >= max(3 * FEWEST, PRESENT * len(target)):
        ranked = target[present]
        if len(np.unique(ranked)) > 1 if task in NUMERIC else _enough(ranked):
            yield numbers.drop_nulls().to_numpy(), ranked


def _crossed(series: pl.Series, target: Floats) -> Floats:
    """Return for each row of a category the mean label of its rows in the other half: none sees its own label."""
    rows = pl.DataFrame({"category": series, "target": target, "half": np.arange(len(target)) % 2})
    means = rows.group_by("category", "half").agg(pl.col("target").mean().alias("mean"))
    other = means.with_columns(half=1 - pl.col("half"))
    joined = rows.join(other, on=["category", "half"], how="left", maintain_order="left", nulls_equal=True)
    return joined["mean"].fill_null(float(target.mean())).to_numpy()


def _strength(values: Floats, target: Floats, task: Task) -> float:
    rank = _rank(values, target, task)
    return abs(rank) if task in NUMERIC else max(rank, 1 - rank)


def _rank(values: Floats, target: Floats, task: Task) -> float:
    """Return ROC AUC, or Spearman's coefficient of a number, which is 0 for values that are all alike."""
    ranks = pl.Series(values).rank("average").to_numpy()
    if task in NUMERIC:
        others = pl.Series(target).rank("average").to_numpy()
        return float(np.corrcoef(ranks, others)[0, 1]) if ranks.std() > 0 else 0.0
    hits = float(target.sum())
    return float((ranks[target == 1].sum() - hits * (hits + 1) / 2) / (hits * (len(target) - hits)))
