"""Quantiles: calibrated on rows that were not trained on, measured as others do it, and answered by an exact graph."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from tests.pipeline.bundle.onnx.test_export import ENSEMBLE, FOREST, HGB, LIGHT, LINEAR, dataset, model, scores, steps
from tests.serve.explain.test_explain import made
from trunkline.conf.data import Target
from trunkline.conf.model import Model
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.core.features import EVENT_TIME
from trunkline.core.tasks import levels, quantile_name
from trunkline.pipeline.bundle import parity
from trunkline.pipeline.bundle.onnx import export
from trunkline.pipeline.evaluate import curves
from trunkline.pipeline.evaluate.metrics.kinds import Sample, measure, point
from trunkline.pipeline.evaluate.metrics.registry import REGISTRY, named
from trunkline.pipeline.gate import distortions, leaks
from trunkline.pipeline.train import estimators, fit, modelfile
from trunkline.pipeline.train.quantiles import fewest, missed
from trunkline.serve.explain.additive import NotExplainedError

LEVELS = (0.1, 0.5, 0.9)
NAMES = ("q10", "q50", "q90")
CASES = {
    "linear": model(LINEAR + "QuantileRegressor", steps("median", "standard", "onehot", 20), alpha=0.0),
    "linear, calibrated": model(
        LINEAR + "QuantileRegressor", steps("mean", "none", "onehot", 20), alpha=0.01, calibrate=0.3
    ),
    "ridge": model(LINEAR + "Ridge", steps("median", "standard", "onehot"), calibrate=0.3),
    "histogram": model(ENSEMBLE + "HistGradientBoostingRegressor", steps(), loss="quantile", **HGB),
    "lightgbm": model("lightgbm.LGBMRegressor", steps(), objective="quantile", calibrate=0.3, **LIGHT),
    "forest": model(ENSEMBLE + "RandomForestRegressor", steps("median", "none", "ordinal"), calibrate=0.3, **FOREST),
}


def rows(count: int = 600) -> Dataset:
    """The rows of the exporter's tests with a number for a label, without columns that are always missing."""
    given_rows = dataset(rows=count)
    features = tuple(feature for feature in given_rows.schema.features if feature.name not in ("empty", "void"))
    noise = np.random.default_rng(5).normal(size=count)
    label = given_rows.frame["x"].fill_null(1.0) * 2 + given_rows.frame["y"] + noise * (1 + (np.arange(count) % 3))
    return Dataset(given_rows.frame.with_columns(late=label), Schema(features, "late", "UTC", "quantile", NAMES))


def drawn(seed: int, count: int) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    labels = random.normal(size=count).round(2)
    return labels, np.sort(random.normal(size=(count, 3)).round(2), axis=1), random.integers(0, 7, count)


def pinball(labels: Any, given_scores: Any, weights: Any) -> float:
    """The mean over the levels of scikit-learn's loss."""
    losses = [
        sklearn_metrics.mean_pinball_loss(labels, of, sample_weight=weights, alpha=level)
        for level, of in zip(LEVELS, given_scores.T, strict=True)
    ]
    return float(np.mean(losses))


def interval_score(labels: Any, given_scores: Any, weights: Any) -> float:
    """By its definition, row by row."""
    each = []
    for label, (low, _, high) in zip(labels, given_scores, strict=True):
        outside = low - label if label < low else label - high if label > high else 0.0
        each.append(high - low + 2 / 0.2 * outside)
    return float(np.average(each, weights=weights))


REFERENCE = {
    "pinball": pinball,
    "coverage": lambda y, s, w: np.average((s[:, 0] <= y) & (y <= s[:, 2]), weights=w),
    "width": lambda y, s, w: np.average(s[:, 2] - s[:, 0], weights=w),
    "interval_score": interval_score,
    "level_error": lambda y, s, w: np.mean(np.abs(np.average(y[:, None] <= s, axis=0, weights=w) - LEVELS)),
    "mean_label": lambda y, s, w: np.average(y, weights=w),
    "wape": lambda y, s, w: (np.abs(s[:, 1] - y) * w).sum() / (np.abs(y) * w).sum(),
    "mase": lambda y, s, w: np.average(np.abs(s[:, 1] - y), weights=w) / 1.7,
}


@pytest.mark.parametrize("name", sorted(REGISTRY["quantile"].keys() - {"pinball_d2"}))
@given(seed=st.integers(0, 10_000), count=st.integers(30, 90))
def test_metrics_are_those_of_others_on_every_resample(name: str, seed: int, count: int) -> None:
    labels, given_scores, clusters = drawn(seed, count)
    counts = np.random.default_rng(seed + 1).integers(0, 3, (4, 7))
    sample = Sample(labels, given_scores, clusters, "quantile", LEVELS, naive_error=1.7)
    values = measure([named(name, "quantile")], sample, counts)[0]
    for value, weight in zip(values, counts[:, clusters], strict=True):
        if weight.any():
            assert value == pytest.approx(REFERENCE[name](labels, given_scores, weight), rel=1e-9, abs=1e-12)


