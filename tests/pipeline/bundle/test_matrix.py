"""Every common estimator with every encoding and step: an exact graph, or the pipeline itself, as docs/bundle.md says.

The tables are written by `python -m tests.pipeline.bundle.test_matrix`.
"""

import math
import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest

from tests.pipeline.bundle.onnx.test_export import scores
from trunkline.conf.model import Model
from trunkline.core import files
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.core.features import Feature
from trunkline.core.tasks import Task
from trunkline.pipeline.bundle import parity
from trunkline.pipeline.bundle.onnx import ensemble, export
from trunkline.pipeline.train import estimators, fit, modelfile

PAGE = Path(__file__).parents[3] / "docs" / "bundle.md"
ENCODINGS = ("onehot", "ordinal", "native")
ROWS = 160
TREE = {"max_depth": 4}
LOGISTIC = {"_target_": "sklearn.linear_model.LogisticRegression"}
RIDGE = {"_target_": "sklearn.linear_model.Ridge"}
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "sklearn.linear_model.LogisticRegression": {},
    "sklearn.linear_model.LogisticRegressionCV": {"Cs": 2, "cv": 3, "use_legacy_attributes": False, "l1_ratios": [0.0]},
    "sklearn.linear_model.SGDClassifier": {"loss": "log_loss"},
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis": {},
    "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis": {"reg_param": 0.5},
    "sklearn.tree.DecisionTreeClassifier": TREE,
    "sklearn.ensemble.RandomForestClassifier": {"n_estimators": 5, **TREE},
    "sklearn.ensemble.ExtraTreesClassifier": {"n_estimators": 5, **TREE},
    "sklearn.ensemble.GradientBoostingClassifier": {"n_estimators": 8},
    "sklearn.ensemble.HistGradientBoostingClassifier": {"max_iter": 8, "min_samples_leaf": 5},
    "lightgbm.LGBMClassifier": {"n_estimators": 8, "min_child_samples": 5, "verbosity": -1},
    "xgboost.XGBClassifier": {"n_estimators": 8, "max_depth": 4},
    "xgboost.XGBRFClassifier": {"n_estimators": 8, "max_depth": 4},
    "catboost.CatBoostClassifier": {"iterations": 8, "depth": 4, "one_hot_max_size": 255},
    "sklearn.ensemble.AdaBoostClassifier": {"n_estimators": 5},
    "sklearn.ensemble.BaggingClassifier": {"n_estimators": 4},
    "sklearn.ensemble.VotingClassifier": {"estimators": [["a", LOGISTIC], ["b", LOGISTIC]], "voting": "soft"},
    "sklearn.ensemble.StackingClassifier": {"estimators": [["a", LOGISTIC]], "final_estimator": LOGISTIC, "cv": 3},
    "sklearn.calibration.CalibratedClassifierCV": {"estimator": LOGISTIC, "cv": 3},
    "sklearn.model_selection.FixedThresholdClassifier": {"estimator": LOGISTIC, "threshold": 0.3},
    "sklearn.model_selection.TunedThresholdClassifierCV": {"estimator": LOGISTIC, "cv": 3},
    "sklearn.naive_bayes.GaussianNB": {},
    "sklearn.naive_bayes.BernoulliNB": {},
    "sklearn.neighbors.KNeighborsClassifier": {},
    "sklearn.gaussian_process.GaussianProcessClassifier": {},
    "sklearn.neural_network.MLPClassifier": {"hidden_layer_sizes": [4], "max_iter": 20, "tol": 10.0},
    "sklearn.dummy.DummyClassifier": {"strategy": "prior"},
}
REGRESSORS: dict[str, dict[str, Any]] = {
    **{f"sklearn.linear_model.{name}": {} for name in ("LinearRegression", "Ridge", "Lasso", "ElasticNet", "RidgeCV")},
    **{f"sklearn.linear_model.{name}": {} for name in ("BayesianRidge", "HuberRegressor", "SGDRegressor", "Lars")},
    **{f"sklearn.linear_model.{name}": {} for name in ("PoissonRegressor", "GammaRegressor", "TweedieRegressor")},
    "sklearn.linear_model.QuantileRegressor": {"alpha": 0.01},
    "sklearn.svm.LinearSVR": {},
    "sklearn.svm.SVR": {},
    "sklearn.tree.DecisionTreeRegressor": TREE,
    "sklearn.ensemble.RandomForestRegressor": {"n_estimators": 5, **TREE},
    "sklearn.ensemble.ExtraTreesRegressor": {"n_estimators": 5, **TREE},
    "sklearn.ensemble.GradientBoostingRegressor": {"n_estimators": 8},
    "sklearn.ensemble.HistGradientBoostingRegressor": {"max_iter": 8, "min_samples_leaf": 5},
    "lightgbm.LGBMRegressor": {"n_estimators": 8, "min_child_samples": 5, "verbosity": -1},
    "xgboost.XGBRegressor": {"n_estimators": 8, "max_depth": 4},
    "xgboost.XGBRFRegressor": {"n_estimators": 8, "max_depth": 4},
    "catboost.CatBoostRegressor": {"iterations": 8, "depth": 4, "one_hot_max_size": 255},
    "sklearn.ensemble.AdaBoostRegressor": {"n_estimators": 5},
    "sklearn.ensemble.BaggingRegressor": {"n_estimators": 4},
    "sklearn.ensemble.VotingRegressor": {"estimators": [["a", RIDGE], ["b", RIDGE]]},
    "sklearn.ensemble.StackingRegressor": {"estimators": [["a", RIDGE]], "cv": 3},
    "sklearn.neighbors.KNeighborsRegressor": {},
    "sklearn.gaussian_process.GaussianProcessRegressor": {"alpha": 0.1},
    "sklearn.neural_network.MLPRegressor": {"hidden_layer_sizes": [4], "max_iter": 20, "tol": 10.0},
    "sklearn.kernel_ridge.KernelRidge": {},
}
NUMERIC: dict[str, dict[str, Any]] = {
    "scale: standard": {"scale": "standard"},
    "scale: min_max": {"scale": "min_max"},
    "scale: robust": {"scale": "robust"},
    "scale: quantile": {"scale": "quantile"},
    "interactions: pairs": {"interactions": "pairs"},
    "spline": {"scale": "standard", "spline": {}},
    "spline, at: uniform": {"spline": {"at": "uniform", "degree": 2}},
    "pca": {"scale": "standard", "pca": {"components": 2}},
    "spline and pca": {"scale": "standard", "spline": {}, "pca": {"components": 0.9}},
}
TEXT = {f"text: {name}": {"features": ["kind"], "vectorize": name, "columns": 8} for name in ("tfidf", "hashing")}
SELECT: dict[str, dict[str, Any]] = {
    "select: variance": {"variance": 0.1},
    "select: best": {"best": {"score": "f_classif", "k": 3}},
    "select: from_model": {"from_model": {"estimator": LOGISTIC, "threshold": "median"}},
}
STEPS: dict[str, dict[str, Any]] = {
    **{name: {"numeric": {"impute": "median", **steps}} for name, steps in NUMERIC.items()},
    **{name: {"numeric": {"impute": "median"}, "select": steps} for name, steps in SELECT.items()},
    **{name: {"numeric": {"impute": "median"}, "text": steps} for name, steps in TEXT.items()},
}
BEHIND = {
    name: CLASSIFIERS[f"sklearn.{name}"] | {"_target_": f"sklearn.{name}"}
    for name in ("linear_model.LogisticRegression", "neural_network.MLPClassifier", "ensemble.RandomForestClassifier")
} | {name: CLASSIFIERS[name] | {"_target_": name} for name in ("lightgbm.LGBMClassifier", "xgboost.XGBClassifier")}
RANKERS: dict[str, dict[str, Any]] = {
    "lightgbm.LGBMRanker": {"n_estimators": 8, "min_child_samples": 5, "verbosity": -1},
    "xgboost.XGBRanker": {"n_estimators": 8, "max_depth": 4},
}
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PARAMETERS = CLASSIFIERS | REGRESSORS | RANKERS
TARGETS = list(PARAMETERS)


