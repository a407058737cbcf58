"""Rules that a first run and its self-test set: milder with few rows, and with limits that tell good from bad."""

import json
from pathlib import Path
from typing import Any

import pytest

from trunkline.conf.gates import Sanity
from trunkline.init import first_rules
from trunkline.init.gates_text import Rule
from trunkline.pipeline.gate import plants
from trunkline.pipeline.gate.selftest import Case
from trunkline.pipeline.reports import Reports

CONTENT = json.loads((Path(__file__).parents[1] / "golden/report/reports.json").read_text(encoding="utf-8"))


def first(rate: float, rows: int, *verdicts: tuple[str, str, str | None, float | None]) -> Reports:
    """Return what a run gave: the share of true labels of so many rows held out, and what was judged."""
    holdout = {**CONTENT["dataset"]["windows"]["holdout"], "base_rate": rate, "rows": rows}
    dataset = {**CONTENT["dataset"], "windows": {**CONTENT["dataset"]["windows"], "holdout": holdout}}
    blank = CONTENT["gates"]["gates"][0]
    judged = [
        {**blank, "id": name, "verdict": verdict, "metric": metric, "observed": observed, "blocking": True}
        for name, verdict, metric, observed in verdicts
    ]
    failed = any(verdict["verdict"] == "fail" for verdict in judged)
    gates = {**CONTENT["gates"], "gates": judged, "verdict": "fail" if failed else "pass"}
    return Reports.model_validate({**CONTENT, "dataset": dataset, "gates": gates})


USEFUL = ("knows_something", "pass", "log_loss", 0.2)


@pytest.mark.parametrize("slope", [0.02, 0.29, 3.1, 5.906, 80.0])
def test_few_rows_widen_the_band_of_the_slope_around_what_it_was(slope):
    reports = first(0.4, 100, USEFUL, ("sane", "fail", None, slope))
    rule = first_rules.of_few_rows("binary", reports)["sane"]
    low, high = Sanity.model_validate(rule.content | {"slope": tuple(rule.content["slope"])}).slope
    assert low < slope < high
    assert 0 < low <= 0.3
    assert high >= 3
    assert "the 40 rows of the rarest class" in rule.why


@pytest.mark.parametrize(
    "reports",
    [
        first(0.4, 400, USEFUL, ("sane", "fail", None, 5.9)),  # 160 rows tell it
        first(0.4, 100, USEFUL, ("sane", "pass", None, 1.1)),
        first(0.4, 100, USEFUL, ("sane", "fail", None, -0.4)),  # turned around
        first(0.4, 100, ("sane", "fail", None, 5.9)),  # and no better than the base rate
        first(0.4, 100, USEFUL, ("no_leak", "fail", "alone", 0.97)),
        first(0.4, 100, USEFUL, ("no_leak", "fail", "alone", None)),  # not for want of rows
    ],
)
def test_what_enough_rows_tell_or_a_bad_model_has_shown_blocks(reports):
    assert first_rules.of_few_rows("binary", reports) == {}
    assert first_rules.of_few_rows("regression", reports) == {}


def test_what_cannot_be_judged_of_few_rows_is_advisory_and_says_why():
    reports = first(0.05, 100, USEFUL, ("sane", "fail", None, None), ("no_leak", "fail", "alone", None))
    rules = first_rules.of_few_rows("binary", reports)
    assert {name: rule.content["advisory"] for name, rule in rules.items()} == {"sane": True, "no_leak": True}
    assert all("5 rows" in rule.why and "Remove `advisory`" in rule.why for rule in rules.values())


def rules(**margins: Any) -> dict[str, Rule]:
    return {
        "no_worse": Rule({"kind": "champion", "metric": "log_loss", "margin": margins.get("margin", 0.1)}),
        "not_too_well": Rule({"kind": "threshold", "metric": "log_loss", "minimum": margins.get("floor", 0.01)}),
    }


RIGHT = Case("as good as production", plants.GOOD, "pass", right=True)


@pytest.mark.parametrize(
    ("case", "margin", "floor"),
    [
        (RIGHT, 0.1, 0.01),
        (Case("as good as production", plants.GOOD, "", right=False, stopped=("no_worse",)), 0.2, 0.01),
        (Case("a good first model", plants.GOOD, "", right=False, stopped=("no_leak",)), 0.1, 0.01),
        (Case(plants.WORSE.format("no_worse"), "stopped by no_worse", "let through", right=False), 0.05, 0.01),
        (Case(plants.LEAKED, "stopped by a maximum", "let through", right=False), 0.1, 0.02),
    ],
)
def test_a_limit_moves_only_by_what_the_self_test_found_of_it(case, margin, floor):
    moved = first_rules.moved(rules(), [RIGHT, case])
    assert moved["no_worse"].content["margin"] == margin
    assert moved["not_too_well"].content["minimum"] == floor
    assert (moved == rules()) == (not any(rule.why for rule in moved.values()))
