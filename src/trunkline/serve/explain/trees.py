"""Explains trees: interventional TreeSHAP, exact, against the rows of a background.

A feature that is not known has its value in a row of the background; the Shapley values are means over these rows
(Lundberg et al., Nature Machine Intelligence 2 (2020) 56-67). A row x and a background row z reach a leaf together
where, for each feature on its path, x or z meets all of the path's conditions on it. Of these features, let p be met by
x alone and n by z alone: the leaf is reached if and only if the first are taken of x and the others of z. Of its value,
each of the first then has the share (p-1)! n! / (p+n)!, and each of the others -p! (n-1)! / (p+n)!. Conditions on
several columns that one category is encoded in are conditions on one feature.
"""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from trunkline.core.arrays import Floats, Integers
from trunkline.core.graphs import NUMERIC, even, session
from trunkline.serve.engine.graph import MIXED, Booleans, TreeGraph, Trees
from trunkline.serve.engine.masks import Texts
from trunkline.serve.explain.additive import NotExplainedError

LARGEST = 1 << 25  # conditions times background rows: about a second for each row that is explained


@dataclass(frozen=True)
class Paths:
    """The conditions on the way to each leaf, ordered by leaf and then by feature.

    Condition i is that node[i] sends a row to its true side, or where not is_true[i] to its false side. Those of one
    leaf on one feature are a group, which starts at groups[i]; the groups of a leaf start at leaves[i] among them.
    """

    node: Integers
    is_true: Booleans
    groups: Integers
    leaves: Integers
    feature: Integers  # of each group

    @classmethod
    def of(cls, trees: Trees, feature_of_column: Integers) -> Self:
        """Return the paths of all leaves, which are climbed from the leaves up, all at once."""
        leaf_parent, leaf_is_true = _parents(trees, len(trees.weights), leaves=True)
        parent, is_true = _parents(trees, len(trees.column), leaves=False)
        leaf, node, side = np.arange(len(trees.weights)), leaf_parent, leaf_is_true
        steps = []
        while len(leaf):
            steps.append((leaf, node, side))
            below_root = parent[node] >= 0
            leaf, node = leaf[below_root], node[below_root]
            node, side = parent[node], is_true[node]
        leaves, nodes, sides = (np.concatenate(part) for part in zip(*steps, strict=True))
        features = feature_of_column[trees.column[nodes]]
        order = np.lexsort((features, leaves))
        leaves, features = leaves[order], features[order]
        groups = np.flatnonzero(np.diff(leaves, prepend=-1) | np.diff(features, prepend=-1))
        starts = np.flatnonzero(np.diff(leaves[groups], prepend=-1))
        return cls(nodes[order], sides[order], groups, starts, features[groups])


