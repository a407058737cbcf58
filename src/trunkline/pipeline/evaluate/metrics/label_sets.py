"""What metrics of sets of labels compute of each row, and of sums over rows; the registry says what they mean.

Labels are numbers of sets, scores of shape (rows, labels); a label is called where its score is above one half.
"""

import numpy as np

from trunkline.core.arrays import Floats, Integers, happened
from trunkline.pipeline.evaluate.metrics.formulas import log_loss, macro
from trunkline.pipeline.evaluate.metrics.kinds import ratio


def has(labels: Floats, scores: Floats) -> Floats:
    """Return 1 for each label that a row has, else 0, shape (rows, labels)."""
    return happened(labels, scores.shape[1], "multilabel")


def losses(labels: Floats, scores: Floats) -> Floats:
    """Return -log of the chance of what happened, the mean over the labels of each row."""
    return np.asarray(log_loss(has(labels, scores), scores).mean(axis=1))


def squares(labels: Floats, scores: Floats) -> Floats:
    """Return the squared difference of score and label, the mean over the labels of each row."""
    return np.asarray(np.square(scores - has(labels, scores)).mean(axis=1))


def wrong(labels: Floats, scores: Floats) -> Floats:
    """Return 1 where a label is called and a row does not have it, or the other way round, shape (rows, labels)."""
    return np.asarray((scores > 0.5) != (has(labels, scores) == 1), dtype=np.float64)


def misordered(labels: Floats, scores: Floats) -> Floats:
    """Return the share of each row's pairs, of a label that it has and one that it has not, with no higher score.

    A row with all labels, or none, has no such pair, and 0.
    """
    there = has(labels, scores) == 1
    pairs = there[:, :, None] & ~there[:, None, :]
    lost = pairs & (scores[:, :, None] <= scores[:, None, :])
    counts = pairs.sum(axis=(1, 2))
    return np.asarray(lost.sum(axis=(1, 2)) / np.maximum(counts, 1), dtype=np.float64)


def hits(labels: Floats, scores: Floats) -> Floats:
    """Return, for each label, whether a row is rightly said to have it, whether it is said so, and whether it has."""
    true, called = has(labels, scores), (scores > 0.5).astype(np.float64)
    return np.hstack([called * true, called, true])


def micro_f1(sums: Floats, _: Integers) -> Floats:
    """Return F1 of all labels counted together, of sums of `hits`."""
    both, called, true = (part.sum(axis=1) for part in np.split(sums, 3, axis=1))
    return ratio(2 * both, called + true)


def macro_f1(sums: Floats, _: Integers) -> Floats:
    """Return the mean F1 of the labels that are there or are called, of sums of `hits`."""
    both, called, true = np.split(sums, 3, axis=1)
    return macro(2 * both, called + true)
