"""Sums trees as tables of bit masks in machine code that numba makes: the bits of `masks`, in less time.

Only imported where numba is installed. The first call of a width of masks compiles it, in about a second, and keeps the
code beside this file or in the user's cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numba
import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros

from trunkline.core.arrays import Floats, Integers
from trunkline.serve.engine.masks import MaskedTrees, Masks, Places, Texts, TextTable

_BLOCK = 256  # rows whose numbers of a column are compared with its thresholds together
_TOGETHER = 8  # rows whose sums grow side by side, so that none waits for the addition before
_LOWEST_BIT: Any = trailing_zeros  # its place, from 0 on
_FEW = 128  # thresholds of a column that are compared one after the other, and not searched


class Tables(NamedTuple):
    """The tables of `MaskedTrees` one after the other, as compiled code reads them.

    `columns` are those of the numbers; the thresholds of the i-th stand from starts[i] on, its masks from the row
    firsts[i] on, and after those of all numbers come those of the texts. The first row of `masks` rules nothing out.
    """

    columns: Integers
    starts: Integers
    thresholds: Floats
    firsts: Integers
    masks: Masks
    weights: Floats
    targets: Integers

    @classmethod
    def of(cls, trees: MaskedTrees) -> Self:
        """Return the tables of trees."""
        masks = [*(table.masks for table in trees.numbers), *(table.masks for table in trees.texts)]
        sizes = [len(table.thresholds) for table in trees.numbers]
        return cls(
            columns=np.array([table.column for table in trees.numbers], np.int64),
            starts=np.cumsum([0, *sizes], dtype=np.int64),
            thresholds=np.concatenate([np.empty(0), *(table.thresholds for table in trees.numbers)]),
            firsts=np.cumsum([1, *map(len, masks)], dtype=np.int64),
            masks=np.concatenate([np.full((1, len(trees.weights)), trees.all_leaves), *masks]),
            weights=trees.weights,
            targets=trees.targets.astype(np.int64),
        )


@dataclass(frozen=True)
class CompiledTrees:
    """Trees as tables; `numbers` is how many of their columns are numbers, before those of texts."""

    tables: Tables
    numbers: int
    texts: tuple[TextTable, ...]
    totals: int

    @classmethod
    def of(cls, trees: MaskedTrees) -> Self:
        """Return the same trees."""
        return cls(Tables.of(trees), len(trees.numbers), trees.texts, trees.totals)

    def sums(self, numbers: Floats, texts: Texts) -> Floats:
        """Return what `MaskedTrees.sums` does, to the bit; threads may share it, and run side by side."""
        places = self._no_places(len(texts))
        for index, table in enumerate(self.texts, self.numbers):
            places[:, index] = table.places(texts)
        return self._sums(numbers, places)

    def sums_of_one(self, numbers: Floats, texts: Sequence[str]) -> Floats:
        """Return what `sums` does of one row, shape (1, totals), in less time; `texts` are the row's."""
        places = self._no_places(1)
        if self.texts:
            places[0, self.numbers :] = [table.place(texts[table.column]) for table in self.texts]
        return self._sums(numbers, places)

    def _no_places(self, rows: int) -> Places:
        return np.empty((rows, self.numbers + len(self.texts)), np.int64)

    def _sums(self, numbers: Floats, places: Places) -> Floats:
        """Return the totals of rows, of which the places of texts are there already."""
        sums = np.zeros((len(places), self.totals))
        _sum(self.tables, np.ascontiguousarray(numbers), places, sums)
        return sums


def _compiled(function: Any) -> Any:
    """Compile a function at its first call; the code is kept where there is a folder to keep it in."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither this folder nor the user's cache can be written
        return numba.njit(nogil=True)(function)


@_compiled
def _sum(tables: Tables, numbers: Floats, places: Places, sums: Floats) -> None:
    """Add to the sums of each row the weights of the leaves in which it ends: both steps in one call from Python."""
    _look_up(tables, numbers, places)
    _add_up(tables, places, sums)


@_compiled
def _look_up(tables: Tables, numbers: Floats, places: Places) -> None:
    """Write how many thresholds of its column each number is above: all of them for NaN, which is not below any."""
    above = np.empty(_BLOCK, np.int64)
    values = np.empty(_BLOCK)
    for first in range(0, len(numbers), _BLOCK):
        rows = min(_BLOCK, len(numbers) - first)
        for index in range(len(tables.columns)):
            among = tables.thresholds[tables.starts[index] : tables.starts[index + 1]]
            if rows < _TOGETHER or len(among) > _FEW:
                for row in range(first, first + rows):
                    places[row, index] = _search(among, numbers[row, tables.columns[index]])
                continue
            above[:rows] = 0
            for row in range(rows):
                values[row] = numbers[first + row, tables.columns[index]]
            for threshold in among:
                for row in range(rows):
                    above[row] += not (values[row] <= threshold)
            for row in range(rows):
                places[first + row, index] = above[row]


@_compiled
def _search(thresholds: Floats, number: float) -> int:
    """Return how many sorted thresholds a number is above."""
    low, high = 0, len(thresholds)
    while low < high:
        middle = (low + high) >> 1
        if number <= thresholds[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@_compiled
def _add_up(tables: Tables, places: Places, sums: Floats) -> None:
    """Add the weight of the leaf of each tree in which a row ends, in the order of the trees."""
    firsts, masks, weights, targets = tables.firsts, tables.masks, tables.weights, tables.targets
    possible = np.empty((_TOGETHER, len(weights)), masks.dtype)
    for first in range(0, len(places), _TOGETHER):
        rows = min(_TOGETHER, len(places) - first)
        for row in range(rows):
            left = possible[row]
            left[:] = masks[0]
            for index in range(0, places.shape[1] - 1, 2):  # two at once: fewer passes over what is left
                of_value = masks[firsts[index] + places[first + row, index]]
                of_next = masks[firsts[index + 1] + places[first + row, index + 1]]
                for tree in range(len(left)):
                    left[tree] &= of_value[tree] & of_next[tree]
            if places.shape[1] % 2:
                of_value = masks[firsts[places.shape[1] - 1] + places[first + row, -1]]
                for tree in range(len(left)):
                    left[tree] &= of_value[tree]
        for tree in range(len(weights)):
            for row in range(rows):
                sums[first + row, targets[tree]] += weights[tree, _LOWEST_BIT(possible[row, tree])]
