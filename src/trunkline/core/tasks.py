"""What a model can be asked for, and what its scores are called: known from the contract to the served answer."""

from collections.abc import Sequence
from typing import Literal

Task = Literal["binary", "multiclass", "ordinal", "regression", "count", "quantile", "ranking", "multilabel"]
CLASSES: tuple[Task, ...] = ("multiclass", "ordinal")  # whose labels are one of several declared classes
NUMERIC: tuple[Task, ...] = ("regression", "count", "quantile", "ranking")  # whose labels and scores are numbers
MANY: tuple[Task, ...] = (*CLASSES, "multilabel")  # with a chance for each of several declared names
MOST_RELEVANT = 30  # the largest label of a ranking, whose gain is 2 to the power of it

MOST_LABELS = 50  # of a row: the number of their set is exact as a double

UNITLESS: tuple[Task, ...] = ("ranking",)  # whose scores say an order, and are no estimate of the label

SCORE = "score"


def score_columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a row's scores: `score`, or `score_<name>` for each class, quantile or label."""
    return tuple(f"{SCORE}_{name}" for name in classes) or (SCORE,)


def quantile_name(level: float) -> str:
    """Return what the score of a quantile is called, by its percentage: `q90` of 0.9, `q2.5` of 0.025."""
    return f"q{round(100 * level, 9):.9g}"


def levels(task: Task, classes: Sequence[str]) -> tuple[float, ...]:
    """Return the levels, above 0 and below 1, of the quantiles that scores are called by; none of another task."""
    return tuple(round(float(name[1:]) / 100, 11) for name in classes) if task == "quantile" else ()
