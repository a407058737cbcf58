"""What looks like a leak is seen and blocks until there is a reason; what is honest does not look like one."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from tests.evidences import CHAMPION, gates, made
from trunkline.core.tasks import CLASSES, Task
from trunkline.pipeline.compose.compose import completed
from trunkline.pipeline.gate import leaks, planted
from trunkline.pipeline.gate import verdicts as gate_verdicts
from trunkline.pipeline.gate.evidence import Evidence
from trunkline.pipeline.reports import Verdict, passes

LABELS: dict[Task, Any] = {
    "binary": lambda random: (random.random(3000) < 0.3).astype(np.int8),
    **dict.fromkeys(CLASSES, lambda random: random.choice(3, 3000, p=[0.6, 0.3, 0.1])),
    "regression": lambda random: random.normal(50, 20, 3000),
}
NAMES = [leak.name for leak in planted.leaks(made(), CHAMPION)]


def judge(evidence: Evidence, **rule: Any) -> dict[str | None, Verdict]:
    """Judge by one rule; return its verdict on each sign."""
    found = gate_verdicts.judge(gates({"leaks": {"kind": "leak"} | rule}), evidence)
    assert len({verdict.metric for verdict in found}) == len(found)
    return {verdict.metric: verdict for verdict in found}


def of(name: str, good: Evidence) -> planted.Leak:
    return next(leak for leak in planted.leaks(good, CHAMPION) if leak.name == name)


def other(task: Task) -> Evidence:
    """Evidence of a task with honest features; its scores are of no use."""
    random = np.random.default_rng(3)
    labels = LABELS[task](random)
    honest = pl.DataFrame({"x": labels + 2 * labels.std() * random.normal(size=3000), "name": ["a", "b", None] * 1000})
    trained = honest.with_columns(x=pl.col("x") + 0.5)
    shape = (3000, 3) if task in CLASSES else 3000
    scores = random.dirichlet([1, 1, 1], 3000) if task in CLASSES else random.random(shape)
    classes = ("a", "b", "c") if task in CLASSES else ()
    ours = {"labels": labels, "scores": scores, "task": task, "classes": classes, "clusters": np.arange(3000)}
    return replace(made(), inputs=leaks.Inputs(honest, trained, labels, task), **ours)


def test_an_honest_model_shows_no_sign() -> None:
    found = judge(made())
    assert {sign: verdict.verdict for sign, verdict in found.items()} == {
        "alone": "pass",
        "importance": "pass",
        "jump": "not_applicable",
        "repeated": "pass",
    }
    assert all(verdict.verdict == "pass" for verdict in judge(replace(made(), **better(0.5))).values())


def better(noise: float) -> dict[str, Any]:
    """A champion that is worse than the model by the noise in its scores."""
    random = np.random.default_rng(5)
    return {"champion": CHAMPION, "champion_scores": np.clip(made().scores + noise * random.normal(0, 0.1, 6000), 0, 1)}


@pytest.mark.parametrize("task", LABELS)
@pytest.mark.parametrize("name", NAMES)
def test_a_planted_leak_blocks_by_its_sign(name: str, task: Task) -> None:
    good = other(task)
    if task == "regression" and name == "missing where it has not happened yet":
        assert name not in [leak.name for leak in planted.leaks(good, CHAMPION)], "which its order cannot show"
        return
    leak = of(name, good)
    assert judge(good)[leak.sign].verdict != "fail"
    verdict = judge(leak.evidence)[leak.sign]
    assert (verdict.verdict, verdict.blocking) == ("fail", True)
    assert verdict.observed is not None
    assert verdict.threshold is not None
    assert verdict.observed > verdict.threshold


@pytest.mark.parametrize("name", [name for name in NAMES if "rows of the holdout" not in name])
def test_a_declared_reason_lets_it_pass_and_is_shown(name: str) -> None:
    leak = of(name, made())
    refused = judge(leak.evidence)[leak.sign]
    assert "fix the leak, or say under explained" in refused.reason
    reasons = {planted.PLANTED: "known at booking"} if leak.sign != "jump" else {}
    if planted.PLANTED not in leak.evidence.inputs.features.columns:
        leak = replace(leak, evidence=replace(leak.evidence, inputs=of(NAMES[0], made()).evidence.inputs))
    jumped = {CHAMPION.version: "reads the weather now"}
    verdict = judge(leak.evidence, explained=reasons, explained_jump=jumped)[leak.sign]
    assert verdict.verdict == "pass"
    assert verdict.reason.endswith(
        f"explained: {'reads the weather now' if leak.sign == 'jump' else 'known at booking'}"
    )


def test_a_reason_is_of_one_feature_and_one_version() -> None:
    features = made().inputs.features.with_columns(of("the label with noise", made()).evidence.inputs.features)
    leaking = replace(made(), inputs=replace(made().inputs, features=features))
    verdict = judge(leaking, explained={"hour": "is the schedule"})["alone"]
    assert (verdict.verdict, verdict.reason.startswith(f"how well {planted.PLANTED} alone ranks")) == ("fail", True)
    jumped = of("a jump beyond production", made()).evidence
    assert judge(jumped, explained_jump={"flights@v2": "was better than that"})["jump"].verdict == "fail"


def test_a_reason_for_no_feature_and_one_that_says_nothing_are_refused() -> None:
    assert judge(made(), explained={"huor": "is the schedule"})["alone"].reason == (
        "cannot be judged, so it fails: explained: no feature 'huor'; did you mean 'hour'?"
    )
    with pytest.raises(ValidationError):
        judge(made(), explained={"hour": "ok"})


@pytest.mark.parametrize(
    ("lost", "sign"),
    [({"features": pl.DataFrame()}, "alone"), ({"trained": pl.DataFrame()}, "repeated")],
)
def test_what_cannot_be_judged_fails(lost: dict[str, Any], sign: str) -> None:
    verdict = judge(replace(made(), inputs=replace(made().inputs, **lost)))[sign]
    assert (verdict.verdict, verdict.reason[:16]) == ("fail", "cannot be judged")


def test_too_few_rows_of_a_class_are_said_to_be_what_is_missing() -> None:
    for task, rows in (("binary", [2990, 10]), ("binary", [2991, 9]), ("multiclass", [2991, 6, 3])):
        few = other(task)
        labels = np.repeat(np.arange(len(rows)), rows)
        inputs = replace(few.inputs, labels=labels)
        verdict = judge(replace(few, labels=labels, inputs=inputs))["alone"]
        assert (verdict.observed is None) == (9 in rows or 6 in rows)
        if verdict.observed is None:
            assert f"the holdout has {min(rows)} rows of its rarest class, and with fewer than 10" in verdict.reason
            assert "hold out more rows: window or split of conf/data" in verdict.reason
    alike = replace(other("binary"), labels=np.ones(3000, np.int8))
    reason = judge(replace(alike, inputs=replace(alike.inputs, labels=alike.labels)))["alone"].reason
    assert "the labels of the holdout are all alike" in reason


def test_strengths_are_those_of_other_libraries() -> None:
    random = np.random.default_rng(1)
    values, labels = random.normal(size=900).round(1), np.repeat([0, 1, 2], 300)
    frame = pl.DataFrame({"x": values})
    area = roc_auc_score(labels > 1, values)
    assert leaks.strengths(frame, (labels > 1).astype(np.int8), "binary")["x"] == pytest.approx(max(area, 1 - area))
    each = [roc_auc_score(labels == code, values) for code in range(3)]
    assert leaks.strengths(frame, labels, "multiclass")["x"] == pytest.approx(max(max(one, 1 - one) for one in each))
    numbers = random.normal(size=900) - values
    expected = abs(spearmanr(values, numbers).statistic)
    assert leaks.strengths(frame, numbers, "regression")["x"] == pytest.approx(expected)


def test_missing_values_rank_at_either_end_or_are_left_out() -> None:
    labels = np.repeat([0, 1], 500).astype(np.int8)
    some = pl.DataFrame({"x": [float(row) if row % 3 == 0 else None for row in range(1000)]})
    assert leaks.strengths(some, labels, "binary")["x"] == 1.0
    at_an_end = pl.DataFrame({"x": [None] * 500 + [float(row % 7) for row in range(500)]})
    assert leaks.strengths(at_an_end, labels, "binary")["x"] == 1.0
    few = pl.DataFrame({"x": [float(row) if row % 100 == 0 else None for row in range(1000)]})
    assert leaks.strengths(few, labels, "binary")["x"] < 0.6


@pytest.mark.parametrize("task", LABELS)
def test_an_id_does_not_look_like_a_leak(task: Task) -> None:
    """A category is measured by rows that are not the row's own: a name of each row knows nothing."""
    labels = LABELS[task](np.random.default_rng(2))
    frame = pl.DataFrame({"id": [str(row) for row in range(3000)], "pair": [str(row // 2) for row in range(3000)]})
    assert max(leaks.strengths(frame, labels, task).values()) < 0.55
    told = pl.DataFrame({"told": pl.Series([str(label > np.median(labels)) for label in labels])})
    assert task == "binary" or leaks.strengths(told, labels, task)["told"] > 0.6


def test_labels_that_are_alike_and_a_class_of_few_rows_show_nothing() -> None:
    few = np.zeros(100, dtype=np.int8)
    few[:3] = 1
    assert leaks.strengths(pl.DataFrame({"x": few}), few, "binary") == {}
    assert leaks.strengths(pl.DataFrame({"x": few}), np.ones(100), "regression") == {}
    assert leaks.strengths(pl.DataFrame({"x": np.ones(100)}), np.arange(100.0), "regression") == {"x": 0.0}


def test_rows_that_repeat_by_themselves_are_no_leak() -> None:
    """A schedule comes back each week; a measurement does not."""
    random = np.random.default_rng(4)
    schedule = pl.DataFrame({"hour": random.integers(0, 24, 9000), "carrier": random.choice(["AA", "UA"], 9000)})
    assert leaks.repeated(schedule[:1000], schedule[1000:]) == 0
    measured = schedule.with_columns(x=random.normal(size=9000))
    assert leaks.repeated(measured[:1000], measured[1000:]) == 0
    assert leaks.repeated(measured[:1000], measured[500:]) == 0.5
    missing = pl.DataFrame({"x": [None, 1.0, 2.0]})
    assert leaks.repeated(missing, missing[:1]) == pytest.approx(1 / 3)


def test_two_features_cannot_dwarf_each_other() -> None:
    assert leaks.dwarfing({"a": 1.0, "b": 0.0}) is None
    assert leaks.dwarfing({"a": 0.0, "b": 0.0, "c": 0.0}) is None
    assert leaks.dwarfing({"a": 8.0, "b": 1.0, "c": 1.0}) == ("a", 0.8)
    assert judge(replace(made(), importances={"a": 1.0}))["importance"].verdict == "not_applicable"


def test_where_no_rule_looks_for_leaks_compose_adds_one() -> None:
    """It can be made advisory, but not be forgotten."""
    sane = {"kind": "sanity", "slope": [0.5, 2]}
    assert completed({"gates": {"rules": {"sane": sane}}})["gates"]["rules"] == {
        "sane": sane,
        "no_leak": {"kind": "leak"},
    }
    declared = {"own": {"kind": "leak", "advisory": True}}
    assert completed({"gates": {"rules": declared}})["gates"]["rules"] == declared
    taken = completed({"gates": {"rules": {"no_leak": sane}}})["gates"]["rules"]
    assert taken == {"no_leak": sane, "no_leak_": {"kind": "leak"}}
    for broken in ({"gates": {"rules": [1]}}, {"gates": {}}, {"gates": None}, {}):
        completed(broken)


def test_a_rule_that_only_advises_lets_a_leak_pass() -> None:
    leak = of("the label with noise", made())
    assert passes(list(judge(leak.evidence, advisory=True).values()))
