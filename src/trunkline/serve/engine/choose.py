"""Chooses what scores batches with a bundle: the fastest engine of those that give the bits of onnxruntime."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

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

if TYPE_CHECKING:
    from trunkline.serve.engine.compiled import CompiledTrees

ONNXRUNTIME, NUMPY, COMPILED, SCIKIT_LEARN = "onnxruntime", "trees in numpy", "compiled trees", "scikit-learn"

Scores = Callable[[Floats, npt.NDArray[np.object_]], Floats]

_REPEATS = 5


@dataclass(frozen=True)
class Engine:
    """What scores matrices of rows as `Bundle.scores` does, and its name."""

    name: str
    scores: Scores


@dataclass(frozen=True)
class TreesApart:
    """A bundle's graph with its trees as tables; onnxruntime runs what stands before them and what follows."""

    trees: "MaskedTrees | CompiledTrees"
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

    def compiled(self) -> Self | None:
        """Return the same with its trees as machine code; None where numba is not installed."""
        if find_spec("numba") is None:
            return None
        from trunkline.serve.engine.compiled import CompiledTrees  # noqa: PLC0415  imports numba

        assert isinstance(self.trees, MaskedTrees)  # noqa: S101
        return replace(self, trees=CompiledTrees.of(self.trees))

    def scores(self, numeric: Floats, categorical: npt.NDArray[np.object_]) -> Floats:
        """Return what `Bundle.scores` does; threads may share it."""
        numbers = self._numbers(even(numeric))[: len(numeric)]
        totals = even(self.trees.sums(numbers, categorical))
        scores: Floats = self._after.run([SCORE], {self.total: totals})[0]
        return scores[: len(categorical)]

    def score_of_one(self, numbers: Sequence[float | None], texts: Sequence[str]) -> Floats:
        """Return the score of one row as `scores` does, in less time; the trees are compiled ones."""
        assert not isinstance(self.trees, MaskedTrees)  # noqa: S101
        row = np.array([numbers], np.float64)
        if self._before is not None or self.single_precision:
            row = self._numbers(even(row))[:1]
        totals = self.trees.sums_of_one(row, texts).repeat(2, 0)  # as onnxruntime is never given an odd number of rows
        scores: Floats = self._after.run([SCORE], {self.total: totals})[0][0]
        return scores

    def _numbers(self, numeric: Floats) -> Floats:
        """Return the numbers that the trees see, of an even number of rows."""
        numbers: Floats = numeric if self._before is None else self._before.run(None, {NUMERIC: numeric})[0]
        if self.single_precision:
            with np.errstate(over="ignore"):  # what is too large becomes infinite
                numbers = numbers.astype(np.float32).astype(np.float64)
        return numbers


def fastest(folder: Path, rows: int, *, compiled: bool = False) -> Engine:
    """Return the engine that is fastest on that many rows at once, which are golden rows of the bundle.

    With `compiled`, and where numba is installed, trees are also tried as machine code, which takes half a second to
    load and, once on a machine, some to make. Raises UserError as `Bundle.load` does.
    """
    bundle = Bundle.load(folder)
    plain = Engine(ONNXRUNTIME, bundle.scores)
    numeric, categorical = matrices(bundle.contract, [row.request for row in golden.read(folder)])
    trees = apart(bundle, folder)
    if trees is None or not len(numeric):
        return plain
    engines = [Engine(NUMPY, trees.scores)]
    if compiled and (in_code := trees.compiled()):
        engines.append(Engine(COMPILED, in_code.scores))
    repeated = np.arange(rows) % len(numeric)
    numeric, categorical = numeric[repeated], categorical[repeated]
    expected = bundle.scores(numeric, categorical).tobytes()
    equal = [engine for engine in engines if engine.scores(numeric, categorical).tobytes() == expected]
    return min((plain, *equal), key=lambda engine: _seconds(engine, numeric, categorical))


def apart(bundle: Bundle, folder: Path) -> TreesApart | None:
    """Return the parts of the graph of a bundle, which lies in a folder; None as `TreesApart.of`."""
    verified = manifest.read(folder, keep=frozenset({bundle.manifest.model}))
    return TreesApart.of(verified.kept[bundle.manifest.model])


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
