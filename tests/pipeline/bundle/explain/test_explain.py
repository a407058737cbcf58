"""Explanations: they add up for every kind of estimator, are the same again, and nothing breaks the picture."""

import os
import subprocess
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from trunkline.conf.model import Model
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.features import Feature
from trunkline.pipeline.bundle.explain import explain, permutation
from trunkline.pipeline.bundle.explain import picture as explain_picture
from trunkline.pipeline.bundle.explain import shap as explain_shap
from trunkline.pipeline.train import fit

ENSEMBLE, LINEAR = "sklearn.ensemble", "sklearn.linear_model"
NATIVE = {"categorical": {"encode": "native"}}
ONEHOT = {
    "numeric": {"impute": "median", "scale": "standard"},
    "categorical": {"encode": "onehot", "min_frequency": 30},
}
SPLINES = ONEHOT | {"numeric": {"impute": "median", "spline": {"knots": 4}}}
COMPONENTS = ONEHOT | {"numeric": {"impute": "median", "pca": {"components": 2}}}
PRODUCTS = ONEHOT | {"numeric": {"impute": "median", "interactions": "pairs"}}
SELECTED = ONEHOT | {"select": {"variance": 0, "best": {"score": "f_classif", "k": 4}}}
ORDINAL = {"numeric": {"impute": "median"}, "categorical": {"encode": "ordinal"}}
LIGHT = {"n_estimators": 20, "verbosity": -1}
LINEAR_TREES = LIGHT | {"linear_tree": True}
CAT = {"iterations": 20, "one_hot_max_size": 255}
PATH = "TreeSHAP, tree path dependent, by "
DISTANCE = "coefficient times distance from the training mean"
SAMPLED = "permutation sampling by shap"
KINDS = [
    (f"{ENSEMBLE}.HistGradientBoostingClassifier", {"max_iter": 20}, NATIVE, f"{PATH}trunkline.treeshap", "log-odds"),
    (f"{ENSEMBLE}.HistGradientBoostingRegressor", {"max_iter": 20}, ONEHOT, f"{PATH}trunkline.treeshap", "prediction"),
    (f"{ENSEMBLE}.RandomForestClassifier", {"n_estimators": 8, "max_depth": 6}, ORDINAL, f"{PATH}shap", "probability"),
    (f"{ENSEMBLE}.GradientBoostingClassifier", {"n_estimators": 8}, ORDINAL, f"{PATH}shap", "log-odds"),
    ("sklearn.tree.DecisionTreeRegressor", {"max_depth": 4}, ORDINAL, f"{PATH}shap", "prediction"),
    ("lightgbm.LGBMClassifier", LIGHT, NATIVE, f"{PATH}LightGBM", "log-odds"),
    ("lightgbm.LGBMRegressor", LIGHT, NATIVE, f"{PATH}LightGBM", "prediction"),
    ("lightgbm.LGBMRegressor", LINEAR_TREES, NATIVE, SAMPLED, "prediction"),
    ("xgboost.XGBClassifier", {"n_estimators": 20}, NATIVE, f"{PATH}XGBoost", "log-odds"),
    ("catboost.CatBoostClassifier", CAT, NATIVE, f"{PATH}CatBoost", "log-odds"),
    ("catboost.CatBoostRegressor", CAT, ONEHOT, f"{PATH}CatBoost", "prediction"),
    (f"{LINEAR}.LogisticRegression", {}, ONEHOT, DISTANCE, "log-odds"),
    (f"{LINEAR}.Ridge", {}, ONEHOT, DISTANCE, "prediction"),
    (f"{LINEAR}.LogisticRegression", {"max_iter": 500}, SPLINES, DISTANCE, "log-odds"),
    (f"{LINEAR}.Ridge", {}, COMPONENTS, SAMPLED, "prediction"),
    (f"{LINEAR}.Ridge", {}, PRODUCTS, SAMPLED, "prediction"),
    (f"{LINEAR}.LogisticRegression", {}, SELECTED, DISTANCE, "log-odds"),
    ("lightgbm.LGBMClassifier", LIGHT, SELECTED, f"{PATH}LightGBM", "log-odds"),
    (f"{LINEAR}.PoissonRegressor", {}, ONEHOT, SAMPLED, "prediction"),
    ("sklearn.naive_bayes.GaussianNB", {}, ORDINAL, SAMPLED, "probability"),
]


def dataset(rows=900, seed=5):
    random = np.random.default_rng(seed)
    kind = random.choice(["a", "a_b", "<b>", "", "rare", None], rows, p=[0.4, 0.29, 0.18, 0.1, 0.01, 0.02])
    frame = pl.DataFrame({"kind": kind.tolist(), "strong": random.normal(size=rows), "weak": random.normal(size=rows)})
    signal = 2 * frame["strong"].to_numpy() + (kind == "a_b") + random.normal(size=rows)
    frame = frame.with_columns(constant=pl.lit(1), strong=pl.when(pl.col("weak") < 1).then("strong"))
    features = [("kind", "categorical"), ("strong", "numeric"), ("constant", "numeric"), ("weak", "numeric")]
    schema = Schema(tuple(Feature(*feature) for feature in features), "late", "UTC")
    return Dataset(frame.with_columns(late=pl.Series(signal > 0).cast(pl.Int8)), schema)


