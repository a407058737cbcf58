"""Chooses what scores batches with a bundle: the fastest engine of those that give the bits of onnxruntime."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from trunkline.bundle import golden, manifest
from trunkline.bundle.contract import Contract, matrices
from trunkline.bundle.runtime import Bundle
from trunkline.core.arrays import Floats
from trunkline.core.graphs import NUMERIC, even, session
from trunkline.core.tasks import SCORE
from trunkline.serve.engine import graph
from trunkline.serve.engine.masks import MaskedTrees

ONNXRUNTIME, NUMPY, SCIKIT_LEARN = "onnxruntime", "trees in numpy", "scikit-learn"

Scores = Callable[[Floats, npt.NDArray[np.object_]], Floats]

_REPEATS = 5


@dataclass(frozen=True)
class Engine:
    """What scores matrices of rows as `Bundle.scores` does, and its name."""

    name: str
    scores: Scores


@dataclass(frozen=True)
class NumpyTrees:
    """A bundle's graph with its trees in numpy; onnxruntime runs what stands before them and what follows."""

    trees: MaskedTrees
    total: str
    single_precision: bool
    _before: Any  # sessions of onnxruntime; None where nothing stands before the trees
    _after: Any

    @classmethod
    def of(cls, content: bytes) -> Self | None:
        """Return the parts of a bundle's graph; None if its trees are not such as `MaskedTrees` can stand for."""
        parts = graph.split(content)
        trees = None if parts is None else MaskedTrees.of(parts)
        if parts is None or trees is None:
            return None
        before = None if parts.before is None else session(parts.before)
        return cls(trees, parts.total, parts.single_precision, before, session(parts.after))

    def scores(self, numeric: Floats, categorical: npt.NDArray[np.object_]) -> Floats:
        """Return what `Bundle.scores` does; threads may share it."""
        numbers = numeric
        if self._before is not None:
            numbers = self._before.run(None, {NUMERIC: even(numeric)})[0][: len(numeric)]
        if self.single_precision:
            with np.errstate(over="ignore"):  # what is too large becomes infinite
                numbers = numbers.astype(np.float32).astype(np.float64)
        totals = even(self.trees.sums(numbers, categorical))
        scores: Floats = self._after.run([SCORE], {self.total: totals})[0]
        return scores[: len(categorical)]


def fastest(folder: Path, rows: int) -> Engine:
    """Return the engine that is fastest on that many rows at once, which are golden rows of the bundle.

    Raises UserError as `Bundle.load` does.
    """
    bundle = Bundle.load(folder)
    plain = Engine(ONNXRUNTIME, bundle.scores)
    verified = manifest.read(folder, keep=frozenset({bundle.manifest.model}))
    trees = NumpyTrees.of(verified.kept[bundle.manifest.model])
    requests = [row.request for row in golden.read(folder)]
    if trees is None or not requests:
        return plain
    golden_numeric, golden_categorical = matrices(bundle.contract, requests)
    repeated = np.arange(rows) % len(requests)
    numeric, categorical = golden_numeric[repeated], golden_categorical[repeated]
    if trees.scores(numeric, categorical).tobytes() != bundle.scores(numeric, categorical).tobytes():
        return plain
    return min((plain, Engine(NUMPY, trees.scores)), key=lambda engine: _seconds(engine, numeric, categorical))


def scikit_learn(model: Path, contract: Contract) -> Engine:
    """Return the pipeline that a bundle was made of as an engine, to compare the two; raises UserError for no model."""
    from trunkline.serve import pipeline_scorer  # noqa: PLC0415  scikit-learn takes seconds, and a graph needs none

    return Engine(SCIKIT_LEARN, pipeline_scorer.scorer(model, contract))


def _seconds(engine: Engine, numeric: Floats, categorical: npt.NDArray[np.object_]) -> float:
    """Return the shortest time of a few calls."""
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        engine.scores(numeric, categorical)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
