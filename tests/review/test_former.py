"""What the base's contract says of rows that a change lets through."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from trunkline.core.params import Params
from trunkline.pipeline.reports import TableReport, Verdict
from trunkline.review import former, problem

SHIPPED = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))
COUNTED = {"flights": TableReport(rows=1000, quarantined=20, checks={"columns.dep_delay.max": 20})}


def verdicts(change: dict[str, Any], counted: dict[str, TableReport], **before: Any) -> list[Verdict]:
    """Judge counts by the base, whose flights' contract has `before`; the change's own has `change` besides."""
    params = []
    for more in (before, before | change):
        content = copy.deepcopy(SHIPPED)
        content["contract"]["tables"]["flights"].update(more)
        params.append(Params(content))
    return former.verdicts(*params, counted)


@pytest.mark.parametrize(
    ("before", "counted", "told"),
    [
        (
            {"quarantine_limit": 0.01},
            {},
            "2.00% of the rows are in quarantine, more than its quarantine_limit of 1.00%",
        ),
        (
            {"on_duplicate": "fail", "quarantine_limit": 0.5},
            {"unique": 20},
            "20 rows break unique, which fails the run",
        ),
        ({"quarantine_limit": 0.5}, {"columns.distance.type": 3}, "3 rows break columns.distance.type, which fails"),
    ],
)
def test_what_the_base_would_not_have_let_through_blocks(before, counted, told) -> None:
    report = COUNTED["flights"].model_copy(update={"checks": counted})
    (verdict,) = verdicts({"quarantine_limit": 0.9}, {"flights": report}, **before)
    assert (verdict.blocking, verdict.verdict) == (True, "fail")
    assert verdict.reason.startswith("by the base's rules: reports/validation.json: flights: ")
    assert told in verdict.reason


def test_what_the_base_lets_through_does_not_block() -> None:
    assert verdicts({"quarantine_limit": 0.9}, COUNTED, quarantine_limit=0.02) == []
    assert verdicts({}, COUNTED, quarantine_limit=0.01) == [], "the run itself has judged by the same contract"
    assert verdicts({"quarantine_limit": 0.9}, {"tickets": COUNTED["flights"]}) == [], "a table that the base has not"


@pytest.mark.parametrize("key", problem.KEYS)
def test_no_word_but_another_name_switches_off_the_gates_of_the_base(key, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # nothing is here that could be judged, which blocks
    loosened = copy.deepcopy(SHIPPED)
    loosened["gates"]["rules"] = {}
    *groups, last = key.split(".")
    inner = loosened
    for group in groups:
        inner = inner[group]
    inner[last] = "another"
    judged = former.verdicts(Params(SHIPPED), Params(loosened), {})
    blocked = [("rules", True, "fail")] if key != problem.RENAMED else []
    assert [(verdict.id, verdict.blocking, verdict.verdict) for verdict in judged] == blocked


def test_a_contract_that_is_not_understood_warns() -> None:
    (verdict,) = verdicts({"quarantine_limit": 0.9}, COUNTED, quarantine_limit="few")
    assert (verdict.blocking, verdict.verdict) == (False, "fail")
    assert "cannot be read by this code" in verdict.reason
