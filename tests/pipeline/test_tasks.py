"""Regressions and several classes: their metrics are scikit-learn's, their graphs exact, their explanations add up."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from sklearn import metrics as sklearn_metrics

from tests.pipeline.bundle.onnx.test_export import ALL, dataset, model, schema_of, scores, steps
from trunkline.conf.evaluation import Evaluation
from trunkline.conf.model import Model
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.core.features import Feature
from trunkline.pipeline.bundle import parity
from trunkline.pipeline.bundle.explain import explain, picture, shap
from trunkline.pipeline.bundle.onnx import export
from trunkline.pipeline.evaluate import curves
from trunkline.pipeline.evaluate.metrics import registry
from trunkline.pipeline.evaluate.metrics.kinds import Sample, measure, point
from trunkline.pipeline.gate import calibration, distortions
from trunkline.pipeline.train import estimators, fit

CLASSES = ("no", "perhaps", "ja, sicher")
SEVERAL = [
    *("logistic", "logistic, robust, target", "forest", "forest, missing", "extra trees", "tree"),
    *("histogram", "histogram, scaled", "histogram, target", "lightgbm", "lightgbm, dart", "lightgbm, random forest"),
    *("vote", "network"),
    *("xgboost", "xgboost, parallel trees", "catboost", "catboost, depthwise"),
]


def several(name: str, rows: int = 1200) -> Dataset:
    """The rows of the exporter's tests with three classes, text, instead of two."""
    schema = Schema(schema_of(ALL[name]).features, "late", "UTC", "multiclass", CLASSES)
    found, random = dataset(schema, rows).frame, np.random.default_rng(3)
    place = found["late"].to_numpy() + (random.random(rows) < 0.4)
    return Dataset(found.with_columns(late=pl.Series([CLASSES[p] for p in place])), schema)