def fitted(target, parameters, preprocess):
    return fit.fit(dataset(), Model.parse({"_target_": target, "preprocess": preprocess, **parameters}), seed=3)


@pytest.fixture(scope="module")
def boosting():
    return fitted(*KINDS[0][:3])


@pytest.mark.parametrize(("target", "parameters", "preprocess", "method", "output"), KINDS)
def test_the_values_of_a_row_add_up_to_its_score(target, parameters, preprocess, method, output):
    pipeline, rows = fitted(target, parameters, preprocess), dataset(60, seed=6).features
    found = explain_shap.attributions(pipeline, dataset(), rows, seed=1)
    assert (found.method, found.output, found.exact) == (method, output, method != SAMPLED)
    assert found.values.shape == (60, 4)
    total, scores = found.values.sum(axis=1) + found.base, fit.scores(pipeline, rows)
    assert (1 / (1 + np.exp(-total)) if output == "log-odds" else total) == pytest.approx(
        scores,
        abs=1e-6 if "XGBoost" in method else 1e-9,  # XGBoost makes them in single precision
    )
    assert not found.values[:, 2].any()  # the constant adds nothing
    assert np.abs(found.values).mean(axis=0).argmax() == 1


def test_onehot_columns_are_one_feature_again():
    pipeline, rows = fitted(f"{LINEAR}.Ridge", {}, ONEHOT), dataset(60, seed=6).features
    assert len(pipeline[0].get_feature_names_out()) == 3 + 5  # numbers; four categories, and the rare ones as one
    found = explain_shap.attributions(pipeline, dataset(), rows, seed=1).values[:, 0]
    for kind in rows["kind"].unique():
        values = found[rows["kind"].eq_missing(kind).to_numpy()]
        assert values == pytest.approx(values[0])


def test_values_that_do_not_add_up_are_not_believed(boosting, monkeypatch):
    """As it is with the package shap and splits on categories."""
    monkeypatch.setattr(explain_shap, "_HISTOGRAM", ())
    monkeypatch.setattr(explain_shap, "_FORESTS", (HistGradientBoostingClassifier,))
    small = SimpleNamespace(tree_=SimpleNamespace(n_leaves=1, max_depth=1))  # where the work of shap is counted
    monkeypatch.setattr(boosting[-1], "estimators_", [small], raising=False)
    found = explain_shap.attributions(boosting, dataset(), dataset(60, seed=6).features[:20], seed=1)
    assert (found.method, found.exact) == (SAMPLED, False)


def test_shuffling_costs_what_the_model_leans_on(boosting):
    found = permutation.permutation(boosting, dataset(3000, seed=7), seed=1)
    assert found.drops["constant"] == permutation.Drop(0, 0, 0)
    assert found.drops["strong"].lowest > 0.15
    assert all(drop.lowest <= drop.mean <= drop.highest for drop in found.drops.values())
    assert found.drops["strong"].lowest < found.drops["strong"].highest
    assert permutation.permutation(boosting, dataset(3000, seed=7), seed=1) == found
    assert permutation.permutation(boosting, dataset(3000, seed=7), seed=2) != found


def test_work_is_bounded(boosting, monkeypatch):
    monkeypatch.setattr(permutation, "PERMUTED_ROWS", 200)
    monkeypatch.setattr(explain, "SHAP_ROWS", 100)
    content = explain.explain(boosting, dataset(), dataset(seed=7), seed=1).as_dict()
    assert (content["permutation"]["rows"], content["shap"]["rows"]) == (200, 100)
    assert permutation.sample(dataset().frame, 5, 1).equals(permutation.sample(dataset().frame, 9, 1)[:5])


NAMES = ["$x^2$", "<script>&", "a" * 60, "a" * 40 + "b" * 20, *(f"f{place}" for place in range(17))]
ELSEWHERE = """
import sys
from tests.pipeline.bundle.explain.test_explain import explanations
from trunkline.pipeline.bundle.explain import picture
sys.stdout.write(picture.draw(explanations()))
"""


def explanations():
    drops = {name: permutation.Drop(0.1 / (place + 1), -0.01, 0.2) for place, name in enumerate(NAMES)}
    absolute = {name: 0.2 / (place + 1) for place, name in enumerate(NAMES)}
    shap = explain.Shap(SAMPLED, False, "log-odds", 10, 0.0, absolute)
    return explain.Explanations(permutation.Permutation("roc_auc", 0.8, 9, 5, drops), shap)


def test_the_picture_has_the_same_bytes_whatever_the_users_settings(tmp_path, root):
    settings = "font.family: serif\nlines.linewidth: 7\nsvg.fonttype: none\naxes.grid: True\n"
    (tmp_path / "matplotlibrc").write_text(settings)
    environment = os.environ | {"MPLCONFIGDIR": str(tmp_path)}
    command = [sys.executable, "-c", ELSEWHERE]
    elsewhere = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True).stdout
    assert elsewhere == explain_picture.draw(explanations())
    assert "<dc:date>" not in elsewhere
    assert "<text" not in elsewhere  # letters are paths: no font is needed to see it


def test_the_picture_takes_any_name_and_shows_the_largest_only():
    picture = explain_picture.draw(explanations())
    ElementTree.fromstring(picture)
    assert "<script" not in picture
    assert "<!-- f10 -->" in picture  # a text, beside its paths
    assert "<!-- f11 -->" not in picture
