"""Explains rows of a bundle, or says why it cannot: an explanation that does not add up is never answered."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from trunkline.bundle import golden, manifest
from trunkline.bundle.contract import matrices
from trunkline.bundle.runtime import Bundle
from trunkline.core.arrays import Floats
from trunkline.serve.engine import graph
from trunkline.serve.engine.masks import Texts
from trunkline.serve.explain import additive
from trunkline.serve.explain.additive import Additive, NotExplainedError
from trunkline.serve.explain.linear import LinearModel
from trunkline.serve.explain.trees import TreeModel

ROWS, WORK = 100, 1 << 28  # of a request at most: some ten seconds
TOLERANCE = 1e-9  # of the score that an explanation adds up to, relative to the score


class _Model(Protocol):
    @property
    def base(self) -> Floats: ...
    @property
    def work(self) -> int: ...
    def contributions(self, numeric: Floats, texts: Texts) -> Floats: ...


@dataclass(frozen=True)
class Explainer:
    """Exact Shapley values of a bundle's margins, against its golden rows; `rows` is how many these are."""

    rows: int
    link: str
    _bundle: Bundle
    _model: _Model

    @classmethod
    def of(cls, folder: Path, bundle: Bundle) -> Self:
        """Return the explainer of a bundle, which adds up for all of its golden rows.

        Raises NotExplainedError where there is none, and UserError as `manifest.read` does.
        """
        requests = [row.request for row in golden.read(folder)]
        if not requests:
            raise NotExplainedError("the bundle has no golden rows to compare a row with")
        name = bundle.manifest.model
        content = manifest.read(folder, keep=frozenset({name})).kept[name]
        rows = matrices(bundle.contract, requests)
        parts = additive.read(content)
        explainer = cls(len(rows[0]), parts.link, bundle, _model(content, parts, *rows))
        explainer.explain(*rows, bundle.scores(*rows))
        return explainer

    @property
    def most(self) -> int:
        """How many rows may be explained at once: fewer of larger trees."""
        return max(1, min(ROWS, WORK // self._model.work))

    def explain(self, numeric: Floats, texts: Texts, scores: Floats) -> list[dict[str, Any]]:
        """Return the explanations of rows with their scores.

        Raises NotExplainedError for a row whose base and contributions do not add up to its score.
        """
        if not len(numeric):
            return []
        with np.errstate(over="ignore", invalid="ignore"):  # what is no number does not add up
            contributions = self._model.contributions(numeric, texts)
            total = additive.score(self._model.base + contributions.sum(axis=1), self.link)
            misses = np.abs(total - scores.reshape(total.shape))
            allowed = TOLERANCE * self._size(contributions, total)
        if not (misses <= allowed).all():
            raise NotExplainedError(f"contributions do not add up to the score: they miss it by {misses.max():.2g}")
        return [self._named(row) for row in contributions]

    def _size(self, contributions: Floats, scores: Floats) -> Floats:
        """Return what an error is relative to: the score, or where it is itself a sum, its largest terms."""
        if self.link != additive.IDENTITY:
            return np.asarray(np.abs(scores) + np.finfo(np.float64).tiny)
        return np.asarray(np.abs(self._model.base) + np.abs(contributions).sum(axis=1))

    def _named(self, contributions: Floats) -> dict[str, Any]:
        names = (*self._bundle.numeric, *self._bundle.categorical)
        by_feature = dict(zip(names, map(self._by_class, contributions), strict=True))
        return {
            "of": "margin",
            "link": self.link,
            "background_rows": self.rows,
            "base": self._by_class(self._model.base),
            "contributions": {field.name: by_feature[field.name] for field in self._bundle.contract.inputs},
        }

    def _by_class(self, values: Floats) -> float | dict[str, float]:
        """Return a number, or for several classes their numbers by name."""
        classes = self._bundle.contract.classes
        return dict(zip(classes, values.tolist(), strict=True)) if classes else float(values[0])


def _model(content: bytes, parts: Additive, numeric: Floats, texts: Texts) -> _Model:
    """Return what explains a graph: linear terms only, or nothing but trees."""
    if [node.op_type for node, _ in parts.terms] != ["TreeEnsemble"]:
        return LinearModel.of(parts, numeric, texts)
    trees = graph.split(content)
    if trees is None:
        raise NotExplainedError("its trees are not of the form that is explained")
    return TreeModel.of(trees, parts.terms[0][1], parts.intercept, numeric, texts)
