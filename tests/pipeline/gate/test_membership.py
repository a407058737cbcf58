"""A model that has memorised rows is told from one that has not, by the loss of its scores."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.evidences import ROWS, chance, gates, made
from trunkline.pipeline.gate import membership, planted
from trunkline.pipeline.gate import verdicts as gate_verdicts
from trunkline.pipeline.gate.evidence import Evidence, Members
from trunkline.pipeline.reports import Verdict

RULE = {"kind": "membership", "maximum": 0.1, "rows": ROWS}


def judged(evidence: Evidence, **rule: Any) -> Verdict:
    [verdict] = gate_verdicts.judge(gates({"private": RULE | rule}), evidence)
    return verdict


def alike() -> Evidence:
    """A holdout of rows that are distributed as the training rows are, none of which was learnt."""
    evidence, random = made(), np.random.default_rng(1)
    rows = evidence.inputs.trained
    labels = (random.random(ROWS) < chance(rows["hour"].to_numpy())).astype(np.int8)
    inputs = replace(evidence.inputs, trained=rows[::2], features=rows[1::2], labels=labels[1::2])
    members = Members(labels[::2], evidence.clusters[::2])
    return replace(evidence, inputs=inputs, members=members, clusters=evidence.clusters[1::2])


def test_a_model_that_has_learnt_no_row_by_heart_gives_no_advantage() -> None:
    verdict = judged(alike())
    assert verdict.verdict == "pass"
    low, high = verdict.interval
    assert low < 0 < high < 0.06
    assert verdict.observed == pytest.approx(0, abs=0.03)


def test_a_model_that_knows_its_rows_does_and_the_reason_says_by_how_much() -> None:
    verdict = judged(planted.memorised(alike()))
    assert (verdict.verdict, verdict.blocking, verdict.observed > 0.3) == ("fail", True, True), verdict.reason
    assert "the advantage of telling training rows from others by a loss up to 0.0" in verdict.reason


def test_one_that_knows_some_of_its_rows_is_weighed_by_the_interval() -> None:
    evidence = alike()
    inputs, members = evidence.inputs, evidence.members
    few = replace(evidence, inputs=replace(inputs, trained=inputs.trained[::9]))
    model = planted.memorised(replace(few, members=Members(members.labels[::9], members.clusters[::9]))).bundle
    asked = replace(evidence, bundle=model)
    observed = judged(asked).observed
    assert 0.05 < observed < 0.15
    assert judged(asked, maximum=observed + 0.01, tested="point").verdict == "pass"
    assert judged(asked, maximum=observed + 0.01).verdict == "fail"


def test_the_threshold_is_not_chosen_on_the_rows_that_it_is_judged_on() -> None:
    random, rows = np.random.default_rng(0), np.arange(40)
    advantages = [  # 20 rows of one distribution a side: the best threshold of those has an advantage of 0.3 by itself
        membership.guess(tuple(random.normal(size=(2, 40))), (rows, rows), 10, 0).advantage for _ in range(200)
    ]
    assert abs(np.mean(advantages)) < 3 * np.std(advantages) / np.sqrt(200)


def later(evidence: Evidence) -> Evidence:
    """The same model, of a holdout whose labels have come to be harder, and a baseline that is nearly as good."""
    labels, random = evidence.inputs.labels.copy(), np.random.default_rng(2)
    turned = random.random(len(labels)) < 0.2
    labels[turned] = 1 - labels[turned]
    inputs = replace(evidence.inputs, labels=labels)
    baseline = tuple(chance(0.9 * rows["hour"].to_numpy()) for rows in (inputs.trained, inputs.features))
    return replace(evidence, inputs=inputs, members=replace(evidence.members, baseline=baseline))


def test_what_has_changed_with_time_is_not_taken_for_memory() -> None:
    evidence = later(alike())
    assert judged(evidence).verdict == "fail"
    rules = gates(
        {"private": RULE | {"than": "baseline"}}, baseline={"_target_": "sklearn.linear_model.LogisticRegression"}
    )
    [verdict] = gate_verdicts.judge(rules, evidence)
    assert verdict.verdict == "pass", verdict.reason
    assert verdict.observed == pytest.approx(0, abs=0.02)
    [known] = gate_verdicts.judge(rules, planted.memorised(evidence))
    assert (known.verdict, ", beyond the 0.1" in known.reason) == ("fail", True), known.reason
    forgotten = replace(evidence, members=replace(evidence.members, baseline=None))
    assert "run: dvc repro" in gate_verdicts.judge(rules, forgotten)[0].reason


def test_losses_are_those_of_the_task() -> None:
    labels = np.array([1, 0])
    assert membership.losses(labels, np.array([0.5, 0.5]), "binary").tolist() == pytest.approx([np.log(2)] * 2)
    assert membership.losses(labels, np.array([3.0, -1.0]), "regression").tolist() == [2, 1]
    assert membership.losses(labels, np.array([[0.2, 0.8], [0.2, 0.8]]), "multiclass")[1] == pytest.approx(-np.log(0.2))
    assert membership.losses(labels, np.array([1.0, 1.0]), "count").tolist() == [0, 2]


def test_rows_of_one_cluster_cannot_be_judged() -> None:
    evidence = alike()
    verdict = judged(replace(evidence, members=Members(evidence.members.labels, np.zeros(ROWS // 2, np.int64))))
    assert (verdict.verdict, "one cluster" in verdict.reason) == ("fail", True)
