"""Several labels of a row: their one number, metrics as scikit-learn's, exact graphs, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sklearn_metrics

from tests.pipeline.bundle.onnx.test_export import ALL, dataset, model, schema_of, scores, steps
from trunkline.conf.data import Data, Target
from trunkline.conf.evaluation import LABEL, Evaluation
from trunkline.conf.gates import Champion, Threshold
from trunkline.conf.model import Model
from trunkline.core import expressions
from trunkline.core.arrays import happened
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.core.tables import rows as table_rows
from trunkline.monitor.performance import Judge
from trunkline.pipeline.bundle import parity
from trunkline.pipeline.bundle.explain.explain import explain
from trunkline.pipeline.bundle.onnx import export
from trunkline.pipeline.bundle.onnx.ensemble import NotCovered
from trunkline.pipeline.compose import judge
from trunkline.pipeline.evaluate import reference, slices
from trunkline.pipeline.evaluate.metrics import registry
from trunkline.pipeline.evaluate.metrics.kinds import Sample, measure, point
from trunkline.pipeline.features import split
from trunkline.pipeline.gate import calibration, distortions, leaks
from trunkline.pipeline.train import estimators, fit, modelfile
from trunkline.serve.labels.store import OUTCOME

NAMES = ("late", "odd", "rare")
WRAPPER, CHAIN = "sklearn.multioutput.MultiOutputClassifier", "sklearn.multioutput.ClassifierChain"
HISTOGRAM = {"_target_": "sklearn.ensemble.HistGradientBoostingClassifier", "max_iter": 20, "early_stopping": False}
LOGISTIC = {"_target_": "sklearn.linear_model.LogisticRegression", "C": 0.1, "max_iter": 500}
PLAIN = steps(encode="ordinal", min_frequency=20)
DENSE = steps("median", "standard", "onehot", 20)
GRAPHS = {
    "each label by boosting": model(WRAPPER, PLAIN, estimator=HISTOGRAM),
    "each label by a line": model(WRAPPER, DENSE, estimator=LOGISTIC),
    "forest": model("sklearn.ensemble.RandomForestClassifier", PLAIN, n_estimators=20, min_samples_leaf=5),
    "extra trees": model("sklearn.ensemble.ExtraTreesClassifier", DENSE, n_estimators=20, min_samples_leaf=5),
    "tree": model("sklearn.tree.DecisionTreeClassifier", PLAIN, max_depth=6),
    "network": model(
        "sklearn.neural_network.MLPClassifier",
        DENSE,
        hidden_layer_sizes=[8],
        max_iter=200,
        learning_rate_init=0.01,
        tol=0.01,
        n_iter_no_change=3,
    ),
}
PIPELINES = {
    "chain": model(CHAIN, DENSE, estimator=LOGISTIC),
    "neighbours": model("sklearn.neighbors.KNeighborsClassifier", DENSE, n_neighbors=15),
}


def labelled(count: int = 3, rows: int = 900) -> Dataset:
    """The rows of the exporter's tests, with the number of a set of labels."""
    plain, random = schema_of(ALL["lightgbm"]), np.random.default_rng(3)
    given = dataset(plain, rows).frame
    late = given["late"].cast(pl.Int64).to_numpy()
    has = np.stack([late, (late + random.integers(0, 2, rows)) % 2, random.random(rows) < 0.1 + 0.2 * late], axis=1)
    sets = pl.Series("late", (has[:, :count] * 2 ** np.arange(count)).sum(axis=1), dtype=pl.Int64)
    return Dataset(given.with_columns(sets), Schema(plain.features, "late", "UTC", "multilabel", NAMES[:count]))


def odd_sample(count: int = 4) -> tuple[Sample, Any]:
    """Sets and scores with many ties, in clusters; and the sets as a matrix."""
    random = np.random.default_rng(7)
    has = random.random((120, count)) < np.linspace(0.2, 0.7, count)
    given = np.round(np.clip(0.3 * has + 0.7 * random.random(has.shape), 0, 1), 1)
    return Sample((has * 2 ** np.arange(count)).sum(axis=1), given, np.arange(120) % 30, "multilabel"), has


