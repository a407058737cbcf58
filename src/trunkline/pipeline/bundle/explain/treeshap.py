"""Exact SHAP values of scikit-learn's histogram boosting, whose splits on categories the package shap ignores.

shap 0.51 takes such a split for one on a number and returns values that do not add up to the prediction. The
values here are those of Lundberg et al. (Nature Machine Intelligence 2 (2020) 56-67), "tree path dependent":
where a feature is unknown, a split sends a row both ways, in the shares of the training rows.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trunkline.core.arrays import Floats

Booleans = NDArray[np.bool_]
Step = tuple[int, float, Booleans]  # column of a split, share of training rows that go this way, which rows do


def histogram_boosting(estimator: Any, matrix: Floats) -> tuple[Floats, Any]:
    """Return what each column adds to each row's raw score, shape of `matrix`, and the base that it adds to.

    Of several classes, what it adds to each class, shape (rows, columns, classes), and a base for each. What its trees
    consist of is not public in scikit-learn: the tests pin it.
    """
    ordered, columns = estimator._preprocess_X(matrix, reset=False), np.arange(matrix.shape[1])
    categorical = estimator.is_categorical_
    if categorical is not None:  # the trees see the categorical columns first
        columns = np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~categorical)])
    bases = np.ravel(estimator._baseline_prediction).tolist()
    values = [np.zeros(matrix.shape) for _ in bases]
    for trees in estimator._predictors:
        for number, tree in enumerate(trees):
            for value, path in _leaves(tree, ordered, columns):
                bases[number] += value * math.prod(share for _, share, _ in path)
                _add_leaf(values[number], value, path)
    return (values[0], bases[0]) if len(bases) == 1 else (np.stack(values, axis=2), bases)


def _leaves(tree: Any, matrix: Floats, columns: NDArray[np.int64]) -> Iterator[tuple[float, list[Step]]]:
    """Yield the value of each leaf and the way to it."""
    nodes = tree.nodes
    waiting: list[tuple[int, list[Step]]] = [(0, [])]
    while waiting:
        at, path = waiting.pop()
        node = nodes[at]
        if node["is_leaf"]:
            yield float(node["value"]), path
            continue
        left = _goes_left(tree, node, matrix[:, node["feature_idx"]])
        for child, rows in ((int(node["left"]), left), (int(node["right"]), ~left)):
            share = float(nodes["count"][child] / node["count"])
            waiting.append((child, [*path, (int(columns[node["feature_idx"]]), share, rows)]))


def _goes_left(tree: Any, node: Any, values: Floats) -> Booleans:
    """Return which values go to the left of a split; a category not seen in training is missing here."""
    missing = np.isnan(values)
    if node["is_categorical"]:
        codes = np.where(missing, 0, values).astype(np.int64)
        words = tree.raw_left_cat_bitsets[node["bitset_idx"]].astype(np.int64)
        goes = (words[codes // 32] >> (codes % 32)) & 1 == 1
    else:
        goes = values <= node["num_threshold"]
    return np.where(missing, bool(node["missing_go_to_left"]), goes)


def _add_leaf(values: Floats, value: float, path: list[Step]) -> None:
    """Add what a leaf gives to the columns on its path.

    A row in which the columns of a set S are known reaches the leaf with the weight prod_S o_j * prod_others z_j:
    o is 1 where the row's value leads there, z the share of training rows that go there. The Shapley weight
    |S|! (m-1-|S|)! / m! of a set of m columns is the integral of t^|S| (1-t)^(m-1-|S|) from 0 to 1, so that the
    sum over all sets is the integral of prod_{j != i} (t o_j + (1-t) z_j): a polynomial, which Gauss-Legendre
    quadrature integrates exactly.
    """
    shares: dict[int, float] = {}
    leads: dict[int, Booleans] = {}
    for column, part, rows in path:
        shares[column] = shares.get(column, 1.0) * part
        leads[column] = leads[column] & rows if column in leads else rows
    if not path:  # a tree of one leaf adds the same to every row
        return
    share, lead = np.array(list(shares.values()))[:, None], np.array(list(leads.values()), dtype=np.float64)
    points, weights = np.polynomial.legendre.leggauss((len(shares) + 1) // 2)
    factors = [(1 + t) / 2 * lead + (1 - t) / 2 * share for t in points]
    without = sum(w / 2 * (factor.prod(axis=0) / factor) for w, factor in zip(weights, factors, strict=True))
    values[:, list(shares)] += (value * (lead - share) * without).T