@given(seed=st.integers(0, 10_000), count=st.integers(30, 90))
def test_the_share_that_is_saved_is_scikit_learns(seed: int, count: int) -> None:
    labels, given_scores, clusters = drawn(seed, count)
    for place, level in enumerate(LEVELS):
        sample = Sample(labels, given_scores[:, [place]], clusters, "quantile", (level,))
        expected = sklearn_metrics.d2_pinball_score(labels, given_scores[:, place], alpha=level)
        assert point([named("pinball_d2", "quantile")], sample)[0] == pytest.approx(expected, abs=1e-9)


@given(seed=st.integers(0, 10_000), count=st.integers(12, 60), level=st.sampled_from([0.1, 0.25, 0.5, 0.9]))
def test_of_exchangeable_rows_each_quantile_holds_its_share_exactly(seed: int, count: int, level: float) -> None:
    """Each of n + 1 residuals is in turn the new one: that is the whole proof, by counting."""
    residuals = np.random.default_rng(seed).normal(size=count)
    bounds = [missed(np.sort(np.delete(residuals, place)), level) for place in range(count)]
    if level >= 0.5:
        assert level <= np.mean(residuals <= bounds) + 1e-12 <= level + 1 / count + 1e-9
    else:
        assert level >= np.mean(residuals < bounds) - 1e-12 >= level - 1 / count - 1e-9


def test_too_few_rows_to_calibrate_by_are_refused() -> None:
    assert (fewest(0.9), fewest(0.1), fewest(0.99)) == (9, 9, 99)
    missed(np.arange(9.0), 0.9)
    for level in (0.1, 0.9):
        with pytest.raises(UserError, match=rf"8 rows are too few for the quantile {level}, which needs 9"):
            missed(np.arange(8.0), level)


def test_the_last_rows_are_not_trained_on_and_say_what_is_missed() -> None:
    times = pl.Series(EVENT_TIME, [datetime(2020, 1, 1) + timedelta(hours=hour) for hour in range(600)])
    timed = Dataset(rows().frame.with_columns(times), rows().schema)
    later = pl.int_range(pl.len()) >= 420
    moved = Dataset(timed.frame.with_columns(pl.when(later).then(pl.col("late") + 100).otherwise("late")), timed.schema)
    plain, shifted = (fit.fit(each, CASES["ridge"], seed=3)[-1] for each in (timed, moved))
    assert plain.estimators_[0].coef_.tolist() == shifted.estimators_[0].coef_.tolist()
    np.testing.assert_allclose(shifted.offsets_, plain.offsets_ + 100)
    untimed = fit.fit(Dataset(moved.frame.drop(EVENT_TIME), moved.schema), CASES["ridge"], seed=3)[-1]
    assert untimed.offsets_[0] < 50 < untimed.offsets_[2], "without a time, rows of all kinds calibrate"


@pytest.mark.parametrize("name", CASES)
def test_graphs_of_quantiles_score_equal_on_adversarial_rows(name: str, tmp_path: Any) -> None:
    given_rows = rows()
    pipeline = fit.fit(given_rows, CASES[name], seed=3)
    graph, features = export.export(pipeline, given_rows.schema), given_rows.features
    odd = parity.adversarial(given_rows, given_rows, export.thresholds(pipeline, given_rows.schema), seed=1)
    compared = parity.compare(
        lambda frame: fit.scores(pipeline, frame),
        lambda frame: scores(graph, frame, given_rows.schema),
        features,
        odd,
        "quantile",
    )
    assert compared.difference <= 1e-9
    answered = fit.scores(pipeline, features)
    assert answered.std(axis=0).min() > 0.1, "the case tests nothing"
    assert (np.diff(answered, axis=1) >= 0).all()
    labels = given_rows.label.to_numpy()
    assert 0.7 < np.mean((answered[:, 0] <= labels) & (labels <= answered[:, 2])) < 0.95
    modelfile.save(pipeline, tmp_path / "model.skops")
    kept = modelfile.load(tmp_path / "model.skops")
    assert fit.scores(kept, features).tobytes() == answered.tobytes()


