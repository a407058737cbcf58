"""Each kind of rule: what it lets pass, what it stops, and that what cannot be judged fails."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests import evidences
from tests.evidences import against, gates, made, measured
from trunkline.core import files
from trunkline.pipeline.gate import comparison
from trunkline.pipeline.gate import verdicts as gate_verdicts
from trunkline.pipeline.reports import GatesReport as Judged
from trunkline.pipeline.reports import MeasuredReports, Verdict, passes

THRESHOLD = {"kind": "threshold", "metric": "roc_auc"}
CHAMPION = {"kind": "champion", "metric": "roc_auc", "margin": 0.02}


def judge(rule, evidence, **more):
    """Judge by one rule; return its verdicts."""
    return gate_verdicts.judge(gates({"rule": rule}, **more), evidence)


def only(rule, evidence, **more):
    """Judge by one rule that has one verdict."""
    [verdict] = judge(rule, evidence, **more)
    return verdict


@pytest.mark.parametrize(
    ("limits", "answer"),
    [
        ({"minimum": 0.6}, "pass"),
        ({"minimum": 0.9}, "fail"),
        ({"maximum": 0.9}, "pass"),
        ({"maximum": 0.6}, "fail"),
        ({"minimum": 0.6, "maximum": 0.9}, "pass"),
    ],
)
def test_a_threshold_is_a_minimum_or_a_maximum(limits, answer):
    verdict = only(THRESHOLD | limits, made())
    assert verdict.verdict == answer
    assert (verdict.metric, verdict.blocking, verdict.kind) == ("roc_auc", True, "threshold")
    assert verdict.interval[0] < verdict.observed < verdict.interval[1]


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "threshold", "metric": "roc_auc_ovr", "minimum": 0.5},
        {"kind": "champion", "metric": "roc_auc_ovr", "test": "non_inferiority", "margin": 0.01},
        {"kind": "noise_floor", "metric": "roc_auc_ovr"},
    ],
    ids=lambda rule: rule["kind"],
)
def test_a_metric_without_a_value_fails_and_names_the_absent_class(rule):
    """One that is a mean over all classes has none where the holdout lacks a class."""
    evidence = against(0.1)
    chances = np.stack([evidence.scores, (1 - evidence.scores) / 2, (1 - evidence.scores) / 2], axis=1)
    slices = {"all": {"all": {"n": len(chances), "metrics": {"roc_auc_ovr": {"value": None, "interval": None}}}}}
    of_classes = replace(
        evidence,
        reports=evidence.reports.model_validate(evidence.reports.model_dump() | {"slices": slices}),
        scores=chances,
        champion_scores=chances[::-1],
        seed_scores=(chances,) * 3,
        task="multiclass",
        classes=("early", "on time", "late"),
    )
    verdict = only(rule, of_classes, seeds=3)
    assert verdict.verdict == "fail"
    assert "is not defined" in verdict.reason
    assert f"none of {len(chances)} rows is of the class 'late', and roc_auc_ovr is a mean over all" in verdict.reason
    assert "choose a holdout that has them (data.window.holdout or data.split)" in verdict.reason


def test_the_intervals_end_is_tested_unless_the_point_is_asked_for():
    evidence = made()
    value = evidence.reports.slices["all"]["all"].metrics["roc_auc"]
    between = (value.value + value.interval[0]) / 2
    assert only(THRESHOLD | {"minimum": between}, evidence).verdict == "fail"
    assert only(THRESHOLD | {"minimum": between, "tested": "point"}, evidence).verdict == "pass"


def test_a_rule_on_a_slice_judges_each_value_that_has_rows_enough():
    ruined = made()
    places = ruined.slices["origin"]["JFK"]
    scores = ruined.scores.copy()
    scores[places] = 1 - scores[places]
    verdicts = judge(THRESHOLD | {"slice": "origin", "minimum": 0.6}, measured(replace(ruined, scores=scores)))
    assert [(verdict.slice, verdict.verdict) for verdict in verdicts] == [
        ("origin EWR", "pass"),
        ("origin JFK", "fail"),
    ]


@pytest.mark.parametrize(
    ("noise", "answer"), [(0.0001, "pass"), (0.8, "pass")], ids=["an equal champion", "a worse champion"]
)
def test_a_model_that_is_not_worse_passes(noise, answer):
    verdict = only(CHAMPION, against(noise))
    assert verdict.verdict == answer
    assert verdict.threshold == -0.02


def test_a_worse_model_fails_and_the_reason_says_how_much():
    evidence = against(0.0)
    worse = measured(replace(evidence, scores=made(noise=0.8).scores))
    verdict = only(CHAMPION, worse)
    assert verdict.verdict == "fail"
    assert verdict.observed < -0.02
    assert "worse than flights@v3's; not shown to be at most 0.02 worse" in verdict.reason


def test_superiority_needs_more_than_equality():
    rule = CHAMPION | {"test": "superiority", "margin": 0.0}
    assert only(rule, against(0.0001)).verdict == "fail"
    assert only(rule, against(0.8)).verdict == "pass"


def test_a_family_of_slices_is_corrected_for_there_being_several(monkeypatch):
    given = {}
    monkeypatch.setattr(comparison, "holm", lambda p_values: given.update(p_values) or dict.fromkeys(p_values, 1))
    verdicts = judge(CHAMPION | {"slice": "carrier"}, against(0.001))
    assert max(given.values()) < 0.05
    assert [verdict.verdict for verdict in verdicts] == ["fail", "fail"]


def test_a_family_too_large_for_its_resamples_is_refused_rather_than_never_passed():
    evidence = against(0.001)
    many = {f"g{code}": np.arange(code, len(evidence.labels), 40) for code in range(40)}
    wide = replace(evidence, slices={"origin": many})
    verdict = only(CHAMPION | {"slice": "origin", "margin": 0.5}, wide)
    assert verdict.verdict == "fail"
    assert "raise gates.resamples" in verdict.reason
    assert {one.verdict for one in judge(CHAMPION | {"slice": "origin", "margin": 0.5}, wide, resamples=4000)} == {
        "pass"
    }


def test_no_champion_is_not_applicable_and_said_so():
    for rule in (CHAMPION, {"kind": "operational", "measure": "size_ratio", "maximum": 2}):
        verdict = only(rule, made())
        assert (verdict.verdict, verdict.reason) == ("not_applicable", "production has no champion yet")


@pytest.mark.parametrize("bundle", [True, False], ids=["the same bundle", "the same model in another bundle"])
def test_the_champion_itself_is_the_same_model_and_no_accidental_pass(bundle):
    evidence = made()
    champion = replace(evidences.CHAMPION, model=evidence.challenger.model)
    if bundle:
        champion = replace(champion, digest=evidence.challenger.digest)
    same = replace(evidence, champion=champion, champion_scores=evidence.scores)
    for rule in (CHAMPION, CHAMPION | {"test": "superiority"}, CHAMPION | {"slice": "origin"}):
        verdict = only(rule, same)
        assert verdict.verdict == "not_applicable"
        assert verdict.reason.startswith("same model: the bundle is" if bundle else "same model: every score")


def test_a_champion_that_has_the_challengers_scores_was_read_from_the_wrong_place():
    evidence = made()
    verdict = only(CHAMPION, replace(evidence, champion=evidences.CHAMPION, champion_scores=evidence.scores))
    assert verdict.verdict == "fail"
    assert "one was read for the other" in verdict.reason


def test_a_difference_is_seen_beside_what_the_seed_makes():
    rule = {"kind": "noise_floor", "metric": "log_loss"}
    verdict = only(rule, against(0.8), seeds=2)
    assert verdict.verdict == "pass"
    assert 0 < verdict.baseline < verdict.observed
    assert only(rule, against(0.001), seeds=2).verdict == "fail"
    alone = only(rule, made(), seeds=2)
    assert alone.verdict == "not_applicable"
    assert alone.reason.startswith("production has no champion yet; log_loss varies by ")
    fixed = replace(against(0.8), seed_scores=(made().scores,) * 2)
    assert "nothing from seed to seed" in only(rule, fixed, seeds=2).reason


def test_a_simple_model_must_be_beaten_or_is_recommended():
    baseline = {"_target_": "sklearn.linear_model.LogisticRegression"}
    rule = {"kind": "simplicity", "metric": "log_loss", "margin": 0.001}
    assert only(rule, made(), baseline=baseline).verdict == "pass"
    simple = made()
    verdict = only(rule, replace(simple, baseline_scores=simple.scores), baseline=baseline)
    assert verdict.verdict == "fail"
    assert verdict.reason.endswith("use the baseline: it is simpler")
    constant = {"kind": "simplicity", "metric": "log_loss", "margin": 0.01, "than": "base_rate"}
    assert only(constant, made()).verdict == "pass"
    assert only(constant, made(noise=6.0)).verdict == "fail"


def test_the_base_rate_of_classes_is_chances_although_the_report_has_rounded_it():
    evidence = made()
    labels = np.arange(len(evidence.labels)) % 3
    content = evidence.reports.model_dump()
    content["dataset"]["windows"]["train"] |= {
        "base_rate": None,
        "class_shares": {"a": 0.307692, "b": 0.358974, "c": 0.333333},  # which sum to 0.999999
    }
    of_classes = replace(
        evidence,
        reports=evidence.reports.model_validate(content),
        labels=labels,
        scores=np.where(labels[:, None] == np.arange(3), 0.8, 0.1),
        task="multiclass",
        classes=("a", "b", "c"),
    )
    verdict = only({"kind": "simplicity", "metric": "log_loss", "margin": 0.0, "than": "base_rate"}, of_classes)
    assert verdict.verdict == "pass", verdict.reason


@pytest.mark.parametrize(
    ("rule", "answer", "said"),
    [
        ({"measure": "quarantined_share", "maximum": 0.02}, "pass", "the quarantined share of flights is 0.01"),
        ({"measure": "quarantined_share", "maximum": 0.005}, "fail", "above 0.005"),
        ({"measure": "base_rate_ratio", "minimum": 0.5, "maximum": 2}, "pass", "is 1.1,"),
        ({"measure": "base_rate_ratio", "minimum": 1.5}, "fail", "below 1.5"),
        ({"measure": "psi", "maximum": 0.25}, "fail", "the psi of wind is 0.3, above 0.25"),
        ({"measure": "jensen_shannon", "maximum": 0.25}, "pass", "the jensen_shannon of wind is 0.2"),
    ],
)
def test_rows_are_judged_by_effect_sizes(rule, answer, said):
    verdict = only({"kind": "data"} | rule, made())
    assert verdict.verdict == answer
    assert said in verdict.reason


def test_a_bundle_has_a_size_and_a_runtime():
    size = {"kind": "operational", "measure": "megabytes", "maximum": 2}
    assert only(size, made()).verdict == "pass"
    assert only(size | {"maximum": 0.5}, made()).verdict == "fail"
    ratio = only({"kind": "operational", "measure": "size_ratio", "maximum": 1.2}, against(0.1))
    assert (ratio.verdict, ratio.observed) == ("fail", 1.25)
    runtime = {"kind": "runtime", "required": "onnx"}
    assert only(runtime, made()).verdict == "pass"
    evidence = made()
    slow = evidence.reports.bundle.model_copy(update={"runtime": "sklearn", "reason": "GaussianNB is not covered"})
    verdict = only(runtime, replace(evidence, reports=evidence.reports.model_copy(update={"bundle": slow})))
    assert (verdict.verdict, verdict.reason) == ("fail", "the bundle's runtime is sklearn: GaussianNB is not covered")


def test_rules_of_times_are_left_to_who_has_a_clock():
    timed = {"kind": "operational", "measure": "latency_ratio", "maximum": 1.5}
    assert judge(timed, against(0.1)) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda scores: np.where(np.arange(len(scores)) == 5, np.nan, scores), "wrong score: nan (row 5"),
        (lambda scores: np.full_like(scores, 0.3), "all 6000 scores are the same"),
        (lambda scores: scores * 2, "wrong score"),
        (lambda scores: scores[:-1], "5999 scores for 6000 rows"),
        (lambda scores: evidences.chance(np.log(scores / (1 - scores)) * 4), "the calibration slope is 0.2"),
        (lambda scores: 1 - scores, "below 0.5"),
    ],
    ids=["NaN", "constant", "no probability", "too few", "too sure", "inverted"],
)
def test_scores_that_are_none_are_not_sane(spoil, said):
    evidence = made()
    rule = {"kind": "sanity", "slope": [0.5, 2]}
    assert only(rule, evidence).verdict == "pass"
    verdict = only(rule, replace(evidence, scores=spoil(evidence.scores)))
    assert verdict.verdict == "fail"
    assert said in verdict.reason


FAIR = {"kind": "fairness", "group": "origin", "measure": "selection_rate", "compared": "difference", "maximum": 0.1}


def test_groups_are_treated_alike_and_small_ones_are_named():
    evidence = made()
    verdict = only(FAIR, evidence)
    assert verdict.verdict == "pass"
    assert verdict.reason.endswith("; too few rows to judge: LGA")
    assert verdict.interval[0] <= verdict.observed <= verdict.interval[1]
    unfair = evidence.scores.copy()
    unfair[evidence.slices["origin"]["JFK"]] = 0.9
    assert only(FAIR, replace(evidence, scores=unfair)).verdict == "fail"
    assert only(FAIR | {"compared": "ratio", "minimum": 0.8, "maximum": 1}, evidence).verdict == "pass"


NEEDS = [
    THRESHOLD | {"minimum": 0.1},
    THRESHOLD | {"minimum": 0.1, "slice": "origin"},
    CHAMPION,
    CHAMPION | {"slice": "origin"},
    {"kind": "noise_floor", "metric": "log_loss"},
    {"kind": "simplicity", "metric": "log_loss", "margin": 0.0},
    {"kind": "simplicity", "metric": "log_loss", "margin": 0.0, "than": "base_rate"},
    FAIR,
    {"kind": "data", "measure": "quarantined_share", "maximum": 1},
    {"kind": "data", "measure": "base_rate_ratio", "maximum": 9},
    {"kind": "data", "measure": "psi", "maximum": 9},
    {"kind": "sanity", "slope": [0.1, 9]},
]


def emptied(evidence):
    """Evidence with nothing in it that a rule could look at, each part still of the right type."""
    content = evidence.reports.model_dump()
    windows = {
        name: {"rows": 0, "unlabelled": 0, "label_not_yet_known": 0, "base_rate": None} for name in ("train", "holdout")
    }
    nothing = {
        "slices": {"all": {"all": {"n": 0, "metrics": {}}}},
        "dataset": content["dataset"] | {"windows": windows},
        "validation": {},
    }
    return replace(
        evidence,
        reports=MeasuredReports.model_validate(content | nothing),
        slices={"origin": {}},
        scores=evidence.scores[:0],
        baseline_scores=None,
        champion_scores=None,
        seed_scores=(),
        shifts={},
    )


@pytest.mark.parametrize("rule", NEEDS, ids=lambda rule: " ".join(map(str, rule.values()))[:40])
def test_what_cannot_be_judged_fails_and_says_why(rule):
    verdicts = judge(
        rule, emptied(against(0.1)), seeds=2, baseline={"_target_": "sklearn.linear_model.LogisticRegression"}
    )
    assert verdicts
    for verdict in verdicts:
        assert verdict.verdict == "fail"
        assert verdict.reason.startswith("cannot be judged, so it fails: ")
        assert len(verdict.reason) > len("cannot be judged, so it fails: ") + 10


def test_one_undefined_value_of_a_slice_fails_it():
    evidence = made()
    content = evidence.reports.model_dump()
    content["slices"]["origin"]["JFK"]["metrics"]["roc_auc"] = {"value": None, "interval": None}
    broken = replace(evidence, reports=MeasuredReports.model_validate(content))
    assert {verdict.verdict for verdict in judge(THRESHOLD | {"slice": "origin", "minimum": 0.1}, broken)} == {"fail"}


def test_an_advisory_rule_reports_and_blocks_nothing():
    rules = {"a": THRESHOLD | {"minimum": 0.99, "advisory": True}, "b": THRESHOLD | {"minimum": 0.1}}
    verdicts = gate_verdicts.judge(gates(rules), made())
    assert [(verdict.verdict, verdict.blocking) for verdict in verdicts] == [("fail", False), ("pass", True)]
    assert passes(verdicts)


def test_nothing_judged_is_no_pass():
    assert not passes([])
    assert not passes(judge(CHAMPION, made()))


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["pass", "fail", "not_applicable"])), max_size=6))
def test_the_verdict_follows_from_its_rules_and_no_file_can_say_otherwise(found):
    verdicts = [Verdict(f"r{n}", "threshold", blocking, answer, "why") for n, (blocking, answer) in enumerate(found)]
    expected = any(answer != "not_applicable" for _, answer in found) and (True, "fail") not in found
    assert passes(verdicts) == expected
    content = {"challenger": "c" * 64, "champion": None, "gates": [vars(verdict) for verdict in verdicts]}
    Judged.model_validate(content | {"verdict": "pass" if expected else "fail"})
    with pytest.raises(ValidationError, match="does not follow from its gates"):
        Judged.model_validate(content | {"verdict": "fail" if expected else "pass"})


def test_the_file_is_the_same_for_the_same_evidence_and_reads_back():
    declared = gates({"b": CHAMPION | {"slice": "origin"}, "a": THRESHOLD | {"minimum": 0.1}, "c": FAIR})
    texts = []
    for _ in range(2):
        evidence = against(0.3)
        texts.append(files.canonical_json(gate_verdicts.content(gate_verdicts.judge(declared, evidence), evidence)))
    assert texts[0] == texts[1]
    read = Judged.model_validate(json.loads(texts[0]))
    assert [verdict.id for verdict in read.gates] == ["a", "b", "b", "c"]
    assert (read.challenger, read.champion.digest) == ("c" * 64, "a" * 64)


def test_the_bootstraps_error_is_checked_by_delongs(monkeypatch):
    monkeypatch.setattr(comparison, "delong", lambda *_: (0.0, 1.0))
    verdict = only(CHAMPION, against(0.5))
    assert verdict.verdict == "fail"
    assert "times DeLong's: one of them is wrong" in verdict.reason


def test_rules_are_judged_one_by_one_whatever_else_is_declared():
    rules = {"a": THRESHOLD | {"minimum": 0.6}, "b": CHAMPION, "c": FAIR}
    evidence = against(0.3)
    alone = list(itertools.chain(*(gate_verdicts.judge(gates({name: rule}), evidence) for name, rule in rules.items())))
    assert gate_verdicts.judge(gates(rules), evidence) == alone
