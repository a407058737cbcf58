"""Several labels of a row at once, by an estimator that takes them together, or one for each within another."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.multioutput import MultiOutputClassifier
from sklearn.utils import get_tags

from trunkline.conf.model import Model
from trunkline.core.arrays import Floats, happened
from trunkline.core.errors import UserError
from trunkline.core.tasks import Task

WRAPPER = "sklearn.multioutput.MultiOutputClassifier"
_OF_SEVERAL = ("MultiOutputClassifier", "ClassifierChain")


class Labels(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Fits a clone of `estimator` to which of `count` labels each row has, and gives the chance of each.

    Estimators answer this in two ways, as a matrix or as a list of one for each label; this gives a matrix always.
    """

    def __init__(self, estimator: Any, count: int) -> None:
        self.estimator = estimator
        self.count = count

    def fit(self, rows: Any, labels: NDArray[Any], **arguments: Any) -> Self:
        """Fit to the numbers of the sets of labels that rows have."""
        has = happened(labels, self.count, "multilabel").astype(np.int64)
        self.estimator_ = clone(self.estimator).fit(rows, has, **arguments)
        return self

    def predict_proba(self, rows: Any) -> Floats:
        """Return the chance of each label, shape (rows, labels)."""
        chances = self.estimator_.predict_proba(rows)
        if not isinstance(chances, list):
            return np.ascontiguousarray(chances, dtype=np.float64)
        pairs = zip(chances, self.estimator_.classes_, strict=True)
        return np.column_stack([_positive(each, classes) for each, classes in pairs]).astype(np.float64)

    def predict(self, rows: Any) -> NDArray[Any]:
        """Return which labels are more likely than not."""
        return np.asarray(self.predict_proba(rows) > 0.5, dtype=np.int64)


def _positive(chances: Floats, classes: NDArray[Any]) -> Floats:
    """Return the chance that a row has a label; of one that no row, or every row, was trained with, 0 or 1."""
    if len(classes) > 1:
        return chances[:, 1]
    return np.full(len(chances), float(classes[0]))


def within(estimator: BaseEstimator) -> BaseEstimator:
    """Return the estimator of each label, which sees the rows as they are; any other estimator itself."""
    return estimator.estimator if isinstance(estimator, MultiOutputClassifier) else estimator


def verify(model: Model, estimator: BaseEstimator, task: Task, key: str) -> None:
    """Raise UserError for an estimator of several labels where there is one, and the other way round."""
    name = type(estimator).__name__
    within = name in _OF_SEVERAL
    if task != "multilabel":
        if within:
            raise UserError(f"{key}._target_: {name} is of several labels, which data.target.task: multilabel declares")
        return
    if not (within or get_tags(estimator).classifier_tags.multi_label):
        raise UserError(f"{key}._target_: {name} takes one label; name it as `estimator` of {WRAPPER}")
    if model.stop_early is not None:
        raise UserError(f"{key}.stop_early: has no meaning for several labels, each with rounds of its own; remove it")
    if model.preprocess.categorical.encode == "target":
        raise UserError(f"{key}.preprocess.categorical.encode: target is the mean of one label; use onehot or ordinal")
    if model.sites:
        raise UserError(f"{key}.sites: graphs of sites are joined for one label, not for several; remove it")
