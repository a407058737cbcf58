"""Every kind of column with every family of estimators: it is learnt from and served exactly, or refused by name."""

import contextlib
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest

from trunkline.conf.model import Model
from trunkline.core import graphs
from trunkline.core.arrays import Floats
from trunkline.core.dataset import Dataset, Schema, Split
from trunkline.core.errors import UserError
from trunkline.core.features import Feature, Role
from trunkline.core.graphs import MISSING
from trunkline.core.tasks import Task
from trunkline.pipeline.bundle import parity
from trunkline.pipeline.bundle.explain import explain
from trunkline.pipeline.bundle.onnx import ensemble, export
from trunkline.pipeline.evaluate import drift, reference
from trunkline.pipeline.train import estimators, fit, modelfile

ROWS = 60
RANDOM = np.random.default_rng(1)
KINDS: dict[str, tuple[Role, pl.Series]] = {
    "number": ("numeric", pl.Series(RANDOM.normal(size=ROWS))),
    "integer": ("numeric", pl.Series(RANDOM.integers(-5, 5, ROWS))),
    "boolean": ("numeric", pl.Series(RANDOM.random(ROWS) < 0.5)),
    "constant": ("numeric", pl.Series([2.5] * ROWS)),
    "text": ("categorical", pl.Series(RANDOM.choice(["a", "b", "é"], ROWS))),
    "one level": ("categorical", pl.Series(["a"] * ROWS)),
    "boolean as a category": ("categorical", pl.Series(RANDOM.random(ROWS) < 0.5)),
    "as many levels as rows": ("categorical", pl.Series([f"v{row}" for row in range(ROWS)])),
}
SOME = {"min_samples_leaf": 3, "max_depth": 4}
LIGHT = {"n_estimators": 3, "min_child_samples": 5, "verbosity": -1}
FAMILIES: dict[str, tuple[Task, dict[str, Any]]] = {
    "sklearn.linear_model.LogisticRegression": ("binary", {}),
    "sklearn.linear_model.Ridge": ("regression", {}),
    "sklearn.tree.DecisionTreeClassifier": ("binary", SOME),
    "sklearn.ensemble.RandomForestClassifier": ("binary", {"n_estimators": 3, **SOME}),
    "sklearn.ensemble.ExtraTreesRegressor": ("regression", {"n_estimators": 3, **SOME}),
    "sklearn.ensemble.HistGradientBoostingClassifier": ("binary", {"max_iter": 3, "min_samples_leaf": 5}),
    "sklearn.ensemble.HistGradientBoostingRegressor": ("regression", {"max_iter": 3, "min_samples_leaf": 5}),
    "lightgbm.LGBMClassifier": ("binary", LIGHT),
    "xgboost.XGBClassifier": ("binary", {"n_estimators": 3, "max_depth": 3}),
    "catboost.CatBoostClassifier": ("binary", {"iterations": 3, "depth": 3, "one_hot_max_size": 255}),
    "sklearn.dummy.DummyClassifier": ("binary", {"strategy": "prior"}),
    "sklearn.naive_bayes.GaussianNB": ("binary", {}),
}
NOT_COVERED = {"DummyClassifier", "GaussianNB"}


def table(task: Task, *columns: tuple[str, float]) -> Dataset:
    """A table of these kinds of columns, each with a share of values missing."""
    data: dict[str, pl.Series] = {}
    for place, (kind, share) in enumerate(columns):
        values = KINDS[kind][1]
        kept = pl.Series([row >= share * ROWS for row in range(ROWS)])
        data[f"c{place}"] = pl.select(pl.when(kept).then(values)).to_series()
    features = tuple(Feature(f"c{place}", KINDS[kind][0]) for place, (kind, _) in enumerate(columns))
    label = np.arange(ROWS) % 3 == 0 if task == "binary" else np.arange(ROWS) * 0.5
    return Dataset(pl.DataFrame(data | {"late": pl.Series(label)}), Schema(features, "late", "UTC", task))


def models(target: str, role: Role) -> Iterator[Model]:
    """The estimator with every preprocessing of a role that conf/model may declare for it."""
    task, parameters = FAMILIES[target]
    numbers = ({}, {"impute": "mean", "scale": "standard"})
    encodings = ("onehot", "ordinal", "native")
    steps = [{"numeric": numeric} for numeric in numbers]
    if role == "categorical":
        steps = [{"numeric": numbers[1], "categorical": {"encode": encode}} for encode in encodings]
    for preprocess in steps:
        model = Model.parse({"_target_": target, "preprocess": preprocess, **parameters})
        with contextlib.suppress(UserError):  # refused when composed
            estimators.verify(model, task)
            yield model


