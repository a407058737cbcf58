"""Selection of columns, after all other preprocessing, by scikit-learn's own selectors; of training rows alone."""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from sklearn import feature_selection
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectFromModel, SelectKBest, SelectPercentile, VarianceThreshold
from sklearn.utils import get_tags

from trunkline.conf.model import Best, Preprocess, Selection
from trunkline.core.errors import UserError, nearest, one_line
from trunkline.core.tasks import NUMERIC, Task

_OF_CLASSES, _OF_NUMBERS = ("f_classif", "mutual_info_classif", "chi2"), ("f_regression", "mutual_info_regression")
_SAMPLED = ("mutual_info_classif", "mutual_info_regression")  # which add noise, and take no sparse matrix of numbers
# What gives columns weights in the same way on every machine, by the package and name of the class.
_WEIGHING = {
    "linear_model": ("LogisticRegression", "RidgeClassifier", "Lasso", "ElasticNet", "Ridge", "LinearRegression"),
    "svm": ("LinearSVC", "LinearSVR"),
    "tree": ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"),
    "ensemble": (
        *("RandomForestClassifier", "ExtraTreesClassifier", "GradientBoostingClassifier"),
        *("RandomForestRegressor", "ExtraTreesRegressor", "GradientBoostingRegressor"),
    ),
}
_EMPTY = r"k=.* is greater than n_features|No features were selected|No feature in X meets the variance threshold"
_CONSTANT = ("Features .* are constant", "invalid value encountered in divide", "Degrees of freedom <= 0")


def selectors(select: Selection | None, weighing: BaseEstimator | None, seed: int) -> list[tuple[str, Any]]:
    """Return the unfitted selectors with their names, in the order in which they are applied."""
    parts: list[tuple[str, Any]] = []
    if select is None:
        return parts
    if select.variance is not None:
        parts.append(("variance", VarianceThreshold(select.variance)))
    if (best := select.best) is not None:
        score = _score(best.score, seed)
        sized = SelectPercentile(score, percentile=best.percentile) if best.k is None else SelectKBest(score, k=best.k)
        parts.append(("best", sized))
    if select.from_model is not None:
        parts.append(("from_model", SelectFromModel(weighing, threshold=select.from_model.threshold)))
    return parts


def takes_sparse(select: Selection | None, weighing: BaseEstimator | None) -> bool:
    """Whether all selectors take a sparse matrix as they would a dense one."""
    sampled = select is not None and select.best is not None and select.best.score in _SAMPLED
    return not sampled and (weighing is None or bool(get_tags(weighing).input_tags.sparse))


def verify(steps: Preprocess, weighing: BaseEstimator | None, task: Task, key: str) -> None:
    """Raise UserError for a selection that the task, or what the other steps make, does not allow."""
    if steps.select is None:
        return
    if task == "multilabel" and (steps.select.best or weighing is not None):
        raise UserError(f"{key}.select: best and from_model look at one label, and there are several; use variance")
    if steps.select.best is not None:
        _verify_score(steps.select.best, steps, task, key)
    if weighing is not None:
        _verify_weighing(weighing, task, f"{key}.select.from_model.estimator._target_")
    refusing = weighing is not None and not get_tags(weighing).input_tags.allow_nan
    if steps.numeric.impute == "none" and (steps.select.best or refusing):
        name = "best" if steps.select.best else f"from_model by {type(weighing).__name__}"
        raise UserError(f"{key}.numeric.impute: select.{name} takes no missing values; use mean, median or zero")


@contextmanager
def checked() -> Iterator[None]:
    """Raise UserError where scikit-learn only warns: that no column is left, or that there are fewer than asked for.

    Its warnings of constants are left out: they have the lowest score.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", _EMPTY)
        for message in _CONSTANT:
            warnings.filterwarnings("ignore", message)
        try:
            yield
        except (UserWarning, ValueError) as error:
            if not re.match(_EMPTY, str(error)):
                raise
            message = f"model.preprocess.select: {one_line(error)} (of the columns that the other steps make)"
            raise UserError(message) from error


def _score(name: str, seed: int) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(feature_selection, name)
    if name not in _SAMPLED:
        return function
    return partial(function, discrete_features=False, random_state=seed, n_jobs=1)


def _verify_score(best: Best, steps: Preprocess, task: Task, key: str) -> None:
    fitting = _OF_NUMBERS if task in NUMERIC else _OF_CLASSES
    where = f"{key}.select.best.score: {best.score}"
    if best.score not in fitting:
        raise UserError(f"{where} is not for data.target.task: {task}; use {' or '.join(fitting)}")
    if best.score == "chi2" and (negative := _negative(steps)):
        raise UserError(f"{where} takes no number below 0, as {key}.{negative} may make; use f_classif")


def _negative(steps: Preprocess) -> str | None:
    """Return the step that may make numbers below 0 of training rows; None if there is none."""
    numeric, text = steps.numeric, steps.text
    if numeric.pca is not None:
        return "numeric.pca"
    if numeric.spline is None and numeric.scale not in ("min_max", "quantile"):
        return f"numeric.scale: {numeric.scale}"
    if steps.categorical.encode == "ordinal":
        return "categorical.encode: ordinal"
    return "text.vectorize: hashing" if text is not None and text.vectorize == "hashing" else None


def _verify_weighing(estimator: BaseEstimator, task: Task, key: str) -> None:
    name, names = type(estimator).__name__, [each for part in _WEIGHING.values() for each in part]
    if name not in names or not type(estimator).__module__.startswith("sklearn."):
        raise UserError(f"{key}: {name} is none of those that may select: {', '.join(names)}{nearest(name, names)}")
    wanted = "regressor" if task in NUMERIC else "classifier"
    if get_tags(estimator).estimator_type != wanted:
        raise UserError(f"{key}: {name} is no {wanted}, which data.target.task: {task} needs")
