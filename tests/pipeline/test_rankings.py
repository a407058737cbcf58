"""Rankings: metrics by group, whatever is tied; rankers that see whole groups, as exact graphs; and what is refused."""

import itertools
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sklearn_metrics

from tests.pipeline.bundle.onnx.test_export import ALL, LIGHT, XGB, dataset, model, schema_of, scores, steps
from trunkline.conf.data import Data
from trunkline.conf.model import Model
from trunkline.conf.project import Project
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.pipeline.bundle import parity
from trunkline.pipeline.bundle.onnx import export
from trunkline.pipeline.compose import judge
from trunkline.pipeline.compose.compose import compose
from trunkline.pipeline.evaluate.metrics import registry
from trunkline.pipeline.evaluate.metrics.kinds import Sample, measure, point
from trunkline.pipeline.features import split
from trunkline.pipeline.gate import calibration, distortions
from trunkline.pipeline.train import estimators, fit, modelfile, rankers

RANKERS = {
    "lightgbm": model("lightgbm.LGBMRanker", steps(min_frequency=20), **LIGHT),
    "xgboost": model("xgboost.XGBRanker", steps(min_frequency=20), **XGB),
}
ROLLOUT = {"key": ["origin"], "rules": {"performance": {"metric": "ndcg", "margin": 0.02}}}


