"""A threshold is where declared costs are the smallest, chosen on rows not learnt from; the holdout shows its cost."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.evidences import EVALUATION, gates, made
from tests.review.test_comment import REVIEW
from trunkline.conf.evaluation import Decision
from trunkline.core import paths
from trunkline.core.dataset import Schema
from trunkline.core.errors import UserError
from trunkline.core.features import Feature
from trunkline.core.params import Params
from trunkline.pipeline.compose.compose import compose
from trunkline.pipeline.compose.judge import check
from trunkline.pipeline.evaluate import decision, threshold
from trunkline.pipeline.evaluate.estimate import Chosen
from trunkline.pipeline.evaluate.metrics.kinds import Sample
from trunkline.pipeline.gate import selftest
from trunkline.pipeline.gate import verdicts as gate_verdicts
from trunkline.pipeline.gate.evidence import Evidence
from trunkline.pipeline.reports import DecisionReport
from trunkline.review import comment

CONF = Path(__file__).parents[3] / "conf"
COSTS = Decision(false_positive=1, false_negative=4, gain=0.5)
DECLARED = EVALUATION.model_copy(update={"decision": COSTS})
CHOSEN = Chosen(0.2, 5, 100, 0.4)


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_is_cheaper_whatever_the_ties(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(0, 12, 60) / 11
    labels = (random.random(60) < scores).astype(np.int8)
    chosen = threshold.choose(labels, scores, COSTS)
    each = [
        decision.measured(sample(labels, scores), replace(CHOSEN, threshold=at), DECLARED, 1) for at in grid(scores)
    ]
    costs = [one.expected_cost.value for one in each if one]
    own = decision.measured(sample(labels, scores), chosen, DECLARED, 1)
    assert own
    assert chosen.cost == pytest.approx(own.expected_cost.value) == pytest.approx(min(costs))
    assert (chosen.rows, own.always, own.never) == (60, pytest.approx(costs[0]), pytest.approx(costs[-1]))


def sample(labels: Any, scores: Any) -> Sample:
    return Sample(labels, scores, np.arange(len(labels)), "binary")


def grid(scores: Any) -> list[float]:
    return [0.0, *(np.unique(scores) + 1e-6).tolist()]


def test_of_chances_that_are_right_it_is_the_known_one() -> None:
    random = np.random.default_rng(1)
    scores = random.random(200_000)
    labels = (random.random(200_000) < scores).astype(np.int8)
    assert threshold.choose(labels, scores, COSTS).threshold == pytest.approx(1 / 5.5, abs=0.02)


def test_the_rows_are_counted_and_the_costs_are_theirs() -> None:
    labels, scores = np.array([1, 1, 0, 0, 0], dtype=np.int8), np.array([0.2, 0.1, 0.2, 0.1, 0.3])
    found = decision.measured(sample(labels, scores), CHOSEN, DECLARED, 1)
    assert found is not None
    assert vars(found.confusion) == {
        "true_positives": 1,
        "false_positives": 2,
        "false_negatives": 1,
        "true_negatives": 1,
    }
    assert found.expected_cost.value == (2 * 1 + 4 - 0.5) / 5
    assert (found.always, found.never) == ((3 - 2 * 0.5) / 5, 8 / 5)
    assert decision.measured(sample(labels, scores), CHOSEN, EVALUATION, 1) is None
    assert decision.content(None) == {}


@pytest.mark.parametrize("timed", [False, True])
def test_it_is_chosen_on_rows_that_no_model_has_seen(tmp_path, monkeypatch, timed: bool) -> None:
    """A tree that knows its training rows by heart would call every threshold good."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(2)
    frame = pl.DataFrame({"id": range(400), "x": random.normal(size=400)}).with_columns(
        late=pl.Series(random.random(400) < 0.5)
    )
    if timed:
        frame = frame.with_columns(event_time=pl.datetime(2013, 1, 1) + pl.duration(hours=pl.col("id")))
    paths.FEATURES.mkdir(parents=True)
    frame.write_parquet(paths.FEATURES / "train.parquet")
    Schema((Feature("x", "numeric"),), "late", "UTC").write()
    data = {"timezone": "UTC", "unique_key": ["id"], "target": {"known_after": "1d"} if timed else {}}
    model = {"_target_": "sklearn.tree.DecisionTreeClassifier"}
    params = Params({"data": data, "model": model, "seed": 1, "search": {}})
    declared = EVALUATION.model_copy(update={"decision": COSTS.model_copy(update={"folds": 3})})
    chosen = threshold.chosen(params, declared, 1)
    assert chosen is not None
    assert (chosen.folds, 280 if timed else 400) == (3, pytest.approx(chosen.rows, abs=30))
    assert chosen.cost > 0, "as on rows that were learnt from it would be below: every positive one brings its gain"
    assert threshold.chosen(params, EVALUATION, 1) is None
    many = EVALUATION.model_copy(update={"decision": COSTS.model_copy(update={"folds": 50})})
    frame.head(20).write_parquet(paths.FEATURES / "train.parquet")
    with pytest.raises(UserError, match=r"evaluation\.decision\.folds: fold \d+ of 50 has no rows"):
        threshold.chosen(params, many, 1)


