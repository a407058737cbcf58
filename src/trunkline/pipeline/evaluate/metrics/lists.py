"""What metrics of rankings compute of each group, whose rows are a list from the highest score down.

Equal scores say no order, so that each order of their rows is as likely as any other, and what is computed is the mean
over all of them: McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence
of tied scores", ECIR 2008. One score for all rows is therefore an order at random.
"""

from dataclasses import dataclass

import numpy as np

from trunkline.core.arrays import Floats, Integers
from trunkline.pipeline.evaluate.metrics.kinds import ratio


@dataclass(frozen=True)
class _Lists:
    """Rows by group and, within it, from the highest score down: arrays of one length, and how many there are.

    `order` are the rows' places before; `place` counts from 1 in each group; `tie` is the number of a row's run of
    equal scores.
    """

    order: Integers
    group: Integers
    place: Integers
    tie: Integers
    count: int

    @classmethod
    def of(cls, scores: Floats, groups: Integers) -> "_Lists":
        order = np.lexsort((-scores, groups))
        group, sorted_scores = groups[order], scores[order]
        begins = np.diff(group, prepend=-1) != 0
        place = _within(begins)
        tie = np.cumsum(begins | (np.diff(sorted_scores, prepend=np.inf) != 0)) - 1
        return cls(order, group, place, tie, int(groups.max(initial=-1)) + 1)

    def tied_mean(self, values: Floats) -> Floats:
        """Return the mean of each run of equal scores, for each of its rows."""
        sums, rows = (np.bincount(self.tie, weights) for weights in (values, None))
        means: Floats = (sums / rows)[self.tie]
        return means

    def sums(self, values: Floats) -> Floats:
        """Return the sum of each group."""
        return np.bincount(self.group, values, minlength=self.count).astype(np.float64)


def ndcg(labels: Floats, scores: Floats, groups: Integers, depth: int | None = None) -> Floats:
    """Return the discounted gain of the first `depth` rows of each group over the largest that there could be.

    Shape (groups); NaN where no row of a group is relevant.
    """
    gains = np.exp2(labels) - 1
    reached, largest = (_discounted(gains, by, groups, depth) for by in (scores, labels))
    return ratio(reached, largest)


def average_precision(labels: Floats, scores: Floats, groups: Integers) -> Floats:
    """Return the mean, over the relevant rows of each group, of the share of relevant ones among those up to it.

    Relevant is a label above 0. Shape (groups); NaN where no row of a group is.
    """
    lists = _Lists.of(scores, groups)
    relevant = (labels[lists.order] > 0).astype(np.float64)
    share, tied = lists.tied_mean(relevant), np.bincount(lists.tie)[lists.tie]
    above = _above_ties(lists, relevant)
    # Of the relevant rows of a run, each but the one looked at is as likely as any other to be among those before it.
    others = (share * tied - 1) / np.maximum(tied - 1, 1)
    before = _within(np.diff(lists.tie, prepend=-1) != 0) - 1
    precisions = share * (above + 1 + before * others) / lists.place
    return ratio(lists.sums(precisions), lists.sums(relevant))


def _discounted(gains: Floats, scores: Floats, groups: Integers, depth: int | None) -> Floats:
    lists = _Lists.of(scores, groups)
    counted = lists.place <= (depth or len(groups))
    return lists.sums(counted * lists.tied_mean(gains[lists.order]) / np.log2(lists.place + 1))


def _above_ties(lists: _Lists, relevant: Floats) -> Floats:
    """Return how many relevant rows of its group are above each row's run of equal scores."""
    running = np.cumsum(relevant) - relevant
    of_group, of_tie = (np.flatnonzero(np.diff(of, prepend=-1)) for of in (lists.group, lists.tie))
    rows = np.searchsorted(of_group, np.arange(len(relevant)), side="right") - 1
    above: Floats = running[of_tie][lists.tie] - running[of_group][rows]
    return above


def _within(begins: np.typing.NDArray[np.bool_]) -> Integers:
    """Return the place of each row in its run, from 1; a run begins where it is true."""
    rows = np.arange(len(begins))
    starts = np.maximum.accumulate(np.where(begins, rows, 0))
    places: Integers = rows - starts + 1
    return places
