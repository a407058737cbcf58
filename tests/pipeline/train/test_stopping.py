"""Rounds are chosen on the latest training rows, and all training rows are learnt from with that number."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from trunkline.conf.model import Model
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.core.features import Feature
from trunkline.pipeline.train import estimators, fit, stopping

SCHEMA = Schema((Feature("kind", "categorical"), Feature("x", "numeric"), Feature("y", "numeric")), "late", "UTC")
FAMILIES: dict[str, dict[str, Any]] = {
    "lightgbm.LGBMClassifier": {"n_estimators": 150, "min_child_samples": 5, "verbosity": -1},
    "xgboost.XGBClassifier": {"n_estimators": 150, "learning_rate": 0.1, "max_depth": 3},
    "catboost.CatBoostClassifier": {"n_estimators": 150, "learning_rate": 0.1, "one_hot_max_size": 99},
}


def rows(count: int = 400) -> Dataset:
    """A label that x and kind say something of, hour by hour."""
    random = np.random.default_rng(3)
    x, y, kind = random.normal(size=count), random.normal(size=count), random.choice(["a", "b"], count)
    late = (x + (kind == "a") + random.normal(size=count) > 0.5).astype(int)
    time = [datetime(2013, 1, 1) + timedelta(hours=hour) for hour in range(count)]
    return Dataset(pl.DataFrame({"kind": kind, "x": x, "y": y, "late": late, "event_time": time}), SCHEMA)


def model(target: str, **declared: Any) -> Model:
    steps = {"numeric": {"impute": "mean"}, "categorical": {"encode": "native"}}
    return Model.parse({"_target_": target, "preprocess": steps, **FAMILIES.get(target, {}), **declared})


def trees(pipeline: Any) -> int:
    estimator = pipeline[-1]
    match type(estimator).__module__.partition(".")[0]:
        case "lightgbm":
            return int(estimator.booster_.num_trees())
        case "xgboost":
            return int(estimator.get_booster().num_boosted_rounds())
    return int(estimator.tree_count_)


@pytest.mark.parametrize("target", FAMILIES)
def test_later_rows_choose_the_rounds_and_all_rows_are_learnt_from(target: str) -> None:
    declared = model(target, stop_early={"last": "100h", "rounds": 5})
    pipeline = fit.fit(rows(), declared, 0)
    count = trees(pipeline)
    assert 0 < count < 100
    plain = fit.fit(rows(), model(target, n_estimators=count), 0)
    np.testing.assert_array_equal(fit.scores(pipeline, rows().features), fit.scores(plain, rows().features))
    other = rows().frame.with_columns(late=pl.when(pl.int_range(400) >= 300).then(1 - pl.col("late")).otherwise("late"))
    assert trees(fit.fit(Dataset(other, SCHEMA), declared, 0)) != count, "the later rows say nothing"


def test_a_window_that_leaves_no_row_or_has_no_time_is_one_line() -> None:
    with pytest.raises(UserError, match=r"model\.stop_early\.last: all 400 training rows are within it; shorten it"):
        stopping.parts(rows(), timedelta(days=99))
    with pytest.raises(UserError, match=r"model\.stop_early: the rows have no time"):
        stopping.parts(Dataset(rows().frame.drop("event_time"), SCHEMA), timedelta(days=1))
    earlier, later = stopping.parts(rows(), timedelta(hours=100))
    assert (earlier.frame.height, later.frame.height) == (300, 100)
    assert earlier.frame["event_time"].max() < later.frame["event_time"].min()


def test_an_estimator_without_such_rounds_is_refused() -> None:
    steps = {"numeric": {"impute": "mean"}}
    logistic = {
        "_target_": "sklearn.linear_model.LogisticRegression",
        "preprocess": steps,
        "stop_early": {"last": "1d"},
    }
    with pytest.raises(UserError, match=r"model\.stop_early: LogisticRegression cannot be judged on later rows"):
        estimators.verify(Model.parse(logistic), "binary")
