"""A report of verdicts is held against the declared rules: nothing passes for want of a rule."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evidences import against, gates
from trunkline.pipeline.gate import verdicts as gate_verdicts
from trunkline.pipeline.gate.decision import ANOTHER, MISSING, decide
from trunkline.pipeline.reports import GatesReport, passes

RULES = {
    "advised": {"kind": "threshold", "metric": "roc_auc", "minimum": 0.99, "advisory": True},
    "brier": {"kind": "threshold", "metric": "brier", "maximum": 0.9},
    "fast": {"kind": "operational", "measure": "latency_ratio", "maximum": 1.5},
    "ranks": {"kind": "threshold", "metric": "roc_auc", "minimum": 0.1},
}


def report(verdicts, **more):
    content = {"verdict": "pass" if passes(verdicts) else "fail", "challenger": "d", "champion": None}
    return GatesReport.model_validate_json(json.dumps(content | {"gates": [vars(one) for one in verdicts]} | more))


@pytest.fixture(scope="module")
def judged():
    return gate_verdicts.judge(gates(RULES), against(0.0))


def test_a_report_that_is_as_declared_decides(judged):
    decided = decide(gates(RULES), report(judged))
    assert [one.id for one in decided] == ["advised", "brier", "ranks", "fast"]
    assert decided[:3] == judged
    assert passes(decided)


def test_a_report_without_verdicts_blocks(judged):
    decided = decide(gates(RULES), report([]))
    assert {one.reason for one in decided if one.id != "fast"} == {MISSING}
    assert not passes(decided)


@given(data=st.data())
def test_no_rule_can_be_left_out_renamed_or_made_advice(judged, data):
    place = data.draw(st.sampled_from([number for number, one in enumerate(judged) if one.blocking]))
    forged = list(judged)
    what = data.draw(st.sampled_from(["leave out", "rename", "advise", "kind"]))
    if what == "leave out":
        del forged[place]
    else:
        change = {"rename": {"id": "other"}, "advise": {"blocking": False}, "kind": {"kind": "data"}}[what]
        forged[place] = replace(forged[place], **change)
    decided = decide(gates(RULES), report(forged))
    assert not passes(decided)
    assert {MISSING, ANOTHER} & {one.reason for one in decided}