def chances(rows: int, seed: int) -> tuple[Any, Any, Any]:
    """Labels of three classes, scores, and clusters."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, rows)
    found = special.softmax(random.normal(size=(rows, 3)).round(1) + 2 * np.eye(3)[labels], axis=1)
    return labels, found, random.integers(0, 7, rows)


def drawn(labels: Any, found: Any, clusters: Any, task: Any, seed: int) -> tuple[Sample, Any, Any]:
    """A sample, the counts of some resamples, and the weight of each row on each of them."""
    counts = np.random.default_rng(seed + 1).integers(0, 3, (4, 7))
    return Sample(labels, found, clusters, task, naive_error=NAIVE_ERROR), counts, counts[:, clusters]


NAIVE_ERROR = 1.7

REFERENCE = {
    "log_loss": lambda y, p, w: sklearn_metrics.log_loss(y, p, sample_weight=w, labels=[0, 1, 2]),
    "brier": lambda y, p, w: np.average(np.square(p - np.eye(3)[y]).sum(axis=1), weights=w),
    "accuracy": lambda y, p, w: sklearn_metrics.accuracy_score(y, p.argmax(axis=1), sample_weight=w),
    "macro_f1": lambda y, p, w: sklearn_metrics.f1_score(y, p.argmax(axis=1), sample_weight=w, average="macro"),
    "balanced_accuracy": lambda y, p, w: sklearn_metrics.balanced_accuracy_score(y, p.argmax(axis=1), sample_weight=w),
    "roc_auc_ovr": lambda y, p, w: np.mean(
        [sklearn_metrics.roc_auc_score(y == k, p[:, k], sample_weight=w) for k in range(3)]
    ),
    "mae": lambda y, p, w: sklearn_metrics.mean_absolute_error(y, p, sample_weight=w),
    "rmse": lambda y, p, w: sklearn_metrics.root_mean_squared_error(y, p, sample_weight=w),
    "r2": lambda y, p, w: sklearn_metrics.r2_score(y, p, sample_weight=w),
    "bias": lambda y, p, w: np.average(p - y, weights=w),
    "poisson_deviance": lambda y, p, w: sklearn_metrics.mean_poisson_deviance(y, p, sample_weight=w),
    "poisson_d2": lambda y, p, w: sklearn_metrics.d2_tweedie_score(y, p, sample_weight=w, power=1),
    "mean_label": lambda y, p, w: np.average(y, weights=w),
    "mean_score": lambda y, p, w: np.average(p, weights=w),
    "wape": lambda y, p, w: (np.abs(p - y) * w).sum() / (np.abs(y) * w).sum(),
    "mase": lambda y, p, w: sklearn_metrics.mean_absolute_error(y, p, sample_weight=w) / NAIVE_ERROR,
}


@pytest.mark.parametrize("name", sorted(registry.REGISTRY["multiclass"]))
@given(seed=st.integers(0, 10_000), rows=st.integers(60, 150))
def test_metrics_of_several_classes_are_scikit_learns_on_every_resample(name: str, seed: int, rows: int) -> None:
    labels, found, clusters = chances(rows, seed)
    sample, counts, weights = drawn(labels, found, clusters, "multiclass", seed)
    values = measure([registry.named(name, "multiclass")], sample, counts)[0]
    for value, weight in zip(values, weights, strict=True):
        if set(labels[weight > 0]) == {0, 1, 2}:
            kept = weight > 0
            assert value == pytest.approx(REFERENCE[name](labels[kept], found[kept], weight[kept]), rel=1e-9)


@pytest.mark.parametrize("name", sorted(registry.REGISTRY["regression"]))
@given(seed=st.integers(0, 10_000), rows=st.integers(30, 100), offset=st.sampled_from([0.0, -3.0, 1e6]))
def test_metrics_of_numbers_are_scikit_learns_on_every_resample(name: str, seed: int, rows: int, offset: float) -> None:
    random = np.random.default_rng(seed)
    labels = offset + random.normal(size=rows)
    found, clusters = labels + random.normal(size=rows), random.integers(0, 7, rows)
    sample, counts, weights = drawn(labels, found, clusters, "regression", seed)
    values = measure([registry.named(name, "regression")], sample, counts)[0]
    for value, weight in zip(values, weights, strict=True):
        if len(np.unique(labels[weight > 0])) > 5:
            assert value == pytest.approx(REFERENCE[name](labels, found, weight), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("name", sorted(registry.REGISTRY["count"]))
@given(seed=st.integers(0, 10_000), rows=st.integers(30, 100), mean=st.sampled_from([0.3, 4.0, 1e5]))
def test_metrics_of_counts_are_scikit_learns_on_every_resample(name: str, seed: int, rows: int, mean: float) -> None:
    random = np.random.default_rng(seed)
    expected = mean * np.exp(random.normal(size=rows))
    labels, clusters = random.poisson(expected).astype(np.float64), random.integers(0, 7, rows)
    sample, counts, weights = drawn(labels, expected, clusters, "count", seed)
    values = measure([registry.named(name, "count")], sample, counts)[0]
    for value, weight in zip(values, weights, strict=True):
        if len(np.unique(labels[weight > 0])) > 1:
            assert value == pytest.approx(REFERENCE[name](labels, expected, weight), rel=1e-7, abs=1e-9)


def test_a_count_of_nothing_is_scored_by_the_smallest_number_and_equal_counts_explain_nothing() -> None:
    nothing = Sample(np.array([0.0, 2.0]), np.zeros(2), np.arange(2), "count")
    assert point([registry.named("poisson_deviance", "count")], nothing)[0] == pytest.approx(
        2 * np.log(2 / np.finfo(np.float64).eps) - 2
    )
    alike = Sample(np.full(3, 2.0), np.array([1.0, 2, 3]), np.arange(3), "count")
    assert np.isnan(point([registry.named("poisson_d2", "count")], alike)[0])


@pytest.mark.parametrize(
    ("target", "more", "negative"),
    [
        ("sklearn.ensemble.HistGradientBoostingRegressor", {}, True),
        ("sklearn.ensemble.HistGradientBoostingRegressor", {"loss": "poisson"}, False),
        ("lightgbm.LGBMRegressor", {}, True),
        ("lightgbm.LGBMRegressor", {"objective": "poisson"}, False),
        ("sklearn.linear_model.Ridge", {}, True),
        ("sklearn.linear_model.PoissonRegressor", {}, False),
        ("sklearn.ensemble.RandomForestRegressor", {}, False),
        ("xgboost.XGBRegressor", {}, True),
        ("xgboost.XGBRegressor", {"objective": "count:poisson"}, False),
        ("catboost.CatBoostRegressor", {}, True),
        ("catboost.CatBoostRegressor", {"loss_function": "Poisson"}, False),
        ("sklearn.kernel_ridge.KernelRidge", {}, True),
        ("sklearn.gaussian_process.GaussianProcessRegressor", {}, True),
        ("sklearn.ensemble.GradientBoostingRegressor", {}, True),
        ("sklearn.ensemble.BaggingRegressor", {}, False),
        ("sklearn.ensemble.BaggingRegressor", {"estimator": {"_target_": "sklearn.linear_model.Ridge"}}, True),
        ("sklearn.neighbors.KNeighborsRegressor", {}, False),
    ],
)
def test_an_estimator_that_may_predict_less_than_nothing_is_refused(target: str, more: Any, negative: bool) -> None:
    declared = Model.parse({"_target_": target, **more, "preprocess": {"numeric": {"impute": "median"}}})
    if not negative:
        estimators.verify(declared, "count")
        return
    with pytest.raises(UserError, match="may predict less than 0"):
        estimators.verify(declared, "count")


def test_training_labels_that_are_no_counts_are_refused() -> None:
    schema = Schema((Feature("a", "numeric"),), "n", "UTC", "count")
    half = Dataset(pl.DataFrame({"n": [0.0, 1.0, 1.5], "a": [1.0, 2.0, 3.0]}), schema)
    with pytest.raises(UserError, match=r"whole numbers of at least 0, but is 1\.5"):
        fit.fit(half, Model.parse({"_target_": "sklearn.linear_model.PoissonRegressor"}), seed=0)


def test_what_is_not_defined_is_nan() -> None:
    equal = Sample(np.full(3, 0.1), np.array([1.0, 2, 3]), np.arange(3), "regression")
    assert np.isnan(point([registry.named("r2", "regression")], equal)[0])
    absent = Sample(np.array([0, 1]), np.array([[0.5, 0.4, 0.1]] * 2), np.arange(2), "multiclass")
    assert np.isnan(point([registry.named("roc_auc_ovr", "multiclass")], absent)[0])


@pytest.mark.parametrize(
    ("labels", "given_scores", "task", "said"),
    [
        ([1.0, np.nan], [1.0, 2.0], "regression", "wrong label"),
        ([1.0, 2.0], [1.0, np.inf], "regression", "wrong score"),
        ([0, 1], [[0.5, 0.5], [0.5, 0.6]], "multiclass", "chances of the classes that sum to 1"),
        ([0, 1], [[0.5, 0.5], [np.nan, 0.5]], "multiclass", "wrong score"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "multiclass", "the number of a class"),
        ([1.0, 2.0], [1.0, -0.1], "count", "a number of at least 0; check the model"),
        ([1.0, 2.5], [1.0, 2.0], "count", "a whole number of at least 0; check the target"),
    ],
)
def test_scores_and_labels_that_are_none_are_refused(labels: Any, given_scores: Any, task: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Sample(np.array(labels), np.array(given_scores), np.arange(2), task)


def test_a_metric_of_another_task_is_refused() -> None:
    with pytest.raises(UserError, match="'roc_auc' is of binary, not of regression; use mae, rmse, r2"):
        registry.named("roc_auc", "regression")
    with pytest.raises(UserError, match="no metric 'rsme'; did you mean 'rmse'"):
        registry.named("rsme", "regression")


@pytest.mark.parametrize("name", SEVERAL)
def test_graphs_of_several_classes_score_equal_on_adversarial_rows(name: str) -> None:
    rows = several(name)
    pipeline = fit.fit(rows, ALL[name], seed=3)
    graph = export.export(pipeline, rows.schema)
    odd = parity.adversarial(rows, rows, export.thresholds(pipeline, rows.schema), seed=1)
    found = parity.compare(
        lambda frame: fit.scores(pipeline, frame),
        lambda frame: scores(graph, frame, rows.schema),
        rows.features,
        odd,
        "multiclass",
    )
    assert (found.flips, found.difference <= 1e-9) == (0, True)
    assert fit.scores(pipeline, rows.features).std(axis=0).min() > 0.01, "the case tests nothing"


@pytest.mark.parametrize("name", ["logistic", "logistic, robust, target", "forest", "histogram", "lightgbm", "bayes"])
def test_explanations_of_several_classes_add_up(name: str) -> None:
    rows = several(name if name in ALL else "logistic", 300)
    declared = ALL.get(name) or model("sklearn.naive_bayes.GaussianNB", steps("mean", "none", "ordinal"))
    pipeline = fit.fit(rows, declared, seed=3)
    found = shap.attributions(pipeline, rows, rows.features, seed=1)
    assert found.exact == (name != "bayes")
    total = found.values.sum(axis=1) + np.array(found.base)
    total = special.softmax(total, axis=1) if found.output == "log-odds" else total
    np.testing.assert_allclose(total, fit.scores(pipeline, rows.features)[: len(total)], atol=1e-5)
    assert found.values.shape[1:] == (len(rows.schema.features), 3)
    summary = explain.explain(pipeline, rows, rows, seed=1)
    assert summary.permutation.metric == "accuracy"
    assert "<svg" in picture.draw(summary)


def test_a_class_that_is_not_declared_or_not_there_is_named() -> None:
    rows = several("logistic")
    foreign = Dataset(rows.frame.with_columns(late=pl.lit("maybe")), rows.schema)
    with pytest.raises(UserError, match=r"data\.target\.classes: 'maybe' is a label, but no declared class"):
        fit.fit(foreign, ALL["logistic"], 1)
    without = Dataset(rows.frame.filter(pl.col("late") != "perhaps"), rows.schema)
    with pytest.raises(UserError, match="the class 'perhaps' is in none of"):
        fit.fit(without, ALL["logistic"], 1)
    constant = Schema((Feature("x", "numeric"),), "late", "UTC", "regression")
    with pytest.raises(UserError, match="must be finite numbers, not all equal"):
        fit.fit(Dataset(rows.frame.with_columns(late=pl.lit(1.5)), constant), ALL["ridge"], 1)


def test_slopes_say_whether_scores_are_too_sure() -> None:
    labels, found, _ = chances(3000, 1)
    right = calibration.pooled_slope(labels, found)
    assert right > calibration.pooled_slope(labels, special.softmax(2 * np.log(found), axis=1)) > 0
    numbers = np.random.default_rng(1).normal(size=500)
    noisy = numbers + np.random.default_rng(2).normal(size=500)
    assert calibration.linear_slope(numbers, noisy) == pytest.approx(np.polyfit(noisy, numbers, 1)[0])
    with pytest.raises(UserError, match="not defined"):
        calibration.linear_slope(numbers, np.ones(500))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_distorted_scores_are_scores_still(task: Any) -> None:
    labels, found, clusters = chances(400, 2)
    good = {"binary": found[:, 1], "multiclass": found, "regression": 40 * found[:, 0]}[task]
    labels = {"binary": (labels == 1).astype(np.int8), "multiclass": labels, "regression": 40.0 * (labels == 0)}[task]
    metric = registry.named({"regression": "rmse"}.get(task, "log_loss"), task)

    def value(scores):
        return point([metric], Sample(labels, scores, clusters, task))[0]

    def random():
        return np.random.default_rng(5)

    assert value(distortions.leaked(good, labels, task)) < value(good) < value(distortions.inverted(good, task))
    assert value(good) < value(distortions.blended(good, 1.0, random(), task))
    np.testing.assert_allclose(distortions.blended(good, 0.0, random(), task), good, rtol=1e-5)
    near = distortions.jittered(good, 0.01, random(), task)
    assert 0 < np.abs(near - good).max() < 0.1 * np.ptp(good)


def test_curves_of_numbers_and_classes_count_every_row() -> None:
    params = Evaluation.parse({"metrics": ["rmse"], "curves": {"bins": 7}})
    labels, found, clusters = chances(500, 3)
    numbers = Sample(labels * 10.0, 10 * found[:, 0], clusters, "regression")
    bins = curves.curves(numbers, (), params)["observed"]
    assert sum(part.n for part in bins) == 500
    assert sum(part.observed * part.n for part in bins) == pytest.approx(numbers.labels.sum())
    assert all(part.observed_low <= part.observed <= part.observed_high for part in bins)
    cells = curves.curves(Sample(labels, found, clusters, "multiclass"), CLASSES, params)["confusion"]
    expected = sklearn_metrics.confusion_matrix(labels, found.argmax(axis=1))
    assert [cell.n for cell in cells] == expected.ravel().tolist()
    assert curves.content({"confusion": cells})["confusion"][1]["predicted"] == "perhaps"
