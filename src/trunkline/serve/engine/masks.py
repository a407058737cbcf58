"""Scores batches with trees as tables of bit masks, in numpy: the bits that onnxruntime gives, in less time.

A leaf of a tree is a bit. For each value that a row may have in a column, a table says for each tree which leaves are
still possible; of those that all columns leave possible, the lowest bit is the leaf in which the row ends (QuickScorer:
Lucchese et al., SIGIR 2015, doi:10.1145/2766462.2767733). The weights are added in the order of the trees, as
onnxruntime adds them in one thread. A category is looked up by its text, and never widened to a column for each split.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from trunkline.core.arrays import Floats, Integers
from trunkline.core.graphs import MISSING
from trunkline.serve.engine.graph import Category, TreeGraph, Trees

Masks = npt.NDArray[np.unsignedinteger[Any]]
Places = npt.NDArray[np.intp]
Texts = npt.NDArray[np.object_]

_WIDTHS = (8, 16, 32, 64)  # bits of a mask, and so leaves of a tree at most
_LARGEST = 1 << 25  # bytes of all tables: beyond that they are slower than the trees that they stand for


@dataclass(frozen=True)
class NumberTable:
    """The masks for each interval between thresholds of a column, and in the last row for a missing number.

    The largest threshold is infinity: what is sorted behind it is NaN.
    """

    column: int
    thresholds: Floats
    masks: Masks

    def places(self, numbers: Floats) -> Places:
        """Return the row of the table for each row of numbers."""
        return np.searchsorted(self.thresholds, numbers[:, self.column])


@dataclass(frozen=True)
class TextTable:
    """The masks for each text of a categorical column; None is a missing one."""

    column: int
    known: Mapping[str | None, int]
    unknown: int
    masks: Masks

    def places(self, texts: Texts) -> Places:
        """Return the row of the table for each row of texts."""
        get, unknown = self.known.get, self.unknown
        return np.array([get(text, unknown) for text in texts[:, self.column].tolist()], np.intp)

    def place(self, text: str | None) -> int:
        """Return the row of the table for one text."""
        return self.known.get(text, self.unknown)


@dataclass(frozen=True)
class MaskedTrees:
    """Trees as tables of masks.

    `weights` has a row for each tree and a column for each of its leaves, from left to right; `targets` is the total
    that each tree adds to, and `all_leaves` the mask of a tree of which nothing is known yet.
    """

    numbers: tuple[NumberTable, ...]
    texts: tuple[TextTable, ...]
    weights: Floats
    targets: Integers
    totals: int
    all_leaves: np.unsignedinteger[Any]

    @classmethod
    def of(cls, graph: TreeGraph) -> Self | None:
        """Return the tables of a graph; None if a tree has too many leaves, or if they would be too large."""
        trees = graph.trees
        sizes = np.diff([*trees.roots.tolist(), len(trees.column)]) + 1  # a tree has a leaf more than nodes
        width = next((width for width in _WIDTHS if sizes.max() <= width), None)
        if width is None:
            return None
        splits = _Splits.of(trees, np.dtype(f"u{width // 8}"))
        numeric = np.unique(trees.column[trees.column < graph.numbers])
        numbers = tuple(splits.number_table(int(column)) for column in numeric)
        texts = tuple(splits.text_table(category, graph.single_precision) for category in graph.categories)
        tables = [*(table.masks for table in numbers), *(table.masks for table in texts)]
        if sum(masks.nbytes for masks in tables) > _LARGEST:
            return None
        weights = np.zeros((len(splits.leaves), width))
        for tree, leaves in enumerate(splits.leaves):
            weights[tree, : len(leaves)] = trees.weights[leaves]
        targets = trees.targets[[leaves[0] for leaves in splits.leaves]]
        return cls(numbers, texts, weights, targets, trees.totals, splits.all_leaves)

    def sums(self, numbers: Floats, texts: Texts) -> Floats:
        """Return the totals of each row, shape (n, totals), of the trees' numeric columns and of texts."""
        possible = np.full((len(texts), len(self.weights)), self.all_leaves)
        left = np.empty_like(possible)
        looked_up: list[tuple[Masks, Places]] = [(table.masks, table.places(numbers)) for table in self.numbers]
        looked_up += [(table.masks, table.places(texts)) for table in self.texts]
        for masks, places in looked_up:
            np.take(masks, places, axis=0, out=left, mode="clip")
            np.bitwise_and(possible, left, out=possible)
        np.bitwise_and(possible, np.negative(possible, out=left), out=left)  # the lowest bit alone
        leaf = np.bitwise_count(np.subtract(left, 1, out=left)) + self._first_leaf
        sums = np.zeros((self.totals, len(texts)))
        for target, weights in zip(self.targets.tolist(), self.weights.ravel().take(leaf).T, strict=True):
            sums[target] += weights  # tree by tree: another order would give other bits
        return np.ascontiguousarray(sums.T)

    @property
    def _first_leaf(self) -> Integers:
        """The place of each tree's first leaf in all weights."""
        return np.arange(0, self.weights.size, self.weights.shape[1], dtype=np.int64)


