"""Constraints by the names of features reach every package by position, and hold."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from trunkline.conf.model import Model
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.core.features import Feature
from trunkline.pipeline.train import fit

FAMILIES = {
    "sklearn.ensemble.HistGradientBoostingClassifier": ("monotonic_cst", {"max_iter": 20}),
    "lightgbm.LGBMClassifier": ("monotone_constraints", {"n_estimators": 20, "verbosity": -1}),
    "xgboost.XGBClassifier": ("monotone_constraints", {"n_estimators": 20}),
    "catboost.CatBoostClassifier": ("monotone_constraints", {"iterations": 20, "one_hot_max_size": 99}),
}
SCHEMA = Schema((Feature("kind", "categorical"), Feature("x", "numeric"), Feature("y", "numeric")), "late", "UTC")


def rows() -> Dataset:
    random = np.random.default_rng(3)
    kind, x, y = random.choice(["a", "b"], 800), random.normal(size=800), random.normal(size=800)
    label = (np.sin(3 * x) - y + random.normal(size=800) > 0).astype(int)
    return Dataset(pl.DataFrame({"kind": kind.tolist(), "x": x, "y": y, "late": label}), SCHEMA)


def model(target: str, encode: str = "native", **parameters: Any) -> Model:
    preprocess = {"numeric": {"impute": "median"}, "categorical": {"encode": encode}}
    return Model.parse({"_target_": target, "preprocess": preprocess, **parameters})


def falls(pipeline: Any) -> bool:
    """Whether a score ever falls while x alone grows."""
    grid = pl.DataFrame({"x": np.linspace(-3, 3, 200)})
    steps = np.diff(fit.scores(pipeline, grid.with_columns(kind=pl.lit("a"), y=pl.lit(0.1))))
    return bool((steps < -1e-12).any())


@pytest.mark.parametrize("target", FAMILIES)
def test_a_monotonic_feature_is_named(target: str) -> None:
    name, size = FAMILIES[target]
    assert falls(fit.fit(rows(), model(target, **size), 0))
    assert not falls(fit.fit(rows(), model(target, **size, **{name: {"x": 1}}), 0))


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("sklearn.ensemble.HistGradientBoostingClassifier", "interaction_cst"),
        ("lightgbm.LGBMClassifier", "interaction_constraints"),
        ("xgboost.XGBClassifier", "interaction_constraints"),
    ],
)
def test_features_that_may_interact_are_named(target: str, name: str) -> None:
    """Without interactions, what x adds to the log-odds is the same whatever y is."""
    groups = [["x"], ["y"], ["kind"]]
    pipeline = fit.fit(rows(), model(target, **FAMILIES[target][1], **{name: groups}), 0)
    corners = pl.DataFrame({"x": [-1.0, 1.0, -1.0, 1.0], "y": [-1.0, -1.0, 1.0, 1.0]}).with_columns(kind=pl.lit("a"))
    low, high, low_too, high_too = np.log(1 / fit.scores(pipeline, corners) - 1)
    assert high - low == pytest.approx(high_too - low_too, abs=1e-5)


@pytest.mark.parametrize(
    ("constraint", "encode", "told"),
    [
        ({"z": 1}, "native", "model.monotone_constraints: no feature 'z'"),
        ({"kind": 1}, "native", "model.monotone_constraints.kind: is a category, which has no order"),
        ({"x": 2}, "native", "model.monotone_constraints.x: must be 1, -1 or 0, not 2"),
        ({"x": 1}, "onehot", "needs model.preprocess.categorical.encode: ordinal or native"),
    ],
)
def test_a_wrong_constraint_is_one_line(constraint: dict[str, int], encode: str, told: str) -> None:
    declared = model("xgboost.XGBClassifier", encode, monotone_constraints=constraint)
    with pytest.raises(UserError, match=told):
        fit.fit(rows(), declared, 0)


@pytest.mark.parametrize("step", [{"interactions": "pairs"}, {"spline": {}}, {"pca": {"components": 1}}])
def test_a_feature_that_becomes_other_columns_cannot_be_named(step: dict[str, Any]) -> None:
    steps = {"numeric": {"impute": "median", **step}, "categorical": {"encode": "ordinal"}}
    declared = Model.parse({"_target_": "xgboost.XGBClassifier", "preprocess": steps, "monotone_constraints": {"x": 1}})
    with pytest.raises(UserError, match=f"of which model.preprocess.numeric.{next(iter(step))} makes other columns"):
        fit.fit(rows(), declared, 0)
