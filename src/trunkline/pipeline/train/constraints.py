"""Constraints on features, declared by name, as each package takes them: by the position of a column.

A positive direction means that a score never falls when the feature grows alone. Of one-hot encoded categories, and of
means of several classes, there is no one column per feature, so a constraint by name needs another encoding.
"""

from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator

from trunkline.conf.model import Preprocess
from trunkline.core.dataset import Schema
from trunkline.core.errors import UserError, nearest

MONOTONIC = ("monotonic_cst", "monotone_constraints")
TOGETHER = ("interaction_cst", "interaction_constraints")


def directions(parameters: Mapping[str, Any]) -> dict[str, int]:
    """Return the direction of each feature that an estimator's parameters name: 1 or -1."""
    for name in MONOTONIC:
        declared = parameters.get(name)
        if isinstance(declared, Mapping):
            return {str(feature): int(direction) for feature, direction in declared.items() if direction}
    return {}


def set_by_name(estimator: BaseEstimator, schema: Schema, steps: Preprocess) -> None:
    """Replace the names of features in an estimator's constraints by positions; constraints by position stay.

    Raises UserError for a name that is no feature, for a direction that is none, and for a category.
    """
    parameters = estimator.get_params(deep=False)
    columns = [*schema.of_role("numeric"), *schema.of_role("categorical")]
    for name in MONOTONIC:
        if isinstance(declared := parameters.get(name), Mapping):
            _check(name, declared, schema, steps)
            estimator.set_params(**{name: _positions(name, declared, columns, estimator)})
    for name in TOGETHER:
        declared = parameters.get(name)
        if isinstance(declared, list) and all(isinstance(part, str) for group in declared for part in group):
            _check(name, {part: 1 for group in declared for part in group}, schema, steps, numeric=False)
            groups = [[columns.index(part) for part in group] for group in declared]
            estimator.set_params(**{name: str(groups) if _is_xgboost(estimator) else groups})


def _positions(name: str, declared: Mapping[str, int], columns: list[str], estimator: BaseEstimator) -> Any:
    each = [int(declared.get(column, 0)) for column in columns]
    return f"({','.join(map(str, each))})" if _is_xgboost(estimator) else each


def _is_xgboost(estimator: BaseEstimator) -> bool:
    return type(estimator).__module__.startswith("xgboost.")


def _check(name: str, declared: Mapping[str, Any], schema: Schema, steps: Preprocess, numeric: bool = True) -> None:
    if step := steps.reshaping:
        raise UserError(f"model.{name}: names features, of which model.preprocess.{step} makes other columns")
    categorical = schema.of_role("categorical")
    several = steps.categorical.encode == "onehot" or (steps.categorical.encode == "target" and schema.classes)
    if categorical and several:
        raise UserError(
            f"model.{name}: names features, which needs model.preprocess.categorical.encode: ordinal or native"
        )
    for feature, direction in declared.items():
        if feature not in schema.names:
            raise UserError(f"model.{name}: no feature '{feature}'{nearest(feature, schema.names)}")
        if numeric and feature in categorical:
            raise UserError(f"model.{name}.{feature}: is a category, which has no order")
        if direction not in (-1, 0, 1):
            raise UserError(f"model.{name}.{feature}: must be 1, -1 or 0, not {direction!r}")
