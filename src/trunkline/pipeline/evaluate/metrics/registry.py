"""The registry: every metric of every task, with what it means and where it is from."""

from collections.abc import Sequence

import numpy as np

from trunkline.core.arrays import Floats, Integers, middle
from trunkline.core.errors import UserError, nearest
from trunkline.core.tasks import Task
from trunkline.pipeline.evaluate.metrics.kinds import (
    Better,
    Combined,
    Cutoffs,
    Metric,
    PairArea,
    RankArea,
    RowMean,
    ratio,
)

_SMALLEST = float(np.finfo(np.float64).eps)  # as in scikit-learn: a wrong certainty costs 36, not infinity


def _log_loss(labels: Floats, scores: Floats) -> Floats:
    given: Floats = np.clip(np.where(labels == 1, scores, 1 - scores), _SMALLEST, 1 - _SMALLEST)
    return -np.log(given)


def _roc_auc(cutoffs: Cutoffs) -> Floats:
    negatives = cutoffs.rows - cutoffs.positives
    false, false_above = cutoffs.flagged - cutoffs.true, cutoffs.flagged_above - cutoffs.true_above
    # Negatives below, and half of those at the score itself; doubled, to stay whole.
    twice_below = 2 * negatives - false - false_above
    pairs = ((cutoffs.true - cutoffs.true_above) * twice_below).sum(axis=1)
    return ratio(pairs, (2 * cutoffs.positives * negatives)[:, 0])


def _average_precision(cutoffs: Cutoffs) -> Floats:
    # At least 1: a resample without rows at or above a score gains nothing there, so nothing is added.
    precision = ratio(cutoffs.true, np.maximum(cutoffs.flagged, 1))
    weighted = ((cutoffs.true - cutoffs.true_above) * precision).sum(axis=1)
    return ratio(weighted, cutoffs.positives[:, 0])


def _given(labels: Floats, scores: Floats) -> Floats:
    """Return the chance that each row's own class was given."""
    chances: Floats = np.take_along_axis(scores, labels.astype(np.int64)[:, None], axis=1)[:, 0]
    return chances


def _one_hot(labels: Floats, scores: Floats) -> Floats:
    hot: Floats = (labels[:, None] == np.arange(scores.shape[1])).astype(np.float64)
    return hot


def _hits(labels: Floats, scores: Floats) -> Floats:
    """Return, for each class, whether a row is rightly called it, whether it is called it, and whether it is."""
    called = _one_hot(scores.argmax(axis=1).astype(np.float64), scores)
    true = _one_hot(labels, scores)
    return np.hstack([called * true, called, true])


def _macro(over: Floats, under: Floats) -> Floats:
    """Return the mean over the classes that are there."""
    there = under > 0
    return ratio(np.where(there, ratio(over, under), 0).sum(axis=1), there.sum(axis=1))


def _macro_f1(sums: Floats, _: Integers) -> Floats:
    hits, called, true = np.split(sums, 3, axis=1)
    return _macro(2 * hits, called + true)


def _balanced_accuracy(sums: Floats, _: Integers) -> Floats:
    hits, _called, true = np.split(sums, 3, axis=1)
    return _macro(hits, true)


def _squares(labels: Floats, scores: Floats) -> Floats:
    centred = labels - (labels.mean() if len(labels) else 0)  # so that squares of large labels lose no digits
    return np.stack([np.square(scores - labels), centred, np.square(centred)], axis=1)


def _r2(sums: Floats, rows: Integers) -> Floats:
    errors, first, second = sums.T
    spread = second - ratio(np.square(first), rows)
    return 1 - ratio(errors, np.where(spread > 1e-12 * second, spread, 0))


def _deviances(labels: Floats, scores: Floats) -> Floats:
    """Return each row's deviance, its label, and its label times the logarithm of it."""
    kept, own = np.maximum(scores, _SMALLEST), np.maximum(labels, _SMALLEST)
    deviance = 2 * (labels * np.log(own / kept) - labels + kept)
    return np.stack([deviance, labels, labels * np.log(own)], axis=1)


