"""Pairs of a positive and a negative row, counted once by the clusters of the two: then no resample needs the rows.

A resample that takes cluster c w[c] times has w[c]·w[d] times the pairs of a positive row of c and a negative row of d.
So the number of pairs that it ranks rightly is a quadratic form of w. All numbers are whole, as they are in a sum over
the rows: both ways give the same number, to the bit.
"""

import numpy as np

from trunkline.core.arrays import Integers

_ROW = 10  # what a row costs in a running sum, in products of the quadratic form: measured


def worth_counting(rows: int, clusters: int, resamples: int) -> bool:
    """Return whether to count rows by cluster and sum over clusters is less work than to sum over rows, per resample.

    It is only where clusters are fewer than resamples, and their pairs fewer than ten times the rows.
    """
    return clusters * (resamples * clusters + _ROW * rows) < _ROW * resamples * rows


def pair_counts(
    positives: Integers, negatives: Integers, above: Integers, reached: Integers, clusters: int
) -> Integers:
    """Return twice the number of pairs whose positive row is scored above the negative one, a tie counting one half.

    Rows are given by their clusters, from the highest score down. Of each positive row, `above` is the number of
    negative ones scored above it, `reached` adds those that tie with it. Shape (clusters of positive rows, clusters of
    negative ones). The statistic of Mann and Whitney, Annals of Mathematical Statistics 18 (1947) 50-60, in parts.
    """
    counts = np.zeros((clusters, clusters), dtype=np.int64)
    for cluster, column in enumerate(counts.T):
        running = np.concatenate([[0], np.cumsum(negatives == cluster)])
        np.add.at(column, positives, 2 * running[-1] - running[above] - running[reached])
    return counts


def ranked_rightly(pairs: Integers, counts: Integers) -> Integers:
    """Return how many of the counted pairs each resample has: w'·pairs·w of each row w of `counts`.

    `counts`, shape (resamples, clusters), says how many times a resample takes each cluster. Shape (resamples,).
    """
    sums: Integers = np.einsum("rc,rc->r", counts @ pairs, counts)
    return sums
