"""Scores of XGBoost's estimators, from their margins.

XGBoost adds up trees in float32, and makes a probability of that sum with the float32 exponential of the machine's own
C library, whose last bits differ from machine to machine. The sum is the same everywhere: here the score is made of it
in double precision, within 10⁻⁷ of what XGBoost's predict_proba says.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import special

from trunkline.core.arrays import Floats

_LINKS: Mapping[str, str] = {
    **dict.fromkeys(("binary:logistic", "reg:logistic"), "logistic"),
    **dict.fromkeys(("multi:softprob", "multi:softmax"), "softmax"),
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie"), "exp"),
    **dict.fromkeys(
        ("reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror"),
        "identity",
    ),
    **dict.fromkeys(("rank:ndcg", "rank:map", "rank:pairwise"), "identity"),
}
_SCORES: Mapping[str, Callable[[Floats], Floats]] = {
    "logistic": special.expit,
    "softmax": lambda margins: special.softmax(margins, axis=1),
    "exp": np.exp,
    "identity": lambda margins: margins,
}


def is_xgboost(estimator: Any) -> bool:
    """Tell whether an estimator is one of XGBoost's, which need not be installed."""
    return type(estimator).__module__.partition(".")[0] == "xgboost"


def link(estimator: Any) -> str | None:
    """Return what makes a score of the margin: logistic, softmax, exp or identity; None for another objective."""
    return _LINKS.get(estimator.objective or "")


def rounds(estimator: Any) -> int | None:
    """Return how many rounds of trees predict, where training stopped early; None for all."""
    try:
        return int(estimator.best_iteration) + 1
    except AttributeError:
        return None


def scores(estimator: Any, features: Any) -> Floats | None:
    """Return the scores of rows of a fitted estimator, or of a pipeline that ends in one.

    Shape (n), of several classes (n, classes); None where the estimator's own predictions are the scores.
    """
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    if not is_xgboost(last) or (name := link(last)) is None:
        return None
    margins = np.asarray(estimator.predict(features, output_margin=True), dtype=np.float64)
    return np.ascontiguousarray(_SCORES[name](margins))