@dataclass(frozen=True)
class TreeModel:
    """What each feature contributes, against the background; `weights` are those of the leaves, by output."""

    base: Floats
    _graph: TreeGraph
    _before: Any  # a session of onnxruntime; None where the trees see the numeric inputs as they are
    _paths: Paths
    _weights: Floats
    _background: Booleans  # which groups the background's rows meet, shape (rows, groups)
    _shares: tuple[Floats, Floats]

    @classmethod
    def of(cls, graph: TreeGraph, divisor: float, intercept: Floats, numeric: Floats, texts: Texts) -> Self:
        """Return the explainer of a graph whose trees' sum is divided; raises NotExplainedError if it is too large."""
        trees = graph.trees
        if MIXED in graph.sources:
            raise NotExplainedError("its trees look at what is made of several numbers, which is not explained")
        columns = [np.array(graph.sources, np.int64)]
        columns += [np.full(c.table.shape[1], numeric.shape[1] + c.column) for c in graph.categories]
        paths = Paths.of(trees, np.concatenate(columns))
        size = len(paths.groups) * len(texts)
        if size > LARGEST:
            raise NotExplainedError(f"its trees have too many leaves: {size:,} conditions, of at most {LARGEST:,}")
        weights = np.zeros((len(trees.weights), trees.totals))
        weights[np.arange(len(weights)), trees.targets] = trees.weights / divisor
        before = None if graph.before is None else session(graph.before)
        met = _met(graph, before, paths, numeric, texts)
        reached = np.logical_and.reduceat(met, paths.leaves, axis=1)
        base = intercept + (reached @ weights).mean(axis=0)
        most = int(np.diff(paths.leaves, append=len(paths.groups)).max())
        return cls(base, graph, before, paths, weights, met, _shares(most))

    @property
    def work(self) -> int:
        """What the time of explaining a row grows with: conditions times background rows."""
        return self._background.size

    def contributions(self, numeric: Floats, texts: Texts) -> Floats:
        """Return what each feature adds to the base, shape (n, features, outputs); numeric features come first."""
        met = _met(self._graph, self._before, self._paths, numeric, texts)
        return np.array([self._row(row, numeric.shape[1] + texts.shape[1]) for row in met])

    def _row(self, met: Booleans, features: int) -> Floats:
        """Return the contributions to one row, of which it is known which groups it meets."""
        result = np.zeros((features, self._weights.shape[1]))
        for background in self._background:
            taken, kept = met & ~background, background & ~met
            alive = np.logical_and.reduceat(met | background, self._paths.leaves)
            counts = [np.add.reduceat(part, self._paths.leaves, dtype=np.intp)[alive] for part in (taken, kept)]
            groups, sizes = np.repeat(alive, self._sizes), self._sizes[alive]
            gain, loss = (np.repeat(share[counts[0], counts[1]], sizes) for share in self._shares)
            shares = taken[groups] * gain - kept[groups] * loss
            values = shares[:, None] * np.repeat(self._weights[alive], sizes, axis=0)
            np.add.at(result, self._paths.feature[groups], values)
        return result / len(self._background)

    @property
    def _sizes(self) -> Integers:
        """How many groups each leaf has."""
        return np.diff(self._paths.leaves, append=len(self._paths.groups))


def _parents(trees: Trees, count: int, *, leaves: bool) -> tuple[Integers, Booleans]:
    """Return the node above each leaf or each node, -1 above a root, and whether it is on the node's true side."""
    parent, is_true = np.full(count, -1), np.zeros(count, np.bool_)
    sides = ((trees.true_id, trees.true_leaf, True), (trees.false_id, trees.false_leaf, False))
    for child, child_is_leaf, side in sides:
        above = np.flatnonzero(child_is_leaf == leaves)
        parent[child[above]], is_true[child[above]] = above, side
    return parent, is_true


def _met(graph: TreeGraph, before: Any, paths: Paths, numeric: Floats, texts: Texts) -> Booleans:
    """Return which groups of conditions each row meets, shape (n, groups)."""
    numbers = numeric
    if before is not None:
        numbers = before.run(None, {NUMERIC: even(numeric)})[0][: len(numeric)]
    seen = [numbers[:, : graph.numbers], *(category.table[category.rows(texts)] for category in graph.categories)]
    matrix = np.concatenate(seen, axis=1)
    if graph.single_precision:
        with np.errstate(over="ignore"):  # what is too large becomes infinite
            matrix = matrix.astype(np.float32).astype(np.float64)
    trees, rows = graph.trees, []
    for row in matrix:  # one by one: of all rows at once, the conditions would not fit into the processor's cache
        values = row[trees.column]
        is_true = (values <= trees.splits) | (np.isnan(values) & trees.missing_true)
        rows.append(np.logical_and.reduceat(is_true[paths.node] == paths.is_true, paths.groups))
    return np.array(rows)


def _shares(most: int) -> tuple[Floats, Floats]:
    """Return (p-1)! n! / (p+n)! and p! (n-1)! / (p+n)! for p down and n across, up to a number of features."""
    gains = np.zeros((most + 1, most + 1))
    for p in range(1, most + 1):
        for n in range(most + 1 - p):
            gains[p, n] = 1 / (p * math.comb(p + n, p))
    return gains, np.ascontiguousarray(gains.T)