def expected(name: str, has: Any, given: Any) -> float:
    """The metric by scikit-learn."""
    called, of = given > 0.5, sklearn_metrics
    average = name.partition("_")[0]
    values: dict[str, Any] = {
        "hamming_loss": lambda: of.hamming_loss(has, called),
        "subset_accuracy": lambda: of.accuracy_score(has, called),
        "f1": lambda: of.f1_score(has, called, average=average, zero_division=0),
        "average_precision": lambda: of.average_precision_score(has, given, average=average),
        "roc_auc": lambda: of.roc_auc_score(has, given, average=average),
        "ranking_loss": lambda: of.label_ranking_loss(has, given),
        "log_loss": lambda: np.mean([of.log_loss(h, g, labels=[0, 1]) for h, g in zip(has.T, given.T, strict=True)]),
        "brier": lambda: np.mean(np.square(has - given)),
        "cardinality": lambda: has.sum(axis=1).mean(),
    }
    return float(
        next(value for key, value in values.items() if name.removeprefix(f"{average}_") == key or name == key)()
    )


@pytest.mark.parametrize("name", sorted(registry.REGISTRY["multilabel"]))
def test_metrics_are_scikit_learns_on_every_resample(name: str) -> None:
    sample, has = odd_sample()
    counts = np.random.default_rng(5).integers(0, 3, (3, 30))
    values = measure([registry.named(name, "multilabel")], sample, counts)[0]
    for value, taken in zip(values, counts, strict=True):
        places = np.repeat(np.arange(120), taken[sample.clusters])
        assert value == pytest.approx(expected(name, has[places], sample.scores[places]), rel=1e-12)


def test_a_set_is_one_number_and_a_row_with_a_missing_label_has_none() -> None:
    content = {"name": "odd", "task": "multilabel", "labels": {"gone": "y > x", "even": "x % 2 == 0", "big": "x > 2"}}
    target = Target.model_validate(content)
    assert Target.model_validate(content | {"expression": None}) == target
    assert (target.class_names, target.definition) == (
        ("big", "even", "gone"),
        "big: x > 2; even: x % 2 == 0; gone: y > x",
    )
    table = pl.DataFrame({"x": [1, 2, 3, 4, None], "y": [0, 9, 9, None, 9]})
    numbers = table_rows.evaluate(table, {"odd": target.expression}, "UTC")["odd"].to_list()
    assert numbers == [0, 6, 5, None, None]
    assert happened(np.array([0, 6, 5]), 3, "multilabel").tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 1]]
    assert expressions.parse(target.expression)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"labels": None}, "labels: the key is missing: multilabel needs its labels"),
        ({"task": "binary"}, "labels: has no meaning for binary"),
        ({"labels": {"one": "x > 1"}}, "at least 2"),
        ({"labels": None, "task": "regression"}, "expression: the key is missing"),
        ({"expression": "x"}, "expression: has no meaning for multilabel"),
    ],
)
def test_what_is_no_set_of_labels_is_refused(changes: Any, why: str) -> None:
    content = {"name": "odd", "task": "multilabel", "labels": {"big": "x > 2", "even": "x < 1"}}
    with pytest.raises(ValueError, match=why):
        Target.model_validate({key: value for key, value in (content | changes).items() if value is not None})


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("count", [2, 3])
def test_graphs_are_exact(name: str, count: int, tmp_path: Path) -> None:
    rows = labelled(count)
    estimators.verify(GRAPHS[name], "multilabel")
    pipeline = fit.fit(rows, GRAPHS[name], 3)
    modelfile.save(pipeline, tmp_path / "model.skops")
    loaded, graph = modelfile.load(tmp_path / "model.skops"), export.export(pipeline, rows.schema)
    odd = parity.adversarial(rows, rows, export.thresholds(pipeline, rows.schema), 1)
    compared = parity.compare(
        lambda frame: fit.scores(loaded, frame),
        lambda frame: scores(graph, frame, rows.schema),
        rows.features,
        odd,
        "multilabel",
    )
    assert compared.holds(1e-9), compared.difference
    measured = Sample(rows.label.to_numpy(), fit.scores(loaded, rows.features), np.arange(900), "multilabel")
    assert point([registry.named("macro_roc_auc", "multilabel")], measured)[0] > 0.6


