"""Estimators that learn an order within groups of rows, and what their fit needs besides rows and labels."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from trunkline.conf.model import Model, Weight
from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError
from trunkline.core.tasks import Task

_RANKERS = ("lightgbm.sklearn.LGBMRanker", "xgboost.sklearn.XGBRanker")


def is_ranker(cls: type) -> bool:
    """Tell whether a class is that of a ranker: by its name, as scikit-learn knows of none."""
    return f"{cls.__module__}.{cls.__name__}" in _RANKERS


def verify(model: Model, estimator: BaseEstimator, task: Task, key: str) -> None:
    """Raise UserError for a ranker of another task than ranking, or with what has no meaning for pairs of rows."""
    name = type(estimator).__name__
    if not is_ranker(type(estimator)):
        return
    if task != "ranking":
        raise UserError(
            f"{key}._target_: {name} puts rows of a group in order, which data.target.task: ranking asks for"
        )
    for declared, empty in (("weight", Weight()), ("stop_early", None)):
        if getattr(model, declared) != empty:
            raise UserError(f"{key}.{declared}: {name} learns from pairs of rows, not from each; remove it")


def ordered(dataset: Dataset) -> Dataset:
    """Return the rows group by group, as rankers take them; as they are where no group is declared."""
    if not dataset.schema.group:
        return dataset
    order = np.argsort(dataset.groups.to_numpy(), kind="stable")
    return Dataset(dataset.frame[order], dataset.schema)


def arguments(dataset: Dataset, estimator: BaseEstimator) -> dict[str, Any]:
    """Return what a ranker's fit needs: the number of rows of each group, one after the other."""
    if not is_ranker(type(estimator)):
        return {}
    return {"estimator__group": dataset.groups.rle().struct.field("len").to_list()}
