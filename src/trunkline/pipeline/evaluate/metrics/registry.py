"""The registry: every metric of every task, with what it means and where it is from."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from trunkline.core.errors import UserError, nearest
from trunkline.core.tasks import Task
from trunkline.pipeline.evaluate.metrics import formulas, label_sets, lists
from trunkline.pipeline.evaluate.metrics.kinds import (
    Better,
    Combined,
    GroupMean,
    Metric,
    PairArea,
    RankArea,
    RowMean,
    ratio,
)

_FORECAST = (
    Combined(
        "wape",
        "smaller",
        "Sum of the absolute differences of the score, or the middle quantile, and the label over that of the labels.",
        "Kolassa and Schuetz, Foresight 6 (2007) 40-43, where it is the MAD/mean ratio",
        lambda labels, scores: np.stack([formulas.off(labels, scores), np.abs(labels)], axis=1),
        lambda sums, _: ratio(sums[:, 0], sums[:, 1]),
    ),
    RowMean(
        "mase",
        "smaller",
        "Mean absolute difference of the score, or the middle quantile, and the label over that of data.target.naive "
        "in the training rows, of all series together; below 1 is better than that was.",
        "Hyndman and Koehler, International Journal of Forecasting 22 (2006) 679-688",
        lambda labels, scores, naive_error: formulas.off(labels, scores) / naive_error,
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
        formulas.squares,
        formulas.r2,
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
        lambda labels, scores: formulas.deviances(labels, scores)[:, 0],
    ),
    Combined(
        "poisson_d2",
        "larger",
        "Share of the mean label's Poisson deviance that the scores explain; not defined where all labels are equal.",
        "Cameron and Windmeijer, J. Business Econ. Stat. 14 (1996) 209-220; sklearn.metrics.d2_tweedie_score, power=1",
        formulas.deviances,
        formulas.poisson_d2,
    ),
    *_REGRESSION,
)

_QUANTILE = (
    RowMean(
        "pinball",
        "smaller",
        "Mean over rows and quantiles of the level, or 1 - level above the label, times the distance to the label.",
        "Koenker and Bassett, Econometrica 46 (1978) 33-50; sklearn.metrics.mean_pinball_loss, mean over the levels",
        lambda labels, scores, levels: formulas.pinball(labels, scores, levels).mean(axis=1),
        needs="levels",
    ),
    Combined(
        "pinball_d2",
        "larger",
        "Share of the pinball loss of the measured labels' own quantiles, as every row's scores, that is saved.",
        "Koenker and Machado, J. Amer. Stat. Assoc. 94 (1999) 1296-1310; sklearn.metrics.d2_pinball_score",
        formulas.pinball_beside,
        lambda sums, _: 1 - ratio(sums[:, 0], sums[:, 1]),
        needs="levels",
    ),
    RowMean(
        "coverage",
        None,
        "Share of rows whose label is from the lowest to the highest quantile; to be what lies between their levels.",
        "Christoffersen, International Economic Review 39 (1998) 841-862",
        formulas.inside,
    ),
    RowMean(
        "width",
        None,
        "Mean difference of the highest and the lowest quantile, in the label's unit.",
        "Gneiting, Balabdaoui and Raftery, J. Royal Stat. Soc. B 69 (2007) 243-268, where it is called sharpness",
        formulas.width,
    ),
    RowMean(
        "interval_score",
        "smaller",
        "Mean width, plus 2 / (1 - what lies between the levels) times how far a label is outside.",
        "Gneiting and Raftery, J. Amer. Stat. Assoc. 102 (2007) 359-378, equation 43",
        formulas.interval_score,
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
        formulas.log_loss_of_classes,
    ),
    RowMean(
        "brier",
        "smaller",
        "Mean over rows of the squared differences, summed over classes, of the scores and what happened; from 0 to 2.",
        "Brier, Monthly Weather Review 78 (1950) 1-3; sklearn.metrics.brier_score_loss, not scaled by half",
        lambda labels, scores: np.square(scores - formulas.one_hot(labels, scores)).sum(axis=1),
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
        formulas.hits,
        formulas.macro_f1,
    ),
    Combined(
        "balanced_accuracy",
        "larger",
        "Mean over classes of the share of its rows that are called it.",
        "sklearn.metrics.balanced_accuracy_score",
        formulas.hits,
        formulas.balanced_accuracy,
    ),
    PairArea(
        "roc_auc_ovr",
        "larger",
        "Mean over classes of the chance that a row of it is scored above one of another, a tie counting one half.",
        "sklearn.metrics.roc_auc_score with multi_class='ovr' and average='macro'",
        formulas.roc_auc,
    ),
)

_ORDINAL = (
    RowMean(
        "ranked_probability",
        "smaller",
        "Mean over rows and steps between classes of the squared difference of the chance of a class up to the step "
        "and whether it was one; from 0 to 1, and smallest for chances that are right.",
        "Epstein, Journal of Applied Meteorology 8 (1969) 985-987, the ranked probability score, over the steps",
        lambda labels, scores: np.square(
            formulas.up_to(scores) - formulas.up_to(formulas.one_hot(labels, scores))
        ).mean(axis=1),
    ),
    RowMean(
        "rank_mae",
        "smaller",
        "Mean number of classes from a row's class to its middle one, the first up to which the chance is one half.",
        "Baccianella, Esuli and Sebastiani, ISDA 2009, 283-287; sklearn.metrics.mean_absolute_error of the ranks",
        lambda labels, scores: np.abs(formulas.middle_class(scores) - labels),
    ),
    Combined(
        "quadratic_kappa",
        "larger",
        "1 less the mean squared number of classes from a row's class to its middle one, over that to other rows'.",
        "Cohen, Psychological Bulletin 70 (1968) 213-220; sklearn.metrics.cohen_kappa_score with weights='quadratic'",
        formulas.ranks,
        formulas.quadratic_kappa,
    ),
    *_MULTICLASS,
)

_BINARY = (
    PairArea(
        "roc_auc",
        "larger",
        "Chance that a positive row is scored above a negative one, a tie counting one half.",
        "Hanley and McNeil, Radiology 143 (1982) 29-36",
        formulas.roc_auc,
    ),
    RankArea(
        "average_precision",
        "larger",
        "Precision at each distinct score, weighted by the recall gained there; not interpolated.",
        "sklearn.metrics.average_precision_score; Manning et al., Information Retrieval, 8.4",
        formulas.average_precision,
    ),
    RowMean(
        "log_loss",
        "smaller",
        "Mean of -log of the probability given to what happened, clipped by 2.2e-16 as in scikit-learn.",
        "Good, Journal of the Royal Statistical Society B 14 (1952) 107-114; sklearn.metrics.log_loss",
        formulas.log_loss,
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

_GAIN = (
    "Jarvelin and Kekalainen, ACM Trans. Inf. Syst. 20 (2002) 422-446, with the gains of Burges et al., ICML 2005; "
    "sklearn.metrics.ndcg_score of these gains"
)

_RANKING = (
    GroupMean(
        "ndcg",
        "larger",
        "Mean over groups of the sum of (2^label - 1) / log2(1 + place) over the largest that an order could have; "
        "groups with no label above 0 are left out.",
        _GAIN,
        lists.ndcg,
    ),
    *(
        GroupMean(
            f"ndcg_at_{depth}",
            "larger",
            f"The same as ndcg, of the first {depth} places alone.",
            _GAIN,
            partial(lists.ndcg, depth=depth),
        )
        for depth in (1, 3, 5, 10)
    ),
    GroupMean(
        "map",
        "larger",
        "Mean over groups of the mean, over the rows with a label above 0, of the share of such rows up to their "
        "place; groups without one are left out.",
        "Manning et al., Introduction to Information Retrieval (2008), 8.4; sklearn.metrics.average_precision_score",
        lists.average_precision,
    ),
)

_TSOUMAKAS = "Tsoumakas, Katakis and Vlahavas, Mining Multi-label Data, in the Data Mining Handbook (2010), 667-685"

_MULTILABEL = (
    RowMean(
        "log_loss",
        "smaller",
        "Mean over rows and labels of -log of the probability given to what happened, clipped by 2.2e-16.",
        "Good, Journal of the Royal Statistical Society B 14 (1952) 107-114; sklearn.metrics.log_loss, over the labels",
        label_sets.losses,
    ),
    RowMean(
        "brier",
        "smaller",
        "Mean over rows and labels of the squared difference of the score and whether a row has the label.",
        "Brier, Monthly Weather Review 78 (1950) 1-3; sklearn.metrics.brier_score_loss, over the labels",
        label_sets.squares,
    ),
    RowMean(
        "hamming_loss",
        "smaller",
        "Share of rows and labels where a row has the label and its score is not above one half, or the other way.",
        "Schapire and Singer, Machine Learning 39 (2000) 135-168; sklearn.metrics.hamming_loss",
        lambda labels, scores: label_sets.wrong(labels, scores).mean(axis=1),
    ),
    RowMean(
        "subset_accuracy",
        "larger",
        "Share of rows whose labels are exactly those with a score above one half.",
        f"{_TSOUMAKAS}; sklearn.metrics.accuracy_score of sets of labels",
        lambda labels, scores: 1 - label_sets.wrong(labels, scores).max(axis=1),
    ),
    Combined(
        "micro_f1",
        "larger",
        "Twice the labels rightly given over those given and those that rows have, all labels counted together.",
        f"{_TSOUMAKAS}; sklearn.metrics.f1_score with average='micro'",
        label_sets.hits,
        label_sets.micro_f1,
    ),
    Combined(
        "macro_f1",
        "larger",
        "The same of each label, and the mean over the labels that are there or are given.",
        f"{_TSOUMAKAS}; sklearn.metrics.f1_score with average='macro'",
        label_sets.hits,
        label_sets.macro_f1,
    ),
    RankArea(
        "micro_average_precision",
        "larger",
        "Precision at each distinct score of all rows and labels in one order, weighted by the recall gained there.",
        "sklearn.metrics.average_precision_score with average='micro'",
        formulas.average_precision,
        pooled=True,
    ),
    RankArea(
        "macro_average_precision",
        "larger",
        "The mean over labels of the precision at each distinct score, weighted by the recall gained there.",
        "sklearn.metrics.average_precision_score with average='macro'",
        formulas.average_precision,
    ),
    PairArea(
        "macro_roc_auc",
        "larger",
        "Mean over labels of the chance that a row that has it is scored above one that has not, a tie one half.",
        "sklearn.metrics.roc_auc_score with average='macro'",
        formulas.roc_auc,
    ),
    RowMean(
        "ranking_loss",
        "smaller",
        "Mean over rows of the share of pairs, of a label that it has and one that it has not, with no higher score.",
        f"{_TSOUMAKAS}; sklearn.metrics.label_ranking_loss",
        label_sets.misordered,
    ),
    RowMean(
        "cardinality",
        None,
        "Mean number of labels that a row has.",
        _TSOUMAKAS,
        lambda labels, scores: label_sets.has(labels, scores).sum(axis=1),
    ),
)

_TASKS: dict[Task, Sequence[Metric]] = {
    "binary": _BINARY,
    "multiclass": _MULTICLASS,
    "ordinal": _ORDINAL,
    "regression": _REGRESSION,
    "count": _COUNT,
    "quantile": _QUANTILE,
    "ranking": _RANKING,
    "multilabel": _MULTILABEL,
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