@pytest.mark.parametrize("name", PIPELINES)
def test_what_has_no_exact_graph_says_so_and_scores_as_the_pipeline(name: str, tmp_path: Path) -> None:
    rows = labelled()
    pipeline = fit.fit(rows, PIPELINES[name], 3)
    with pytest.raises(NotCovered):
        export.export(pipeline, rows.schema)
    modelfile.save(pipeline, tmp_path / "model.skops")
    loaded = fit.scores(modelfile.load(tmp_path / "model.skops"), rows.features)
    np.testing.assert_array_equal(loaded, fit.scores(pipeline, rows.features))
    assert loaded.shape == (900, 3)


@pytest.mark.parametrize(
    ("target", "more", "task", "why"),
    [
        (WRAPPER, {"estimator": LOGISTIC}, "binary", "is of several labels, which data.target.task: multilabel"),
        (CHAIN, {"estimator": LOGISTIC}, "multiclass", "is of several labels"),
        (
            "sklearn.linear_model.LogisticRegression",
            {},
            "multilabel",
            f"takes one label; name it as `estimator` of {WRAPPER}",
        ),
        (WRAPPER, {"estimator": LOGISTIC, "stop_early": {"last": "7d"}}, "multilabel", "stop_early: has no meaning"),
        (WRAPPER, {"estimator": {"_target_": "sklearn.svm.LinearSVC"}}, "multilabel", "gives no probabilities"),
        ("sklearn.linear_model.Ridge", {}, "multilabel", "is no classifier"),
    ],
)
def test_what_cannot_learn_several_labels_is_refused(target: str, more: Any, task: Any, why: str) -> None:
    declared = Model.parse({"_target_": target, **more, "preprocess": {"numeric": {"impute": "median"}}})
    with pytest.raises(UserError, match=why):
        estimators.verify(declared, task)


def test_missing_values_reach_the_estimator_of_each_label_alone() -> None:
    estimators.verify(GRAPHS["each label by boosting"], "multilabel")
    for target, inner in ((WRAPPER, LOGISTIC), (CHAIN, HISTOGRAM)):
        with pytest.raises(UserError, match="takes no missing values"):
            estimators.verify(model(target, PLAIN, estimator=inner), "multilabel")


def test_every_label_is_had_by_some_training_row_and_not_by_all() -> None:
    rows = labelled()
    for sets, why in (
        (pl.col("late") & 5, "none of 900 rows have the label 'odd'"),
        (pl.col("late") | 4, "all of 900"),
    ):
        with pytest.raises(UserError, match=why):
            fit.fit(Dataset(rows.frame.with_columns(sets), rows.schema), GRAPHS["tree"], 1)
    with pytest.raises(UserError, match="a label must be the number of a set of labels"):
        Sample(np.array([8]), np.zeros((1, 3)), np.zeros(1, np.int64), "multilabel")


def test_each_label_is_measured_by_itself_and_what_is_undefined_names_it() -> None:
    sample, has = odd_sample(3)
    declared = Evaluation.model_validate(
        {"metrics": ["hamming_loss", "macro_roc_auc", "micro_f1"], "interval": {"resamples": 100}}
    )
    schema = Schema((), "late", "UTC", "multilabel", NAMES)
    measured = slices.evaluate(Dataset(pl.DataFrame({"late": sample.labels}), schema), sample.scores, declared, 1)
    for place, name in enumerate(NAMES):
        of_one = measured.slices[LABEL][name]
        assert of_one.n == 120
        assert of_one.metrics["macro_roc_auc"].value == pytest.approx(
            sklearn_metrics.roc_auc_score(has[:, place], sample.scores[:, place])
        )
        assert of_one.metrics["micro_f1"].value == pytest.approx(
            sklearn_metrics.f1_score(has[:, place], sample.scores[:, place] > 0.5)
        )
    without = replace(sample, labels=sample.labels & 5)
    again = slices.evaluate(Dataset(pl.DataFrame({"late": without.labels}), schema), without.scores, declared, 1)
    assert any("none of 120 rows has the label 'odd', and macro_roc_auc needs" in line for line in again.undefined)