@dataclass(frozen=True)
class _Splits:
    """All nodes: in which tree each is, and the leaves that its true branch holds, which a false answer rules out.

    `leaves` has, for each tree, the numbers of its leaves from left to right.
    """

    trees: Trees
    tree: Integers
    kept: Masks
    leaves: list[list[int]]

    @classmethod
    def of(cls, trees: Trees, dtype: np.dtype[Any]) -> Self:
        """Return the nodes with the leaves of each tree numbered from left to right."""
        ruled_out = np.zeros(len(trees.column), dtype)
        leaves: list[list[int]] = []

        def below(child: int, is_leaf: bool) -> int:
            if is_leaf:
                leaves[-1].append(child)
                return 1 << (len(leaves[-1]) - 1)
            left = below(int(trees.true_id[child]), bool(trees.true_leaf[child]))
            ruled_out[child] = left
            return left | below(int(trees.false_id[child]), bool(trees.false_leaf[child]))

        for root in trees.roots.tolist():
            leaves.append([])
            below(root, is_leaf=False)
        tree = np.searchsorted(trees.roots, np.arange(len(trees.column)), side="right") - 1
        return cls(trees, tree, ~ruled_out, leaves)

    @property
    def all_leaves(self) -> np.unsignedinteger[Any]:
        """The mask of a tree of which every leaf is possible."""
        return self.kept.dtype.type(np.iinfo(self.kept.dtype).max)

    def number_table(self, column: int) -> NumberTable:
        """Return the table of a column of the trees: a number rules out what lies under each smaller threshold."""
        nodes = np.flatnonzero(self.trees.column == column)
        thresholds = np.unique([*self.trees.splits[nodes], np.inf])
        masks = np.full((len(thresholds) + 1, len(self.leaves)), self.all_leaves)
        above = np.searchsorted(thresholds, self.trees.splits[nodes], side="right")
        np.bitwise_and.at(masks, (above, self.tree[nodes]), self.kept[nodes])
        masks = np.bitwise_and.accumulate(masks, axis=0)
        masks[-1] = self.all_leaves
        missing_false = nodes[~self.trees.missing_true[nodes]]
        np.bitwise_and.at(masks[-1], self.tree[missing_false], self.kept[missing_false])
        return NumberTable(column, thresholds, masks)

    def text_table(self, category: Category, single_precision: bool) -> TextTable:
        """Return the table of a categorical input: what all columns that it becomes leave possible together."""
        seen = category.table.astype(np.float32).astype(np.float64) if single_precision else category.table
        masks = np.full((len(seen), len(self.leaves)), self.all_leaves)
        for column in range(seen.shape[1]):
            table = self.number_table(category.first + column)
            masks &= table.masks[replace(table, column=column).places(seen)]
        known: dict[str | None, int] = dict(category.places.items())
        known[None] = category.places.get(MISSING, category.unknown)
        return TextTable(category.column, known, category.unknown, masks)
