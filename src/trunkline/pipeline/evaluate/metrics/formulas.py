"""What metrics compute of each row, of sums over rows or of cutoffs of a score; the registry says what they mean."""

import numpy as np

from trunkline.core.arrays import Floats, Integers, middle
from trunkline.pipeline.evaluate.metrics.kinds import Cutoffs, ratio

_ROUNDING = 1e-12  # of a sum of chances
_SMALLEST = float(np.finfo(np.float64).eps)  # as in scikit-learn: a wrong certainty costs 36, not infinity


def log_loss(labels: Floats, scores: Floats) -> Floats:
    """Return -log of the chance that each row's own label was given, shape (n)."""
    return _surprise(np.where(labels == 1, scores, 1 - scores))


def log_loss_of_classes(labels: Floats, scores: Floats) -> Floats:
    """Return the same of scores by class."""
    return _surprise(given(labels, scores))


def _surprise(chances: Floats) -> Floats:
    """Return -log of chances, clipped as in scikit-learn."""
    return -np.log(np.clip(chances, _SMALLEST, 1 - _SMALLEST))


def roc_auc(cutoffs: Cutoffs) -> Floats:
    """Return the share of pairs of a positive and a negative row that are ranked rightly, of each resample."""
    negatives = cutoffs.rows - cutoffs.positives
    false, false_above = cutoffs.flagged - cutoffs.true, cutoffs.flagged_above - cutoffs.true_above
    # Negatives below, and half of those at the score itself; doubled, to stay whole.
    twice_below = 2 * negatives - false - false_above
    pairs = ((cutoffs.true - cutoffs.true_above) * twice_below).sum(axis=1)
    return ratio(pairs, (2 * cutoffs.positives * negatives)[:, 0])


def average_precision(cutoffs: Cutoffs) -> Floats:
    """Return the mean precision over the positive rows, of each resample."""
    # At least 1: a resample without rows at or above a score gains nothing there, so nothing is added.
    precision = ratio(cutoffs.true, np.maximum(cutoffs.flagged, 1))
    weighted = ((cutoffs.true - cutoffs.true_above) * precision).sum(axis=1)
    return ratio(weighted, cutoffs.positives[:, 0])


def given(labels: Floats, scores: Floats) -> Floats:
    """Return the chance that each row's own class was given."""
    chances: Floats = np.take_along_axis(scores, labels.astype(np.int64)[:, None], axis=1)[:, 0]
    return chances


def one_hot(labels: Floats, scores: Floats) -> Floats:
    """Return 1 for each row's class and 0 for all others, shape (n, classes)."""
    hot: Floats = (labels[:, None] == np.arange(scores.shape[1])).astype(np.float64)
    return hot


def hits(labels: Floats, scores: Floats) -> Floats:
    """Return, for each class, whether a row is rightly called it, whether it is called it, and whether it is."""
    called = one_hot(scores.argmax(axis=1).astype(np.float64), scores)
    true = one_hot(labels, scores)
    return np.hstack([called * true, called, true])


def macro(over: Floats, under: Floats) -> Floats:
    """Return the mean over the classes that are there."""
    there = under > 0
    return ratio(np.where(there, ratio(over, under), 0).sum(axis=1), there.sum(axis=1))


def macro_f1(sums: Floats, _: Integers) -> Floats:
    """Return the mean F1 of the classes, of sums of `hits`."""
    hits, called, true = np.split(sums, 3, axis=1)
    return macro(2 * hits, called + true)


def balanced_accuracy(sums: Floats, _: Integers) -> Floats:
    """Return the mean recall of the classes, of sums of `hits`."""
    hits, _called, true = np.split(sums, 3, axis=1)
    return macro(hits, true)


def up_to(scores: Floats) -> Floats:
    """Return the chance of a class up to each but the last."""
    sums: Floats = np.cumsum(scores, axis=1)[:, :-1]
    return sums


def middle_class(scores: Floats) -> Floats:
    """Return the number of the first class up to which the chance is one half: what is off by the fewest classes."""
    number: Floats = (up_to(scores) < 0.5 - _ROUNDING).sum(axis=1).astype(np.float64)
    return number