def test_gates_judge_each_label_by_a_threshold_alone() -> None:
    declared = Evaluation.model_validate({"metrics": ["log_loss"]})
    threshold = Threshold.model_validate({"kind": "threshold", "metric": "log_loss", "slice": LABEL, "maximum": 1})
    champion = Champion.model_validate({"kind": "champion", "metric": "log_loss", "slice": LABEL, "margin": 0.1})
    assert not list(judge._unjudgeable(threshold, declared, "multilabel"))
    assert [field for field, _ in judge._unjudgeable(threshold, declared, "binary")] == ["slice"]
    assert [field for field, _ in judge._unjudgeable(champion, declared, "multilabel")] == ["slice"]


def test_self_tests_plant_worse_scores_and_leaks_are_seen() -> None:
    sample, has = odd_sample()
    random, chosen = np.random.default_rng(1), registry.named("macro_roc_auc", "multilabel")

    def value(given: Any) -> float:
        return float(point([chosen], replace(sample, scores=given))[0])

    good = sample.scores
    assert value(distortions.leaked(good, sample.labels, "multilabel")) == 1
    assert value(distortions.inverted(good, "multilabel")) == pytest.approx(1 - value(good), abs=0.02)
    assert value(distortions.blended(good, 1.0, random, "multilabel")) < value(good)
    assert calibration.SLOPES["multilabel"](sample.labels, np.clip(good, 0.1, 0.9)) > 0
    features = pl.DataFrame({"copy": has[:, 2].astype(float), "noise": random.random(120)})
    strengths = leaks.strengths(features, sample.labels, "multilabel")
    assert strengths["copy"] == 1 > strengths["noise"]
    assert leaks.ranking(good, sample.labels, "multilabel") == pytest.approx(value(good))


def test_a_monitor_and_a_report_see_the_share_of_each_label() -> None:
    rows = labelled()
    given = np.tile([0.5, 0.5, 0.2], (900, 1))
    holdout = reference.histograms(rows, given) | reference.outcomes(
        rows, given, {"all": {"all": slices.Slice(900, {})}}
    )
    has = happened(rows.label.to_numpy(), 3, "multilabel")
    assert holdout["outcomes"]["counts"] == dict(zip(NAMES, has.sum(axis=0).astype(int).tolist(), strict=True))
    logged = pl.DataFrame(dict(zip([f"score_{name}" for name in NAMES], given.T, strict=True))).with_columns(
        rows.label.alias(OUTCOME), cluster=pl.int_range(900)
    )
    judged = list(Judge(holdout, "multilabel", NAMES, ("hamming_loss",), ()).measured(logged))
    shares = {row["subject"]: (row["value"], row["reference"]) for row in judged if row["measure"] == "share"}
    for name, share in zip(NAMES, has.mean(axis=0), strict=True):
        assert shares[name] == pytest.approx((share, share))
    assert next(row["value"] for row in judged if row["measure"] == "psi") == pytest.approx(0, abs=1e-9)
    data = Data.parse(
        {
            "sources": {"shown": {"package": "shown", "version": "1", "path": "shown.csv"}},
            "observations": "shown",
            "unique_key": ["item"],
            "target": {"name": "odd", "task": "multilabel", "labels": dict.fromkeys(NAMES, "x > 1")},
            "split": {"holdout": 0.2},
        }
    )
    assert split._shares(rows.label, data) == pytest.approx(dict(zip(NAMES, has.mean(axis=0), strict=True)))


def test_a_model_of_several_labels_is_explained() -> None:
    rows = labelled()
    explained = explain(fit.fit(rows, GRAPHS["tree"], 1), rows, Dataset(rows.frame.head(60), rows.schema), 1)
    assert (explained.permutation.metric, explained.shap.exact) == ("macro_average_precision", False)
    assert max(explained.shap.mean_absolute.values()) > 0
