"""Trees in one plain form, from which a graph can be written, whatever library has grown them.

In that form every split is `column <= threshold`. A split on a set of categories is one too, on a column that is 0
for the categories that go left and 1 for the others, so that no engine's own treatment of sets, of unknown
categories or of missing ones can matter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from trunkline.core.arrays import Floats

Booleans = npt.NDArray[np.bool_]


class NotCovered(Exception):  # noqa: N818  an answer, not a mistake
    """What cannot be exported exactly, and why."""


@dataclass
class Sets:
    """The columns added for splits on categories: for each categorical column, which of its codes go right.

    `codes` are the values that the estimator may meet in each categorical column, NaN among them.
    """

    codes: Mapping[int, Floats]
    first: int  # number of the first column that is added
    sparse: bool = False  # whether the estimator is given a sparse matrix
    columns: dict[tuple[int, bytes], int] = field(default_factory=dict)

    def column(self, feature: int, goes_left: Callable[[Floats], Booleans]) -> int:
        """Return the number of the column for a split; equal splits have one column."""
        right = ~goes_left(self.codes[feature])
        return self.columns.setdefault((feature, right.tobytes()), self.first + len(self.columns))

    def table(self, feature: int) -> tuple[list[int], Floats]:
        """Return the columns of a feature, and their values, shape (codes, columns)."""
        columns = {column: key[1] for key, column in self.columns.items() if key[0] == feature}
        rows = [np.frombuffer(right, dtype=np.bool_).astype(np.float64) for right in columns.values()]
        return list(columns), np.array(rows, dtype=np.float64).reshape(len(columns), len(self.codes[feature])).T


@dataclass(frozen=True)
class DecisionTree:
    """One tree. Node i sends `column[i] <= threshold[i]` to left[i]; a child -1-j is the leaf with values[j].

    A missing number goes left where `missing_left`. Node 0 is the root; a tree without nodes is its one leaf.
    """

    column: npt.NDArray[np.int64]
    threshold: Floats
    missing_left: Booleans
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    values: Floats


@dataclass(frozen=True)
class Nodes:
    """A tree as its library has it: leaves among the nodes, a value for each node."""

    leaf: Booleans
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    threshold: Floats
    missing_left: Booleans
    value: Floats

    def tree(self) -> DecisionTree:
        """Return the tree with inner nodes and leaves numbered apart, each in the order that they have here."""
        leaf, inner = self.leaf, ~self.leaf
        number = np.where(leaf, -np.cumsum(leaf, dtype=np.int64), np.cumsum(inner, dtype=np.int64) - 1)
        return DecisionTree(
            column=self.column[inner].astype(np.int64),
            threshold=self.threshold[inner].astype(np.float64),
            missing_left=self.missing_left[inner].astype(np.bool_),
            left=number[self.left[inner]],
            right=number[self.right[inner]],
            values=self.value[leaf].astype(np.float64),
        )


@dataclass(frozen=True)
class Ensemble:
    """Trees whose values, summed, divided by `divisor` and with `base` added, go through `link` to make the score.

    Of several classes, there is a sum and a base for each: tree i adds to that of class i modulo their number.
    """

    trees: tuple[DecisionTree, ...]
    base: tuple[float, ...]
    divisor: int
    link: str | None  # an operator of ONNX
    single_precision: bool  # numbers are rounded to float32 before they are compared
    sets: Sets
    single_sums: bool = False  # values are added up in float32, tree after tree; then there is no divisor and no base
