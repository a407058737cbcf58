"""Columns are selected as scikit-learn does it, of training rows alone, and what cannot be is refused by its key."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.feature_selection import (
    SelectFromModel,
    SelectKBest,
    SelectPercentile,
    chi2,
    f_classif,
    mutual_info_classif,
)

from tests.pipeline.train import test_stopping as later
from tests.pipeline.train.test_fit import roles, synthetic
from trunkline.conf.model import Model
from trunkline.core.errors import UserError
from trunkline.core.tasks import Task
from trunkline.pipeline.train import estimators, fit, modelfile

LOGISTIC = "sklearn.linear_model.LogisticRegression"
RIDGE = "sklearn.linear_model.Ridge"
SCALED = {"impute": "median", "scale": "min_max"}
TREES = {"n_estimators": 9, "max_depth": 4}
BY_TREES = {"_target_": "sklearn.ensemble.ExtraTreesClassifier", **TREES}


def model(select: Any, target: str = LOGISTIC, numeric: Any = SCALED, encode: str = "onehot", **steps: Any) -> Model:
    preprocess = {"numeric": numeric, "categorical": {"encode": encode}, "select": select, **steps}
    return Model.parse({"_target_": target, "preprocess": preprocess})


def best(score: str, **size: Any) -> dict[str, Any]:
    return {"best": {"score": score, **size}}


SELECTORS: dict[str, tuple[dict[str, Any], Any]] = {
    "f_classif": (best("f_classif", k=5), SelectKBest(f_classif, k=5)),
    "chi2": (best("chi2", percentile=40), SelectPercentile(chi2, percentile=40)),
    "mutual information": (
        best("mutual_info_classif", k=5),
        SelectKBest(lambda x, y: mutual_info_classif(x, y, discrete_features=False, random_state=3), k=5),
    ),
    "from_model": (
        {"from_model": {"estimator": BY_TREES}},
        SelectFromModel(ExtraTreesClassifier(**TREES, random_state=3), threshold="mean"),
    ),
}


@pytest.mark.parametrize("name", SELECTORS)
def test_it_is_scikit_learns_selection_the_same_for_any_number_of_threads(name: str, tmp_path: Path) -> None:
    declared, peer = SELECTORS[name]
    rows = roles(synthetic(800), "kind", "x0", "x1", "x2", "x3")
    fitted = [fit.fit(rows, model(declared), seed=3, threads=threads) for threads in (1, 3)]
    matrix = fitted[0][0].transform(fit.inputs(rows.features))
    matrix = matrix.toarray() if hasattr(matrix, "toarray") else matrix
    expected = peer.fit(matrix, rows.label.to_numpy()).get_support()
    assert 0 < expected.sum() < len(expected)
    np.testing.assert_array_equal(fitted[0][1].get_support(), expected)
    for number, pipeline in enumerate(fitted):
        modelfile.save(pipeline, tmp_path / f"{number}.skops")
    assert (tmp_path / "0.skops").read_bytes() == (tmp_path / "1.skops").read_bytes()
    loaded = modelfile.load(tmp_path / "0.skops")
    np.testing.assert_array_equal(fit.scores(loaded, rows.features), fit.scores(fitted[0], rows.features))


def test_rows_that_judge_rounds_have_no_say_in_what_is_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, own = [], SelectKBest.fit
    monkeypatch.setattr(SelectKBest, "fit", lambda self, x, y: seen.append(len(x)) or own(self, x, y))
    steps = {"numeric": {"impute": "mean"}, "select": best("f_classif", k=2)}
    target = "lightgbm.LGBMClassifier"
    declared = Model.parse(
        {"_target_": target, "preprocess": steps, "stop_early": {"last": "100h"}, **later.FAMILIES[target]}
    )
    fit.fit(later.rows(), declared, 0)
    assert seen == [300, 400]


@pytest.mark.parametrize(
    ("declared", "task", "message"),
    [
        (
            model(best("f_regression", k=2)),
            "binary",
            "model.preprocess.select.best.score: f_regression is not for data.target.task: binary; use f_classif or",
        ),
        (
            model(best("chi2", k=2), RIDGE),
            "regression",
            "model.preprocess.select.best.score: chi2 is not for data.target.task: regression; use f_regression or",
        ),
        (
            model(best("chi2", k=2), numeric={"impute": "mean"}),
            "binary",
            "chi2 takes no number below 0, as model.preprocess.numeric.scale: none may make; use f_classif",
        ),
        (
            model(best("chi2", k=2), numeric=SCALED | {"pca": {"components": 1}}),
            "binary",
            "chi2 takes no number below 0, as model.preprocess.numeric.pca may make",
        ),
        (
            model(best("chi2", k=2), encode="ordinal"),
            "binary",
            "chi2 takes no number below 0, as model.preprocess.categorical.encode: ordinal may make",
        ),
        (
            model(best("chi2", k=2), text={"features": ["kind"], "vectorize": "hashing"}),
            "binary",
            "chi2 takes no number below 0, as model.preprocess.text.vectorize: hashing may make",
        ),
        (
            model(best("f_classif", k=2), "lightgbm.LGBMClassifier", numeric={}),
            "binary",
            "model.preprocess.numeric.impute: select.best takes no missing values; use mean, median or zero",
        ),
        (
            model({"from_model": {"estimator": {"_target_": LOGISTIC}}}, "lightgbm.LGBMClassifier", numeric={}),
            "binary",
            "model.preprocess.numeric.impute: select.from_model by LogisticRegression takes no missing values",
        ),
        (
            model({"from_model": {"estimator": {"_target_": "sklearn.linear_model.Lass"}}}),
            "binary",
            "select.from_model.estimator._target_: 'sklearn.linear_model.Lass' is not a classifier or regressor, nor a "
            "ranker; did you mean 'Lasso'?",
        ),
        (
            model({"from_model": {"estimator": {"_target_": "sklearn.neighbors.KNeighborsClassifier"}}}),
            "binary",
            "select.from_model.estimator._target_: KNeighborsClassifier is none of those that may select: Logistic",
        ),
        (
            model({"from_model": {"estimator": {"_target_": "sklearn.linear_model.Lasso"}}}),
            "binary",
            "select.from_model.estimator._target_: Lasso is no classifier, which data.target.task: binary needs",
        ),
        (
            model({"from_model": {"estimator": BY_TREES | {"n_jobs": 2}}}),
            "binary",
            "model.preprocess.select.from_model.estimator.n_jobs: is not set here; set TRUNKLINE_THREADS",
        ),
        (
            model({"from_model": {"estimator": {"alpha": 1}}}),
            "binary",
            "model.preprocess.select.from_model.estimator._target_: must be text",
        ),
        (
            model({"variance": 0}, "lightgbm.LGBMClassifier", numeric={}, encode="native"),
            "binary",
            "native names columns by their place, which model.preprocess.select moves; use onehot",
        ),
        (
            model(None, "lightgbm.LGBMClassifier", numeric={"interactions": "pairs"}),
            "binary",
            "model.preprocess.numeric.impute: interactions takes no missing values; use mean, median or zero",
        ),
        (
            model(best("f_classif", k=2), "sklearn.neighbors.KNeighborsClassifier"),
            "multilabel",
            "model.preprocess.select: best and from_model look at one label, and there are several; use variance",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(declared: Model, task: Task, message: str) -> None:
    with pytest.raises(UserError) as caught:
        estimators.verify(declared, task)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("select", "message"),
    [
        (best("f_clasif", k=2), r"model\.preprocess\.select\.best\.score: .*f_classif"),
        (best("f_classif"), r"model\.preprocess\.select\.best: .*declare either k or percentile"),
        (best("f_classif", k=2, percentile=2), r"model\.preprocess\.select\.best: .*declare either k or percentile"),
        (best("f_classif", k=0), r"model\.preprocess\.select\.best\.k"),
        (best("f_classif", percentile=101), r"model\.preprocess\.select\.best\.percentile"),
        ({}, r"model\.preprocess\.select: .*declare variance, best or from_model"),
        ({"variance": -1}, r"model\.preprocess\.select\.variance"),
        (
            {"from_model": {"estimator": BY_TREES, "threshold": "most"}},
            r"model\.preprocess\.select\.from_model\.thresh",
        ),
    ],
)
def test_what_means_nothing_is_refused_by_its_key(select: Any, message: str) -> None:
    content = {"_target_": LOGISTIC, "preprocess": {"numeric": SCALED, "select": select}}
    with pytest.raises(UserError, match=message):
        Model.of({"model": content}, "params.yaml")


@pytest.mark.parametrize(
    ("select", "message"),
    [
        (best("f_classif", k=9999), r"k=9999 is greater than n_features=\d+"),
        ({"variance": 50}, r"No feature in X meets the variance threshold 50"),
        ({"from_model": {"estimator": BY_TREES, "threshold": 2.0}}, r"No features were selected"),
    ],
)
def test_more_than_there_is_and_nothing_at_all_are_one_line(select: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"^model\.preprocess\.select: {message}[^\n]*$"):
        fit.fit(roles(synthetic(400), "kind", "x0"), model(select), 3)
