"""Whether a bundle's graph gives the evaluated pipeline's scores: on the holdout, and on rows made to find differences.

A tree compares a number with a threshold, so the numbers at and next to every threshold are tried; an encoder looks a
text up, so every text of the training rows is tried, and texts that no training row has; and what is missing, huge,
tiny or odd.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from trunkline.core.arrays import Floats
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.graphs import MISSING
from trunkline.core.progress import track
from trunkline.core.tasks import NUMERIC, Task
from trunkline.pipeline.reports import Parity

Score = Callable[[pl.DataFrame], Floats]

BLOCK = 1 << 16  # rows that are scored at once
TOGETHER = 1 << 12  # rows of odd values at least, so that most pairs of them meet
LEAST = 1e-12  # smaller differences mean nothing to a reader, and their digits depend on the CPU
TEXTS: tuple[str | None, ...] = (None, "", " ", "unknown", "Zürich ✈", "日本語", "a\nb", "x" * 300, "nan", "None")
# Far below what single precision holds, also after scaling: forests compare in it, and refuse what is larger.
NUMBERS = (math.nan, 0.0, -0.0, 5e-324, -5e-324, 1e-38, 0.1, -1.0, 2.0**24 + 1, 2.0**53 - 1, -1e15)


@dataclass(frozen=True)
class Comparison:
    """How two runtimes' scores compare.

    `difference` is the largest one, of scores above one relative to them; infinite where only one score is a number.
    """

    rows: int
    adversarial: int
    difference: float
    flips: int

    def holds(self, tolerance: float) -> bool:
        """Whether no score differs by more than the tolerance and no predicted label at all."""
        return self.difference <= tolerance and not self.flips

    def report(self) -> Parity:
        """Return what reports say: the difference as the power of ten above it, which is the same on every CPU."""
        size = 10.0 ** math.ceil(math.log10(self.difference)) if self.difference > LEAST else LEAST
        return Parity(rows=self.rows, adversarial=self.adversarial, difference_below=size, flips=self.flips)


def compare(
    expected: Score, graph: Score, holdout: pl.DataFrame, odd: pl.DataFrame, task: Task = "binary"
) -> Comparison:
    """Score the holdout's features, and odd rows of them, in both ways.

    It is a flip where one probability is above one half and the other is not, or another class has the highest one; a
    number has no label to flip.
    """
    blocks = [block for frame in (holdout, odd) for block in frame.iter_slices(BLOCK)]
    pairs = [
        (expected(block), graph(block))
        for block in track(blocks, "comparing the graph with the pipeline", "rows", size=lambda block: block.height)
    ]
    left, right = (np.concatenate(scores) for scores in zip(*pairs, strict=True))
    flips = 0 if task in NUMERIC else int(np.sum(_called(left, task) != _called(right, task)))
    return Comparison(len(left), odd.height, _difference(left, right), flips)


def adversarial(train: Dataset, holdout: Dataset, thresholds: Mapping[str, Sequence[float]], seed: int) -> pl.DataFrame:
    """Return rows of features: all odd values of every feature, among real values, and each one alone in a row.

    Every value of a feature is in a row whose other features are odd by the toss of a coin, and real else.
    """
    random, schema = np.random.default_rng(seed), train.schema
    odd = {name: list(_odd(name, schema, train.features[name], thresholds)) for name in schema.names}
    features = holdout.features if holdout.frame.height else train.features
    together = _together(features, odd, random)
    alone = _alone(features, schema, random)
    missing = pl.DataFrame({name: [None] for name in schema.names}, schema=features.schema)
    return pl.concat([*together, *alone, missing])


def _odd(name: str, schema: Schema, trained: pl.Series, thresholds: Mapping[str, Sequence[float]]) -> Iterator[Any]:
    if name in schema.of_role("categorical"):
        yield from (text for text in trained.unique().sort().to_list() if text != MISSING)
        yield from TEXTS
        return
    at = np.asarray(thresholds.get(name, ()), dtype=np.float64)
    for values in (at, np.nextafter(at, -np.inf), np.nextafter(at, np.inf)):
        yield from values.tolist()
    yield None


def _together(
    features: pl.DataFrame, odd: Mapping[str, list[Any]], random: np.random.Generator
) -> Iterator[pl.DataFrame]:
    """Yield rows in which about half of the features are odd, then the same rows with the other half."""
    count = max(TOGETHER, *map(len, odd.values()))
    real = features[random.integers(features.height, size=count)]
    strange = {name: _shuffled(pl.Series(odd[name], dtype=features[name].dtype), count, random) for name in odd}
    masks = {name: random.random(count) < 0.5 for name in odd}
    for flipped in (False, True):
        chosen = {name: pl.Series(masks[name] ^ flipped) for name in odd}
        yield pl.DataFrame({name: strange[name].zip_with(chosen[name], real[name]) for name in odd})


def _shuffled(values: pl.Series, count: int, random: np.random.Generator) -> pl.Series:
    """Return so many values: all of them in random order, again and again."""
    rounds = -(-count // len(values))
    return values.gather(np.concatenate([random.permutation(len(values)) for _ in range(rounds)])[:count])


def _alone(features: pl.DataFrame, schema: Schema, random: np.random.Generator) -> Iterator[pl.DataFrame]:
    """Yield, for each feature, rows that are real but for one odd value: two extremes could cancel each other."""
    for feature in schema.features:
        values: Sequence[Any] = TEXTS if feature.role == "categorical" else NUMBERS
        rows = features[random.integers(features.height, size=len(values))]
        yield rows.with_columns(pl.Series(feature.name, values, dtype=features[feature.name].dtype))


def _called(scores: Floats, task: Task) -> npt.NDArray[Any]:
    """Return the label by a row's scores; of two classes with the same score, as far as the eye can see, the first."""
    return scores > 0.5 if scores.ndim == 1 or task == "multilabel" else np.round(scores, 12).argmax(axis=1)


def _difference(left: Floats, right: Floats) -> float:
    finite = np.isfinite(left)
    if not np.array_equal(left[~finite], right[~finite], equal_nan=True) or not np.isfinite(right[finite]).all():
        return math.inf
    apart = np.abs(left[finite] - right[finite]) / np.maximum(1.0, np.abs(left[finite]))
    return float(np.max(apart, initial=0.0))