def _poisson_d2(sums: Floats, rows: Integers) -> Floats:
    deviance, total, logs = sums.T
    of_mean = 2 * (logs - total * np.log(np.maximum(ratio(total, rows), _SMALLEST)))
    return 1 - ratio(deviance, np.where(of_mean > 1e-12 * np.maximum(1, np.abs(logs)), of_mean, 0))


def _pinball(labels: Floats, scores: Floats, levels: Floats) -> Floats:
    """Return the pinball loss of each row and level."""
    over = labels[:, None] - scores
    losses: Floats = np.maximum(levels * over, (levels - 1) * over)
    return losses


def _pinball_beside(labels: Floats, scores: Floats, levels: Floats) -> Floats:
    """Return each row's loss, and that of the labels' own quantiles as every row's scores."""
    own = np.quantile(labels, levels, method="averaged_inverted_cdf") if len(labels) else levels
    constant = np.broadcast_to(own, scores.shape)
    return np.stack([_pinball(labels, given, levels).sum(axis=1) for given in (scores, constant)], axis=1)


def _inside(labels: Floats, scores: Floats) -> Floats:
    inside: Floats = ((scores[:, 0] <= labels) & (labels <= scores[:, -1])).astype(np.float64)
    return inside


def _width(_: Floats, scores: Floats) -> Floats:
    width: Floats = scores[:, -1] - scores[:, 0]
    return width


def _interval_score(labels: Floats, scores: Floats, levels: Floats) -> Floats:
    outside = np.maximum(scores[:, 0] - labels, 0) + np.maximum(labels - scores[:, -1], 0)
    penalised: Floats = _width(labels, scores) + 2 * outside / (1 - levels[-1] + levels[0])
    return penalised


def _off(labels: Floats, scores: Floats) -> Floats:
    off: Floats = np.abs(middle(scores) - labels)
    return off


_FORECAST = (
    Combined(
        "wape",
        "smaller",
        "Sum of the absolute differences of the score, or the middle quantile, and the label over that of the labels.",
        "Kolassa and Schuetz, Foresight 6 (2007) 40-43, where it is the MAD/mean ratio",
        lambda labels, scores: np.stack([_off(labels, scores), np.abs(labels)], axis=1),
        lambda sums, _: ratio(sums[:, 0], sums[:, 1]),
    ),
    RowMean(
        "mase",
        "smaller",
        "Mean absolute difference of the score, or the middle quantile, and the label over that of data.target.naive "
        "in the training rows, of all series together; below 1 is better than that was.",
        "Hyndman and Koehler, International Journal of Forecasting 22 (2006) 679-688",
        lambda labels, scores, naive_error: _off(labels, scores) / naive_error,
        needs="naive_error",
    ),
)

_REGRESSION = (
    RowMean(
        "mae",
        "smaller",
        "Mean absolute difference of the score and the label.",
        "Willmott and Matsuura, Climate Research 30 (2005) 79-82; sklearn.metrics.mean_absolute_error",
        lambda labels, scores: np.abs(scores - labels),
    ),
    Combined(
        "rmse",
        "smaller",
        "Square root of the mean squared difference of the score and the label.",
        "sklearn.metrics.root_mean_squared_error",
        lambda labels, scores: np.square(scores - labels)[:, None],
        lambda sums, rows: np.sqrt(ratio(sums[:, 0], rows)),
    ),
    Combined(
        "r2",
        "larger",
        "Share of the label's variance that the scores explain; not defined where all labels are equal.",
        "Kvalseth, The American Statistician 39 (1985) 279-285, R²1; sklearn.metrics.r2_score",
        _squares,
        _r2,
    ),
    RowMean(
        "bias",
        None,
        "Mean difference of the score and the label; above 0 the scores are too high.",
        "Willmott and Matsuura, Climate Research 30 (2005) 79-82",
        lambda labels, scores: scores - labels,
    ),
    RowMean(
        "mean_label",
        None,
        "Mean label.",
        "numpy.mean",
        lambda labels, scores: labels,
    ),
    RowMean(
        "mean_score",
        None,
        "Mean score.",
        "numpy.mean",
        lambda labels, scores: scores,
    ),
    *_FORECAST,
)

