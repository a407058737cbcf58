"""Explains a linear model: coefficient times distance from the mean of the background.

These are the interventional Shapley values of a sum (Lundberg and Lee, NeurIPS 2017, corollary 1). The columns that a
category is encoded in belong to one feature, and so do their terms.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from onnx import NodeProto

from trunkline.core.arrays import Floats
from trunkline.core.graphs import NUMERIC, even, session
from trunkline.serve.engine import graph
from trunkline.serve.engine.masks import Texts
from trunkline.serve.explain.additive import Additive, NotExplainedError

Terms = Callable[[Floats, Texts], Floats]  # of rows, shape (n, features, outputs), the other features' being 0


@dataclass(frozen=True)
class LinearModel:
    """What each feature contributes, against the means of the background's terms, shape (features, outputs)."""

    base: Floats
    _terms: tuple[Terms, ...]
    _means: Floats

    @classmethod
    def of(cls, additive: Additive, numeric: Floats, texts: Texts) -> Self:
        """Return the explainer of a sum of products and look-ups; raises NotExplainedError for any other term."""
        features = numeric.shape[1] + texts.shape[1]
        terms = tuple(_term(additive, node, divisor, features) for node, divisor in additive.terms)
        means = _sum(terms, numeric, texts).mean(axis=0)
        return cls(additive.intercept + means.sum(axis=0), terms, means)

    @property
    def work(self) -> int:
        """What the time of explaining a row grows with: the features."""
        return len(self._means)

    def contributions(self, numeric: Floats, texts: Texts) -> Floats:
        """Return what each feature adds to the base, shape (n, features, outputs); numeric features come first."""
        return _sum(self._terms, numeric, texts) - self._means


def _sum(terms: tuple[Terms, ...], numeric: Floats, texts: Texts) -> Floats:
    return np.asarray(sum(term(numeric, texts) for term in terms))


def _term(additive: Additive, node: NodeProto, divisor: float, features: int) -> Terms:
    if node.op_type in ("MatMul", "Mul") and node.input[1] in additive.constants:
        return _numbers(additive, node, divisor, features)
    if node.op_type == "Gather" and graph.is_looked_up(node.output[0], additive.makers):
        return _category(additive, node, divisor, features)
    raise NotExplainedError(f"its graph adds what the operator {node.op_type} makes, which is not explained")


def _numbers(additive: Additive, node: NodeProto, divisor: float, features: int) -> Terms:
    """Return the terms of the numeric features, whose columns are made of the numeric inputs one by one."""
    source = node.input[0]
    columns = graph.sources(source, graph.width(additive.model), additive.makers, additive.constants)
    if columns is None or graph.MIXED in columns:
        raise NotExplainedError(f"its graph mixes numbers before {node.op_type} weighs them, which is not explained")
    weights = np.asarray(additive.constants[node.input[1]]).reshape(len(columns), -1) / divisor
    maker = additive.makers.get(source)
    alone = maker is not None and maker.op_type == "Gather" and not np.ndim(additive.constants[maker.input[1]])
    shape: list[int | None] = [None] if alone else [None, len(columns)]  # a number alone is no matrix
    before: Any = None if source == NUMERIC else session(graph.between(additive.model, NUMERIC, source, shape))

    def terms(numeric: Floats, _: Texts) -> Floats:
        seen = numeric if before is None else before.run(None, {NUMERIC: even(numeric)})[0][: len(numeric)]
        result = np.zeros((len(numeric), features, weights.shape[1]))
        result[:, columns] = seen.reshape(len(numeric), len(columns), 1) * weights
        return result

    return terms


def _category(additive: Additive, node: NodeProto, divisor: float, features: int) -> Terms:
    """Return the term of a categorical feature, a row of a table."""
    category = graph.category(node.output[0], additive.makers, additive.constants, first=0)
    table = category.table.reshape(len(category.table), -1) / divisor

    def terms(_: Floats, texts: Texts) -> Floats:
        result = np.zeros((len(texts), features, table.shape[1]))
        result[:, features - texts.shape[1] + category.column] = table[category.rows(texts)]
        return result

    return terms