def ranks(labels: Floats, scores: Floats) -> Floats:
    """Return, for each row, how far its middle class is off, squared; both numbers; and the sum of their squares."""
    called = middle_class(scores)
    return np.stack([np.square(called - labels), called, labels, np.square(called) + np.square(labels)], axis=1)


def quadratic_kappa(sums: Floats, rows: Integers) -> Floats:
    """Return the weighted kappa, of sums of `ranks`."""
    apart, called, actual, squares = sums.T
    return 1 - ratio(apart, squares - 2 * ratio(called * actual, rows))


def squares(labels: Floats, scores: Floats) -> Floats:
    """Return, for each row, the squared error, the centred label and its square."""
    centred = labels - (labels.mean() if len(labels) else 0)  # so that squares of large labels lose no digits
    return np.stack([np.square(scores - labels), centred, np.square(centred)], axis=1)


def r2(sums: Floats, rows: Integers) -> Floats:
    """Return the share of the variance that is explained, of sums of `squares`."""
    errors, first, second = sums.T
    spread = second - ratio(np.square(first), rows)
    return 1 - ratio(errors, np.where(spread > 1e-12 * second, spread, 0))


def deviances(labels: Floats, scores: Floats) -> Floats:
    """Return each row's deviance, its label, and its label times the logarithm of it."""
    kept, own = np.maximum(scores, _SMALLEST), np.maximum(labels, _SMALLEST)
    deviance = 2 * (labels * np.log(own / kept) - labels + kept)
    return np.stack([deviance, labels, labels * np.log(own)], axis=1)


def poisson_d2(sums: Floats, rows: Integers) -> Floats:
    """Return the share of the deviance that is explained, of sums of `deviances`."""
    deviance, total, logs = sums.T
    of_mean = 2 * (logs - total * np.log(np.maximum(ratio(total, rows), _SMALLEST)))
    return 1 - ratio(deviance, np.where(of_mean > 1e-12 * np.maximum(1, np.abs(logs)), of_mean, 0))


def pinball(labels: Floats, scores: Floats, levels: Floats) -> Floats:
    """Return the pinball loss of each row and level."""
    over = labels[:, None] - scores
    losses: Floats = np.maximum(levels * over, (levels - 1) * over)
    return losses


def pinball_beside(labels: Floats, scores: Floats, levels: Floats) -> Floats:
    """Return each row's loss, and that of the labels' own quantiles as every row's scores."""
    own = np.quantile(labels, levels, method="averaged_inverted_cdf") if len(labels) else levels
    constant = np.broadcast_to(own, scores.shape)
    return np.stack([pinball(labels, given, levels).sum(axis=1) for given in (scores, constant)], axis=1)


def inside(labels: Floats, scores: Floats) -> Floats:
    """Return 1 for each row whose label is within its outer quantiles, else 0."""
    inside: Floats = ((scores[:, 0] <= labels) & (labels <= scores[:, -1])).astype(np.float64)
    return inside


def width(_: Floats, scores: Floats) -> Floats:
    """Return the distance of each row's outer quantiles."""
    width: Floats = scores[:, -1] - scores[:, 0]
    return width


def interval_score(labels: Floats, scores: Floats, levels: Floats) -> Floats:
    """Return each row's width, and what its label is outside, weighted by the share that may be."""
    outside = np.maximum(scores[:, 0] - labels, 0) + np.maximum(labels - scores[:, -1], 0)
    penalised: Floats = width(labels, scores) + 2 * outside / (1 - levels[-1] + levels[0])
    return penalised


def off(labels: Floats, scores: Floats) -> Floats:
    """Return the distance of each row's label from its median."""
    off: Floats = np.abs(middle(scores) - labels)
    return off


def ranked_probability(labels: Floats, scores: Floats) -> Floats:
    """Return, for each row, the mean squared difference of the chance of up to each class and whether it was one."""
    return np.asarray(np.square(up_to(scores) - up_to(one_hot(labels, scores))).mean(axis=1), dtype=np.float64)