def test_quantiles_that_cross_are_put_in_order() -> None:
    pipeline = fit.fit(rows(), CASES["histogram"], seed=3)
    pipeline[-1].offsets_ = np.array([50.0, 0.0, -50.0])
    graph = export.export(pipeline, rows().schema)
    answered = fit.scores(pipeline, rows().features)
    assert (np.diff(answered, axis=1) >= 0).all()
    np.testing.assert_allclose(scores(graph, rows().features, rows().schema), answered, rtol=1e-12)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"_target_": ENSEMBLE + "HistGradientBoostingRegressor"}, r"model\.calibrate: the key is missing: Hist"),
        ({"_target_": LINEAR + "Ridge"}, r"model\.calibrate: the key is missing: Ridge as declared predicts one"),
        (
            {"_target_": LINEAR + "QuantileRegressor", "quantile": 0.3},
            r"model\.quantile: is not set here; data\.target",
        ),
    ],
)
def test_a_model_without_quantiles_is_refused(more: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        estimators.verify(Model.parse({**more, "preprocess": steps("mean", "none", "onehot")}), "quantile")


def test_only_quantiles_are_calibrated() -> None:
    for case in CASES.values():
        estimators.verify(case, "quantile")
    with pytest.raises(UserError, match=r"model\.calibrate: has no meaning for regression"):
        estimators.verify(CASES["ridge"], "regression")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"task": "quantile"}, "quantiles: the key is missing"),
        ({"quantiles": [0.1, 0.9]}, "quantiles: has no meaning for binary"),
        ({"task": "quantile", "quantiles": [0.9, 0.1]}, "above 0, below 1 and ascending"),
        ({"task": "quantile", "quantiles": [0.5, 0.5]}, "above 0, below 1 and ascending"),
        ({"task": "quantile", "quantiles": [0.5, 1.0]}, "above 0, below 1 and ascending"),
    ],
)
def test_levels_that_are_none_are_refused(more: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Target.model_validate({"name": "n", "expression": "x", **more})


def test_a_quantile_is_called_by_its_percentage() -> None:
    given_levels = (0.001, 0.025, 1 / 3, 0.5, 0.999)
    assert [quantile_name(level) for level in given_levels[:2]] == ["q0.1", "q2.5"]
    assert levels("quantile", list(map(quantile_name, given_levels))) == pytest.approx(given_levels, abs=1e-9)


@pytest.mark.parametrize("wrong", [[[2.0, 1.0, 3.0]], [[1.0, 2.0, np.nan]]])
def test_scores_that_are_no_quantiles_are_refused(wrong: Any) -> None:
    with pytest.raises(UserError, match="finite quantiles, none below a lower one's"):
        Sample(np.array([1.0]), np.array(wrong), np.arange(1), "quantile", LEVELS)


def test_distorted_quantiles_are_quantiles_still() -> None:
    labels, given_scores, clusters = drawn(1, 200)
    given_scores = np.sort(given_scores + labels[:, None], axis=1)

    def loss(changed: Any) -> float:
        return float(point([named("pinball", "quantile")], Sample(labels, changed, clusters, "quantile", LEVELS))[0])

    good, random = loss(given_scores), np.random.default_rng(3)
    assert loss(distortions.blended(given_scores, 0.5, random, "quantile")) > good
    assert loss(distortions.jittered(given_scores, 0.5, random, "quantile")) > good
    turned = distortions.inverted(given_scores, "quantile")
    assert loss(turned) > loss(distortions.blended(given_scores, 1.0, random, "quantile")) > good
    assert loss(distortions.leaked(given_scores, labels, "quantile")) < good / 10
    ranks = [leaks.ranking(each, labels, "quantile") for each in (given_scores, turned)]
    assert ranks[0] > 0.6
    assert ranks[1] < 0.4


def test_the_curve_is_the_share_of_labels_up_to_each_level() -> None:
    labels, given_scores, clusters = drawn(2, 200)
    sample = Sample(labels, given_scores, clusters, "quantile", LEVELS)
    drawn_curves = curves.curves(sample, NAMES, curves.Evaluation.parse({"metrics": ["pinball"]}))
    bins = drawn_curves["calibration"]
    assert [(each.score, each.n) for each in bins] == [(level, 200) for level in LEVELS]
    assert [each.observed_rate for each in bins] == pytest.approx([np.mean(labels <= q) for q in given_scores.T])
    assert all(each.observed_rate_low < each.observed_rate < each.observed_rate_high for each in bins)


@pytest.mark.parametrize("name", ["linear", "histogram"])
def test_an_explanation_that_would_not_add_up_is_none(name: str, tmp_path: Any) -> None:
    with pytest.raises(NotExplainedError):
        made(tmp_path / "bundle", fit.fit(rows(), CASES[name], seed=3), rows())


def test_too_few_rows_to_calibrate_by_name_the_key() -> None:
    few = Dataset(rows().frame.head(20), rows().schema)
    with pytest.raises(UserError, match=r"model\.calibrate: 6 rows are too few for the quantile 0\.1"):
        fit.fit(few, CASES["ridge"], seed=1)