_COUNT = (
    RowMean(
        "poisson_deviance",
        "smaller",
        "Mean of twice label x log(label / score) - label + score, the score at least 2.2e-16; 0 is perfect.",
        "McCullagh and Nelder, Generalized Linear Models (1989), 2.3; sklearn.metrics.mean_poisson_deviance",
        lambda labels, scores: _deviances(labels, scores)[:, 0],
    ),
    Combined(
        "poisson_d2",
        "larger",
        "Share of the mean label's Poisson deviance that the scores explain; not defined where all labels are equal.",
        "Cameron and Windmeijer, J. Business Econ. Stat. 14 (1996) 209-220; sklearn.metrics.d2_tweedie_score, power=1",
        _deviances,
        _poisson_d2,
    ),
    *_REGRESSION,
)

_QUANTILE = (
    RowMean(
        "pinball",
        "smaller",
        "Mean over rows and quantiles of the level, or 1 - level above the label, times the distance to the label.",
        "Koenker and Bassett, Econometrica 46 (1978) 33-50; sklearn.metrics.mean_pinball_loss, mean over the levels",
        lambda labels, scores, levels: _pinball(labels, scores, levels).mean(axis=1),
        needs="levels",
    ),
    Combined(
        "pinball_d2",
        "larger",
        "Share of the pinball loss of the measured labels' own quantiles, as every row's scores, that is saved.",
        "Koenker and Machado, J. Amer. Stat. Assoc. 94 (1999) 1296-1310; sklearn.metrics.d2_pinball_score",
        _pinball_beside,
        lambda sums, _: 1 - ratio(sums[:, 0], sums[:, 1]),
        needs="levels",
    ),
    RowMean(
        "coverage",
        None,
        "Share of rows whose label is from the lowest to the highest quantile; to be what lies between their levels.",
        "Christoffersen, International Economic Review 39 (1998) 841-862",
        _inside,
    ),
    RowMean(
        "width",
        None,
        "Mean difference of the highest and the lowest quantile, in the label's unit.",
        "Gneiting, Balabdaoui and Raftery, J. Royal Stat. Soc. B 69 (2007) 243-268, where it is called sharpness",
        _width,
    ),
    RowMean(
        "interval_score",
        "smaller",
        "Mean width, plus 2 / (1 - what lies between the levels) times how far a label is outside.",
        "Gneiting and Raftery, J. Amer. Stat. Assoc. 102 (2007) 359-378, equation 43",
        _interval_score,
        needs="levels",
    ),
    Combined(
        "level_error",
        "smaller",
        "Mean over quantiles of the absolute difference of the level and the share of labels up to the quantile.",
        "Gneiting, Balabdaoui and Raftery, J. Royal Stat. Soc. B 69 (2007) 243-268, probabilistic calibration",
        lambda labels, scores, levels: (labels[:, None] <= scores) - levels,
        lambda sums, rows: np.abs(ratio(sums, np.repeat(rows[:, None], sums.shape[1], axis=1))).mean(axis=1),
        needs="levels",
    ),
    RowMean(
        "mean_label",
        None,
        "Mean label.",
        "numpy.mean",
        lambda labels, scores: labels,
    ),
    *_FORECAST,
)

_MULTICLASS = (
    RowMean(
        "log_loss",
        "smaller",
        "Mean of -log of the probability given to the row's class, clipped by 2.2e-16 as in scikit-learn.",
        "Good, Journal of the Royal Statistical Society B 14 (1952) 107-114; sklearn.metrics.log_loss",
        lambda labels, scores: -np.log(np.clip(_given(labels, scores), _SMALLEST, 1 - _SMALLEST)),
    ),
    RowMean(
        "brier",
        "smaller",
        "Mean over rows of the squared differences, summed over classes, of the scores and what happened; from 0 to 2.",
        "Brier, Monthly Weather Review 78 (1950) 1-3; sklearn.metrics.brier_score_loss, not scaled by half",
        lambda labels, scores: np.square(scores - _one_hot(labels, scores)).sum(axis=1),
    ),
    RowMean(
        "accuracy",
        "larger",
        "Share of rows whose class has the highest score, the first of equal ones.",
        "sklearn.metrics.accuracy_score",
        lambda labels, scores: (scores.argmax(axis=1) == labels).astype(np.float64),
    ),
    Combined(
        "macro_f1",
        "larger",
        "Mean over classes of twice the hits over the rows that are called it and those that are it.",
        "sklearn.metrics.f1_score with average='macro', over the classes that are there or are called",
        _hits,
        _macro_f1,
    ),
    Combined(
        "balanced_accuracy",
        "larger",
        "Mean over classes of the share of its rows that are called it.",
        "sklearn.metrics.balanced_accuracy_score",
        _hits,
        _balanced_accuracy,
    ),
    PairArea(
        "roc_auc_ovr",
        "larger",
        "Mean over classes of the chance that a row of it is scored above one of another, a tie counting one half.",
        "sklearn.metrics.roc_auc_score with multi_class='ovr' and average='macro'",
        _roc_auc,
    ),
)