def queries(rows: int = 900) -> Dataset:
    """The rows of the exporter's tests, with a relevance and the query that each is of, in no order."""
    plain, random = schema_of(ALL["lightgbm"]), np.random.default_rng(3)
    given = dataset(plain, rows).frame
    relevance = given["late"].cast(pl.Int64) * 2 + pl.Series(random.integers(0, 2, rows))
    frame = given.with_columns(late=relevance, query=pl.Series(random.integers(0, rows // 10, rows)))
    return Dataset(frame, Schema(plain.features, "late", "UTC", "ranking", group=("query",)))


def expected(name: str, labels: Any, given: Any) -> float:
    """The metric of one group by scikit-learn: of tied scores, the mean over every order that they allow."""
    if name == "map":
        orders = (np.array(order) / 100 for order in itertools.permutations(range(len(given))))
        return float(np.mean([sklearn_metrics.average_precision_score(labels > 0, given + order) for order in orders]))
    depth = int(name.removeprefix("ndcg_at_")) if name != "ndcg" else None
    return float(sklearn_metrics.ndcg_score([2.0**labels - 1], [given], k=depth))


def test_rows_are_of_one_group_where_all_its_columns_are_equal() -> None:
    values = ["", None, "0", " ", "\0", "a", "a b", "b"]
    frame = pl.DataFrame([*itertools.product(values, values)] * 2, schema=["one", "other"], orient="row")
    groups = Dataset(frame, Schema((), "late", "UTC", "ranking", group=("one", "other"))).groups
    assert sorted(groups.head(64)) == list(range(64))
    assert groups.tail(64).equals(groups.head(64))


@pytest.mark.parametrize("name", sorted(registry.REGISTRY["ranking"]))
def test_metrics_are_means_of_scikit_learns_over_the_groups_that_a_resample_takes(name: str) -> None:
    random = np.random.default_rng(7)
    groups, labels, given = np.arange(60) % 14, random.integers(0, 4, 60), random.integers(0, 3, 60)
    labels[1:14] += 1
    labels[groups == 0] = 0  # a group without a relevant row has no value
    counts = random.integers(0, 3, (4, 14))
    sample = Sample(labels, given.astype(np.float64), groups, "ranking")
    of_groups = np.array([expected(name, labels[groups == g], given[groups == g]) for g in range(1, 14)])
    values = measure([registry.named(name, "ranking")], sample, counts)[0]
    np.testing.assert_allclose(values, [np.average(of_groups, weights=taken[1:]) for taken in counts], rtol=1e-12)


@pytest.mark.parametrize("name", RANKERS)
def test_a_ranker_learns_from_whole_groups_and_its_graph_is_exact(name: str, tmp_path: Any) -> None:
    rows = queries()
    pipeline = fit.fit(rows, RANKERS[name], 3)
    together = Dataset(rows.frame.sort("query", maintain_order=True), rows.schema)
    assert rankers.arguments(together, pipeline[-1])["estimator__group"][0] == (rows.frame["query"] == 0).sum()
    own = fit.fit(together, RANKERS[name], 3)
    np.testing.assert_array_equal(fit.scores(own, rows.features), fit.scores(pipeline, rows.features))
    modelfile.save(pipeline, tmp_path / "model.skops")
    loaded, graph = modelfile.load(tmp_path / "model.skops"), export.export(pipeline, rows.schema)
    odd = parity.adversarial(rows, rows, export.thresholds(pipeline, rows.schema), 1)
    compared = parity.compare(
        lambda frame: fit.scores(loaded, frame),
        lambda frame: scores(graph, frame, rows.schema),
        rows.features,
        odd,
        "ranking",
    )
    assert compared.holds(1e-9), compared.difference
    ranked = Sample(rows.label.to_numpy(), fit.scores(loaded, rows.features), rows.groups.to_numpy(), "ranking")
    assert point([registry.named("ndcg", "ranking")], ranked)[0] > 0.8


@pytest.mark.parametrize(
    ("target", "more", "task", "why"),
    [
        ("lightgbm.LGBMRanker", {}, "regression", "puts rows of a group in order"),
        ("xgboost.XGBRanker", {}, "binary", "puts rows of a group in order"),
        ("lightgbm.LGBMRanker", {"weight": {"column": "x"}}, "ranking", "model.weight: LGBMRanker learns from pairs"),
        ("xgboost.XGBRanker", {"stop_early": {"last": "7d"}}, "ranking", "model.stop_early: XGBRanker learns from"),
        ("sklearn.linear_model.LogisticRegression", {}, "ranking", "is no regressor"),
    ],
)
def test_what_no_ranker_can_learn_from_is_refused(target: str, more: Any, task: Any, why: str) -> None:
    declared = Model.parse({"_target_": target, **more, "preprocess": {"numeric": {"impute": "median"}}})
    with pytest.raises(UserError, match=why):
        estimators.verify(declared, task)


def test_a_relevance_is_a_whole_number_and_some_row_has_another_one() -> None:
    rows = queries(60)
    with pytest.raises(UserError, match="whole numbers from 0 to 30, but is 31"):
        fit.fit(Dataset(rows.frame.with_columns(late=pl.col("late") + 29), rows.schema), RANKERS["lightgbm"], 1)
    with pytest.raises(UserError, match="a label must be a whole number from 0 to 30"):
        Sample(np.array([0.5]), np.zeros(1), np.zeros(1, np.int64), "ranking")


def test_a_group_is_never_cut(tmp_path: Any) -> None:
    content = {
        "sources": {"shown": {"package": "shown", "version": "1", "path": "shown.csv"}},
        "observations": "shown",
        "unique_key": ["query", "item"],
        "target": {"name": "clicks", "task": "ranking", "group": ["query"], "expression": "clicked"},
    }
    with pytest.raises(ValueError, match=r"split\.by: 'item' would cut groups of target\.group"):
        Data.parse(content | {"split": {"holdout": 0.2}})
    assert Data.parse(content | {"split": {"holdout": 0.2, "by": ["query"]}}).target.group == ("query",)
    for part, queries_of in (("train", [1, 1, 2, None]), ("holdout", [2, 2, 3, None])):
        pl.DataFrame({"query": queries_of}).write_parquet(tmp_path / f"{part}.parquet")
    schema = Schema((), "clicks", "UTC", "ranking", group=("query",))
    with pytest.raises(UserError, match="2 groups of query have rows to train on and rows that are held out"):
        split._groups_are_whole(schema, tmp_path)


def test_self_tests_plant_worse_orders_and_the_slope_has_no_unit() -> None:
    random = np.random.default_rng(1)
    groups, labels = random.integers(0, 40, 400), random.integers(0, 4, 400).astype(np.float64)
    good = labels + random.normal(size=400)

    def value(given: Any) -> float:
        return float(point([registry.named("ndcg", "ranking")], Sample(labels, given, groups, "ranking"))[0])

    assert value(distortions.leaked(good, labels, "ranking")) > value(good) > value(np.zeros(400))
    assert value(np.zeros(400)) > value(distortions.inverted(good, "ranking"))
    assert value(distortions.blended(good, 1.0, random, "ranking")) < value(good)
    slope = calibration.SLOPES["ranking"]
    assert (
        slope(labels, 1000 * good)
        == pytest.approx(slope(labels, good))
        == pytest.approx(np.corrcoef(labels, good)[0, 1])
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"monitoring": {"cluster": ["origin"]}}, r"monitoring\.cluster: .* set it to \[origin, time_hour\]"),
        ({"evaluation": {"interval": {"cluster": "origin"}}}, r"interval\.cluster: a ranking resamples its groups"),
        ({"deploy": {"environments": {"production": {"rollout": ROLLOUT}}}}, r"production\.rollout\.key: a ranking"),
    ],
)
def test_nothing_resamples_or_splits_a_group(root: Any, changes: Any, why: str) -> None:
    content = compose(root / "conf", ["experiment=triage"]).content
    judge.groups(Project.model_validate(content))
    with pytest.raises(UserError, match=why):
        judge.groups(Project.model_validate(merged(content, changes)))


def merged(content: Any, changes: Any) -> Any:
    """The content with other values at some keys."""
    if not isinstance(changes, dict):
        return changes
    return content | {key: merged(content.get(key) or {}, value) for key, value in changes.items()}
