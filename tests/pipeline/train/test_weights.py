"""Weights of rows: finite, at least 0, of columns and of age, felt by the estimator and by nothing else."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from trunkline.conf.model import Model, Weight
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.core.features import Feature
from trunkline.pipeline.train import estimators, fit, weights

SCHEMA = Schema((Feature("x", "numeric"),), "late", "UTC")
FAMILIES: dict[str, dict[str, Any]] = {
    "sklearn.linear_model.LogisticRegression": {},
    "sklearn.ensemble.HistGradientBoostingClassifier": {"max_iter": 5},
    "lightgbm.LGBMClassifier": {"n_estimators": 5, "verbosity": -1},
    "xgboost.XGBClassifier": {"n_estimators": 5},
    "catboost.CatBoostClassifier": {"iterations": 5},
}


def rows(count: int = 200, **columns: Any) -> Dataset:
    """The label is x > 0 in the first half, and the opposite in the later one."""
    x = np.random.default_rng(3).normal(size=count)
    late = ((x > 0) ^ (np.arange(count) >= count // 2)).astype(int)
    time = [datetime(2013, 1, 1) + timedelta(days=day) for day in range(count)]
    return Dataset(pl.DataFrame({"x": x, "late": late, "event_time": time, "one": 1, **columns}), SCHEMA)


def model(target: str, weight: dict[str, Any]) -> Model:
    return Model.parse(
        {"_target_": target, "preprocess": {"numeric": {"impute": "mean"}}, "weight": weight, **FAMILIES[target]}
    )


@pytest.mark.parametrize("target", FAMILIES)
def test_a_model_learns_of_the_rows_that_count(target: str) -> None:
    """In the later half large numbers are not late; both halves together say nothing."""
    probe = pl.DataFrame({"x": [1.5]})
    [[plain], [recent], [early]] = [
        fit.scores(fit.fit(rows(), model(target, weight), 0), probe)
        for weight in ({}, {"half_life": "10d"}, {"column": "one"})
    ]
    assert recent < 0.35
    assert recent < min(plain, early)


def test_age_halves_and_a_column_multiplies() -> None:
    declared = Weight.model_validate({"column": "twice", "half_life": "2d"})
    counted = weights.of(rows(5, twice=[2, 2, 2, 0, 2]), declared)
    assert counted is not None
    assert counted.tolist() == [0.5, pytest.approx(2**-0.5), 1.0, 0.0, 2.0]
    assert weights.of(rows(5), Weight()) is None


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ("negative", "data/features/train.parquet: 'negative' is -1 in row 0"),
        ("odd", "'odd' is nan in row 1"),
        ("endless", "'endless' is inf in row 1"),
        ("text", "'text' is no number"),
        ("nil", "model.weight: is 0 for every training row"),
        ("onne", "no column 'onne'; did you mean 'one'"),
        ("late", "no column 'late'"),
    ],
)
def test_a_wrong_weight_is_one_line_with_its_row(column: str, told: str) -> None:
    columns = {"negative": [-1, 0], "odd": [1.0, None], "endless": [1.0, np.inf], "text": ["a", "b"]}
    with pytest.raises(UserError, match=told):
        weights.of(rows(2, nil=[0, 0], **columns), Weight(column=column))


def test_a_half_life_needs_a_time_and_an_estimator_that_weighs() -> None:
    timeless = Dataset(rows(5).frame.drop("event_time"), SCHEMA)
    with pytest.raises(UserError, match=r"model\.weight\.half_life: the rows have no time"):
        weights.of(timeless, Weight(half_life=timedelta(days=1)))
    neighbours = {"_target_": "sklearn.neighbors.KNeighborsClassifier", "preprocess": {"numeric": {"impute": "mean"}}}
    with pytest.raises(UserError, match=r"model\.weight: KNeighborsClassifier takes no weights of rows"):
        estimators.verify(Model.parse({**neighbours, "weight": {"column": "one"}}), "binary")
