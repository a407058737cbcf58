"""The self-test of the gates: right about rules that can say no, and about what is missing from those that cannot."""

import json
from dataclasses import replace

import pytest

from tests import evidences
from tests.evidences import EVALUATION, gates, made
from trunkline.pipeline.gate import selftest

RULES = {
    "ranks": {"kind": "threshold", "metric": "roc_auc", "minimum": 0.65},
    "no_leak": {"kind": "threshold", "metric": "roc_auc", "maximum": 0.95, "tested": "point"},
    "origins": {"kind": "threshold", "metric": "roc_auc", "slice": "origin", "minimum": 0.62},
    "carriers": {"kind": "threshold", "metric": "roc_auc", "slice": "carrier", "minimum": 0.62},
    "no_worse": {"kind": "champion", "metric": "log_loss", "margin": 0.01},
    "no_origin_worse": {"kind": "champion", "metric": "roc_auc", "slice": "origin", "margin": 0.03},
    "sane": {"kind": "sanity", "slope": [0.5, 2]},
    "leaks": {"kind": "leak"},
    "later": {"kind": "monotonic", "features": {"hour": 1, "wind": -1}},  # the bundle does not look at the wind
    "private": {"kind": "membership", "maximum": 0.3},
    "sturdy": {"kind": "evasion", "features": {"hour": 0.2}, "maximum": 0.3},
    "steady": {"kind": "poisoning", "metric": "log_loss", "maximum": 0.01},
}
LEAKS = [
    "the label as a feature",
    "the label with noise",
    "a later outcome of the row itself",
    "the mean label of an id",
    "missing where it has not happened yet",
    "rows of the holdout among the training rows",
    "a feature that dwarfs all others",
    "a jump beyond production",
]
WRONG_WAYS = [f"{name} moves the score the wrong way, for later" for name in ("hour", "wind")]
ATTACKED = {
    "a model that knows its training rows by heart, for private": "private fails",
    "a model that decides otherwise after half of a move, for sturdy": "sturdy fails",
    "a model that takes over each label that flips, for steady": "steady fails",
}
PLANTED = 16 + len(LEAKS) + len(WRONG_WAYS) + len(ATTACKED)


@pytest.fixture(autouse=True)
def _reports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/slices.json").write_text(json.dumps(made().reports.model_dump()["slices"]))


def run(without=(), **changed):
    """Plant models under the rules but some; return those that went wrong, by name."""
    rules = {name: rule for name, rule in (RULES | changed).items() if name not in without}
    cases = selftest.run(gates(rules, poisoned=0.05 if "steady" in rules else None), EVALUATION, made())
    return {case.name: case for case in cases if not case.right}, cases


def test_a_whole_set_of_rules_gives_every_planted_model_its_verdict():
    wrong, cases = run()
    assert wrong == {}
    assert len(cases) == PLANTED
    found = {case.name: case.outcome for case in cases}
    assert found["a good first model"] == "pass"
    assert found["the champion itself"] == "same model"
    assert found["a leaked column, absurdly good"] == "stopped by no_leak"
    assert found["a champion replaced by the challenger"] == "stopped by no_origin_worse, no_worse"
    assert found["origin EWR ruined"] == "stopped by origins"
    assert {found[name] for name in LEAKS} == {"stopped by leaks"}
    assert {found[name] for name in WRONG_WAYS} == {"later fails"}
    assert ATTACKED.items() <= found.items()


@pytest.mark.parametrize(
    ("without", "planted", "missing"),
    [
        (["ranks", "origins", "carriers"], "shuffled scores", "add a minimum"),
        *((["leaks"], name, "add {kind: leak}") for name in LEAKS),
        (["no_leak"], "a leaked column, absurdly good", "add a maximum"),
        (["origins"], "origin EWR ruined", "slice: origin"),
        (["carriers"], "carrier UA ruined", "slice: carrier"),
        (["sane", "steady"], "scores that are NaN", "add {kind: sanity"),
        (["sane"], "a constant score", "add {kind: sanity"),
        (["no_worse", "no_origin_worse"], "the champion itself", "add {kind: champion"),
        (["no_worse", "no_origin_worse"], "a champion replaced by the challenger", "add {kind: champion"),
        (["no_worse", "no_origin_worse"], "worse than production", "add {kind: champion"),
        (
            ["ranks", "origins", "carriers", "no_leak"],
            "a metric that is not in the reports",
            "no threshold that blocks",
        ),
    ],
)
def test_what_a_rule_set_lacks_is_said(without, planted, missing):
    wrong, _ = run(without)
    assert missing in wrong[planted].missing


@pytest.mark.parametrize("rule", ["no_leak", "origins", "carriers", "sane", "leaks"])
def test_a_rule_that_only_advises_stops_nothing(rule):
    wrong, _ = run(**{rule: RULES[rule] | {"advisory": True}})
    assert wrong


def test_a_tolerance_that_nothing_exceeds_is_reported():
    assert run(later=RULES["later"] | {"tolerance": 1e308})[0].keys() >= set(WRONG_WAYS)


def test_a_loss_that_no_model_reaches_is_reported():
    wrong, _ = run(steady=RULES["steady"] | {"maximum": 5})
    assert wrong.keys() == {"a model that takes over each label that flips, for steady"}


def test_a_reason_for_a_feature_of_the_model_is_none_for_a_planted_one():
    wrong, _ = run(leaks=RULES["leaks"] | {"alone": 0.6, "explained": {"hour": "the schedule is known"}})
    assert wrong == {}


def test_a_rule_that_cannot_be_judged_is_no_reason():
    simple = {"kind": "simplicity", "metric": "log_loss", "margin": 0.0}
    declared = gates({"simple": simple}, baseline={"_target_": "sklearn.linear_model.LogisticRegression"})
    cases = selftest.run(declared, EVALUATION, replace(made(), baseline_scores=None))
    [shuffled] = [case for case in cases if case.name == "shuffled scores"]
    assert (shuffled.right, shuffled.outcome) == (False, "stopped by simple")


def test_rules_that_no_model_passes_are_reported():
    wrong, _ = run(impossible={"kind": "threshold", "metric": "brier", "maximum": 0.01})
    assert {"a good first model", "better than production", "as good as production"} <= set(wrong)
    assert "nothing shows that they let a good one through" in wrong["a good first model"].missing


def test_a_margin_that_nothing_could_exceed_is_reported():
    wrong, _ = run(no_worse=RULES["no_worse"] | {"margin": 5.0})
    case = wrong["worse by twice the margin of no_worse"]
    assert case.outcome == "cannot be made: no share of noise makes log_loss worse by 10"
    assert "margin of 5" in case.missing


def test_where_superiority_is_asked_for_an_equal_model_must_not_pass():
    wrong, cases = run(better={"kind": "champion", "metric": "log_loss", "test": "superiority", "margin": 0.0})
    assert wrong == {}
    found = {case.name: case.outcome for case in cases}
    assert found["as good as production"] == "stopped by better"
    assert found["no better than production, for better"] == "better fails"


def test_a_production_model_that_passes_stands_in_for_a_commit_that_does_not():
    evidence = made(noise=3.0)
    good = made()
    cases = selftest.run(
        gates(RULES, poisoned=0.05),
        EVALUATION,
        replace(evidence, champion=evidences.CHAMPION, champion_scores=good.scores),
    )
    assert [case.name for case in cases if not case.right] == []


def test_it_is_the_same_every_time():
    assert run() == run()