def with_costs() -> Evidence:
    evidence = made()
    decided = decision.measured(evidence.sample(evidence.scores), CHOSEN, DECLARED, 7)
    return replace(evidence, reports=evidence.reports.model_copy(update={"decision": DecisionReport(decided=decided)}))


def test_a_threshold_of_the_gates_names_the_cost(tmp_path, monkeypatch) -> None:
    evidence = with_costs()
    cost = evidence.reports.decision.decided.expected_cost  # type: ignore[union-attr]
    rule = {"kind": "threshold", "metric": "expected_cost"}
    limits = [cost.value + 1e-6, cost.interval[1] + 1e-6, cost.value - 1e-6]
    rules = {
        "point": {"maximum": limits[0], "tested": "point"},
        "ends": {"maximum": limits[0]},
        "wide": {"maximum": limits[1]},
    }
    judged = gate_verdicts.judge(gates({name: rule | more for name, more in rules.items()}), evidence)
    assert {verdict.id: verdict.verdict for verdict in judged} == {"point": "pass", "ends": "fail", "wide": "pass"}
    [verdict] = gate_verdicts.judge(gates({"cost": rule | {"maximum": 9}}), made())
    assert (verdict.verdict, "declare evaluation.decision" in verdict.reason) == ("fail", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/slices.json").write_text(json.dumps(made().reports.model_dump()["slices"]))
    cases = selftest.run(gates({"cheap": rule | {"maximum": limits[1]}}), DECLARED, evidence)
    [shuffled] = [case for case in cases if case.name == "shuffled scores"]
    assert shuffled.outcome == "stopped by cheap", "it is measured of the scores that are planted"


def test_it_is_a_table_in_the_comment() -> None:
    shown = comment.render(
        replace(REVIEW, reports=REVIEW.reports.model_copy(update={"decision": with_costs().reports.decision}))
    )
    assert "Positive from a score of 0.2 on" in shown
    assert "| taken for negative |" in shown


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (["gates.rules.ranks.metric=expected_cost"], "no metric 'expected_cost' in conf/evaluation"),
        (["gates.rules.no_worse.metric=expected_cost"], "no metric 'expected_cost' that says which model is better"),
        (["gates.rules.every_hour.metric=expected_cost", "+evaluation.decision={COSTS}"], "is of the whole holdout"),
        (["experiment=diabetes", "+evaluation.decision={COSTS}"], "costs are of a binary label, not of regression"),
    ],
)
def test_what_has_no_meaning_is_refused(changed: list[str], told: str) -> None:
    overrides = [text.replace("COSTS", "false_positive: 1, false_negative: 5") for text in changed]
    with pytest.raises(UserError, match=told):
        check(compose(CONF, overrides), CONF)


def test_with_costs_a_threshold_may_name_the_metric() -> None:
    costs = "+evaluation.decision={false_positive: 1, false_negative: 5}"
    check(compose(CONF, [costs, "gates.rules.ranks.metric=expected_cost"]), CONF)