def graph_scores(graph: bytes, schema: Schema, features: pl.DataFrame) -> Floats:
    session = graphs.session(graph)
    feed: dict[str, Any] = {}
    if names := schema.of_role("numeric"):
        feed["numeric"] = features.select(names).to_numpy().astype(np.float64)
    if names := schema.of_role("categorical"):
        feed["categorical"] = features.select(pl.col(names).fill_null(MISSING)).to_numpy().astype(object)
    scores: Floats = session.run(["score"], feed)[0]
    return scores


def check(rows: Dataset, model: Model, path: Path) -> None:
    """Fit, save, load, score and export as the stages do, and compare the graph on odd rows."""
    modelfile.save(fit.fit(rows, model, 0), path)
    pipeline, schema = modelfile.load(path), rows.schema
    if (name := model.target.rpartition(".")[2]) in NOT_COVERED:
        with pytest.raises(ensemble.NotCovered, match=f"{name} is not covered by the exporter"):
            export.export(pipeline, schema)
        return
    graph = export.export(pipeline, schema)
    odd = parity.adversarial(rows, rows, export.thresholds(pipeline, schema), 0)
    expected, found = fit.scores(pipeline, odd), graph_scores(graph, schema, odd)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", FAMILIES, ids=lambda target: target.rpartition(".")[2])
def test_a_column_alone_is_served_exactly_or_refused_by_name(
    target: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no value missing, some or all."""
    monkeypatch.setattr(parity, "TOGETHER", 32)
    for model, share in itertools.product(models(target, KINDS[kind][0]), (0, 0.3, 1)):
        rows = table(FAMILIES[target][0], (kind, share))
        if share == 1 and "HistGradientBoosting" in target and model.preprocess.numeric.impute == "none":
            with pytest.raises(UserError, match=rf"'c0' has a value in 0 of {ROWS} rows.*hide it in conf/features"):
                check(rows, model, tmp_path / "model.skops")
        elif "CatBoost" in target and (share == 1 or KINDS[kind][1].n_unique() == 1):  # it refuses what says nothing
            with contextlib.suppress(UserError):  # but what is missing may say something
                check(rows, model, tmp_path / "model.skops")
        else:
            check(rows, model, tmp_path / "model.skops")


@pytest.mark.parametrize("share", [0, 0.3])
@pytest.mark.parametrize("target", FAMILIES, ids=lambda target: target.rpartition(".")[2])
def test_missing_numbers_beside_many_columns_of_categories(
    target: str, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where most of the encoded columns are 0, they are a sparse matrix, in which some estimators take no NaN."""
    monkeypatch.setattr(parity, "TOGETHER", 32)
    for model in models(target, "numeric"):
        rows = table(FAMILIES[target][0], ("as many levels as rows", 0), ("boolean", share), ("number", share))
        check(rows, model, tmp_path / "model.skops")


@pytest.mark.parametrize("target", ["sklearn.ensemble.HistGradientBoostingClassifier", "lightgbm.LGBMClassifier"])
def test_a_column_of_700_levels(target: str, tmp_path: Path) -> None:
    levels = pl.Series("c0", [f"v{row % 700}" for row in range(1400)])
    rows = Dataset(
        pl.DataFrame([levels, pl.Series("late", np.arange(1400) % 700 % 3 == 0)]),
        Schema((Feature("c0", "categorical"),), "late", "UTC"),
    )
    for model in models(target, "categorical"):
        check(rows, model, tmp_path / "model.skops")


def test_columns_of_booleans_are_explained_and_watched() -> None:
    rows = table("binary", ("boolean", 0.3), ("number", 0), ("boolean as a category", 0))
    [model] = list(models("lightgbm.LGBMClassifier", "categorical"))[2:]
    pipeline = fit.fit(rows, model, 0)
    assert explain.explain(pipeline, rows, rows, 0)
    counted = reference.histograms(rows, fit.scores(pipeline, rows.features))
    assert {shift.psi for shift in drift.shifts(counted, rows.features).values()} == {0.0}


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_number_of_either_part_is_named(value: float, tmp_path: Path) -> None:
    """Where it is only in the holdout, no training has seen it."""
    rows = table("binary", ("number", 0.3), ("boolean", 0))
    rows.schema.write(tmp_path)
    infinite = rows.frame.with_columns(c0=pl.when(pl.int_range(ROWS) == 7).then(value).otherwise("c0"))
    for split, other in itertools.permutations(get_args(Split)):
        infinite.write_parquet(tmp_path / f"{split}.parquet")
        rows.frame.write_parquet(tmp_path / f"{other}.parquet")
        assert Dataset.read(other, tmp_path).frame.height == ROWS
        with pytest.raises(UserError, match=rf"{split}.parquet: 'c0' is infinite, first in row 7; fix conf/features"):
            Dataset.read(split, tmp_path)