def task_of(target: str) -> Task:
    return "binary" if target in CLASSIFIERS else "ranking" if target in RANKERS else "regression"


def rows(task: Task) -> Dataset:
    """Few rows with what is odd: ties, constants, missing values, rare texts."""
    random = np.random.default_rng(11)
    kind = random.choice(["a", "b", "", "rare", None], ROWS, p=[0.4, 0.3, 0.15, 0.05, 0.1])
    x, y = random.normal(size=ROWS), random.integers(-3, 4, ROWS) / 4
    signal = x + y + (kind == "a") + random.normal(size=ROWS)
    label = np.exp(signal / 2) if task == "regression" else (signal > 0.4).astype(int)
    frame = pl.DataFrame({"kind": kind.tolist(), "x": np.where(y < 0.6, x, np.nan), "y": y, "late": label})
    features = (Feature("kind", "categorical"), Feature("x", "numeric"), Feature("y", "numeric"))
    frame = frame.with_columns(pl.col("x").fill_nan(None), query=pl.Series(range(ROWS)) // 8)
    return Dataset(frame, Schema(features, "late", "UTC", task, group=("query",) if task == "ranking" else ()))


def model(target: str, encode: str) -> Model:
    """The estimator with missing values as they are, where it takes them."""
    parameters = PARAMETERS[target]
    steps = {"numeric": {"impute": "none"}, "categorical": {"encode": encode, "min_frequency": 10}}
    plain = Model.parse({"_target_": target, "preprocess": steps, **parameters})
    try:
        estimators.verify(plain, task_of(target))
    except UserError:
        steps["numeric"] = {"impute": "median", "scale": "standard"}
        return Model.parse({"_target_": target, "preprocess": steps, **parameters})
    return plain


@cache
def cell(target: str, encode: str) -> str:
    """What the table says: the power of ten above the graph's largest difference; else the pipeline; or nothing."""
    declared, data, task = model(target, encode), rows(task_of(target)), task_of(target)
    if encode == "native" and estimators.native_support(estimators.build(declared, 0)) is None:
        return ""
    return outcome(declared, data, task)


@cache
def behind(name: str, steps: str) -> str:
    """The same of an estimator behind steps."""
    return outcome(Model.parse(BEHIND[name] | {"preprocess": STEPS[steps]}), rows("binary"), "binary")


def outcome(declared: Model, data: Dataset, task: Task) -> str:
    """What a model becomes."""
    estimators.verify(declared, task)
    pipeline = fit.fit(data, declared, 3)
    try:
        graph = export.export(pipeline, data.schema)
    except ensemble.NotCovered:
        return _as_pipeline(pipeline, data)
    with patch.object(parity, "TOGETHER", 512):
        odd = parity.adversarial(data, data, export.thresholds(pipeline, data.schema), 1)
    compared = parity.compare(
        lambda frame: fit.scores(pipeline, frame),
        lambda frame: scores(graph, frame, data.schema),
        data.features,
        odd,
        task,
    )
    assert compared.holds(1e-9), f"{declared}: the graph differs by {compared.difference}"
    power = round(math.log10(compared.report().difference_below))
    return f"graph, 10{str(power).translate(SUPERSCRIPTS)}"


def _as_pipeline(pipeline: Any, data: Dataset) -> str:
    """The fallback is a file without pickle that scores the same."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.skops"
        modelfile.save(pipeline, path)
        features = data.features
        np.testing.assert_array_equal(fit.scores(modelfile.load(path), features), fit.scores(pipeline, features))
    return "pipeline"


def row(target: str) -> str:
    return f"| `{target}` | {' | '.join(cell(target, encode) for encode in ENCODINGS)} |"


def row_of_steps(steps: str) -> str:
    return f"| `{steps}` | {' | '.join(behind(name, steps) for name in BEHIND)} |"


TABLES = {
    "estimators": ("estimator", ENCODINGS, row, TARGETS),
    "steps": ("step", [f"`{name.rpartition('.')[2]}`" for name in BEHIND], row_of_steps, list(STEPS)),
}


def parts(name: str) -> tuple[str, str, str]:
    """What is before a table in the page, the table, and what is after it."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, opened, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    inside, closed, after = rest.partition(end)
    assert opened, f"{PAGE} has no {begin}"
    assert closed, f"{PAGE} has no {end}"
    return before + opened, inside, closed + after


def lines(name: str) -> dict[str, str]:
    """The lines of a table in the page, by their first column."""
    return {line.split("`")[1]: line for line in parts(name)[1].splitlines()[2:]}


@pytest.mark.filterwarnings("ignore")  # of iterations that do not converge, and of numbers that exp makes infinite
@pytest.mark.parametrize("target", TARGETS)
def test_every_estimator_is_exact_or_falls_back_as_the_table_says(target: str) -> None:
    assert row(target) == lines("estimators")[target], "if that is right: python -m tests.pipeline.bundle.test_matrix"
    assert list(lines("estimators")) == TARGETS


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps", STEPS)
def test_every_step_is_exact_or_falls_back_as_the_table_says(steps: str) -> None:
    assert row_of_steps(steps) == lines("steps")[steps], "if that is right: python -m tests.pipeline.bundle.test_matrix"
    assert list(lines("steps")) == list(STEPS)


def main() -> None:
    """Write the tables into docs/bundle.md."""
    for name, (first, others, of, keys) in TABLES.items():
        before, _, after = parts(name)
        head = [f"| {first} | {' | '.join(others)} |", "|---" * (1 + len(others)) + "|"]
        table = "\n".join([*head, *map(of, keys)])
        files.write_text(PAGE, f"{before}{table}\n{after}")


if __name__ == "__main__":
    main()