_BINARY = (
    PairArea(
        "roc_auc",
        "larger",
        "Chance that a positive row is scored above a negative one, a tie counting one half.",
        "Hanley and McNeil, Radiology 143 (1982) 29-36",
        _roc_auc,
    ),
    RankArea(
        "average_precision",
        "larger",
        "Precision at each distinct score, weighted by the recall gained there; not interpolated.",
        "sklearn.metrics.average_precision_score; Manning et al., Information Retrieval, 8.4",
        _average_precision,
    ),
    RowMean(
        "log_loss",
        "smaller",
        "Mean of -log of the probability given to what happened, clipped by 2.2e-16 as in scikit-learn.",
        "Good, Journal of the Royal Statistical Society B 14 (1952) 107-114; sklearn.metrics.log_loss",
        _log_loss,
    ),
    RowMean(
        "brier",
        "smaller",
        "Mean squared difference of the score and the label.",
        "Brier, Monthly Weather Review 78 (1950) 1-3; sklearn.metrics.brier_score_loss",
        lambda labels, scores: np.square(scores - labels),
    ),
    RowMean(
        "accuracy",
        "larger",
        "Share of rows whose label is 1 exactly where the score is above one half.",
        "sklearn.metrics.accuracy_score of a classifier's predict, which gives a tie to class 0",
        lambda labels, scores: ((scores > 0.5) == (labels == 1)).astype(np.float64),
    ),
    RowMean(
        "base_rate",
        None,
        "Share of rows whose label is 1.",
        "Murphy, Journal of Applied Meteorology 12 (1973) 595-600, where it is called climatology",
        lambda labels, scores: labels,
    ),
    RowMean(
        "mean_score",
        None,
        "Mean score; equals the base rate when the scores are calibrated in the large.",
        "Cox, Biometrika 45 (1958) 562-565",
        lambda labels, scores: scores,
    ),
)

_TASKS: dict[Task, Sequence[Metric]] = {
    "binary": _BINARY,
    "multiclass": _MULTICLASS,
    "regression": _REGRESSION,
    "count": _COUNT,
    "quantile": _QUANTILE,
}
REGISTRY: dict[Task, dict[str, Metric]] = {
    task: {metric.name: metric for metric in metrics} for task, metrics in _TASKS.items()
}


def named(name: str, task: Task) -> Metric:
    """Return a task's metric by its name.

    Raises UserError with the nearest valid name, or the tasks that have such a metric.
    """
    metrics_of = REGISTRY[task]
    if name in metrics_of:
        return metrics_of[name]
    others = [other for other, metrics in REGISTRY.items() if name in metrics]
    if others:
        raise UserError(f"evaluation.metrics: '{name}' is of {others[0]}, not of {task}; use {', '.join(metrics_of)}")
    raise UserError(f"evaluation.metrics: no metric '{name}'{nearest(name, metrics_of)}")


def better(name: str) -> Better | None:
    """Return which end of a metric is the better one, whatever the task; None for one that judges nothing, or none."""
    return next((metric.better for metric in all_named(name)), None)


def all_named(name: str) -> list[Metric]:
    """Return the metrics of a name, one for each task that has one."""
    return [metrics[name] for metrics in REGISTRY.values() if name in metrics]
