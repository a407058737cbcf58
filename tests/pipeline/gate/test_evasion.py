"""The smallest move that flips a decision: known for models that are known, and within the contract."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from tests.evidences import INPUTS, gates, made
from trunkline.core.arrays import Floats
from trunkline.pipeline.gate import evasion
from trunkline.pipeline.gate import verdicts as gate_verdicts
from trunkline.pipeline.gate.evasion import Reach
from trunkline.pipeline.gate.evidence import Evidence
from trunkline.pipeline.reports import Verdict

RULE = {"kind": "evasion", "features": {"hour": 1.0}, "maximum": 0.2, "steps": 4}


def by(score: Callable[[pl.DataFrame], Floats]) -> Evidence:
    return replace(made(), bundle=replace(made().bundle, score=score))


def judged(evidence: Evidence, **rule: Any) -> Verdict:
    [verdict] = gate_verdicts.judge(gates({"sturdy": RULE | rule}), evidence)
    return verdict


def late(rows: pl.DataFrame) -> Floats:
    """Decides by whether it is later than 0."""
    return (rows["hour"].to_numpy() >= 0).astype(np.float64)


def moves(score: Any, rows: dict[str, list[float | None]], **reach: Any) -> Floats:
    declared = {"spreads": (("hour", 2.0),), "within": 1.0, "steps": 4, "decides_at": 0.5} | reach
    frame = pl.DataFrame(rows, schema=dict.fromkeys(rows, pl.Float64))
    return evasion.flips_of(score, frame, [INPUTS[name] for name, _ in declared["spreads"]], Reach(**declared)).sizes


def test_a_move_is_as_large_as_the_way_to_the_other_decision_in_steps_of_its_spread() -> None:
    sizes = moves(late, {"hour": [-0.4, 0.4, 0.6, 1.9, -2.0, -2.1, 7.0]})
    assert sizes.tolist() == [0.25, 0.25, 0.5, 1, 1, np.inf, np.inf]


def test_features_move_together_and_a_missing_value_stays() -> None:
    def both(rows: pl.DataFrame) -> Floats:
        return ((rows["hour"] + rows["wind"].fill_null(-9)).to_numpy() >= 0).astype(np.float64) * 0.9

    def slope(rows: pl.DataFrame) -> Floats:
        return 1 / (1 + np.exp(-(rows["hour"] + rows["wind"].fill_null(-9)).to_numpy()))

    spreads = (("hour", 2.0), ("wind", 1.0))
    rows = {"hour": [-1.4, -1.4], "wind": [-1.4, None]}
    assert moves(slope, rows, spreads=spreads).tolist() == [1, np.inf]
    apart = moves(lambda rows: np.stack([1 - slope(rows), slope(rows)], axis=1), rows, spreads=spreads)
    assert apart.tolist() == [1, np.inf]  # the same of two classes
    assert moves(both, rows, spreads=spreads).tolist() == [np.inf, np.inf]  # a cliff that no single feature reaches


def changed(**fields: Any) -> Any:
    return msgspec.structs.replace(INPUTS["hour"], **fields)


@pytest.mark.parametrize(
    ("field", "offset", "moved"),
    [
        (changed(), 2.5, [2.5, 8.0]),
        (changed(max=None), 2.5, [2.5, 10.0]),
        (changed(type="integer", max=9), 2.5, [2.0, 9.0]),
        (changed(type="integer"), -0.9, [0.0, 7.5]),
        (changed(allowed=[0, 3]), 3.0, [3.0, 7.5]),
        (changed(type="boolean"), 1.0, [1.0, 7.5]),
    ],
)
def test_no_move_leaves_the_contract(field: Any, offset: float, moved: list[float]) -> None:
    assert evasion.reachable(field, np.array([0.0, 7.5]), offset).tolist() == moved


def test_the_share_is_judged_by_its_interval_and_the_smallest_move_is_said() -> None:
    evidence = by(late)
    share = float(evidence.inputs.features["hour"][:: len(evidence.labels) // 500].is_between(-1, 1).mean())
    verdict = judged(evidence)
    assert verdict.verdict == "fail"
    assert verdict.observed == pytest.approx(share, abs=0.05)
    low, high = verdict.interval
    assert low < verdict.observed < high
    assert "of 500 decisions that flip by moves of at most 1 is" in verdict.reason
    assert ": the smallest is 0.25, in row " in verdict.reason
    assert ", in row 0 of the holdout: hour from " in judged(evidence, rows=10, within=8).reason
    assert judged(evidence, maximum=verdict.observed + 0.01, tested="point").verdict == "pass"
    assert judged(evidence, maximum=verdict.observed + 0.01).verdict == "fail"
    steady = judged(by(lambda rows: np.full(len(rows), 0.2)))
    assert (steady.verdict, steady.observed, "none was seen to flip" in steady.reason) == ("pass", 0, True)


def test_a_decision_is_at_the_declared_score_or_the_likeliest_class() -> None:
    def middling(rows: pl.DataFrame) -> Floats:
        return np.where(rows["hour"].to_numpy() >= 0, 0.3, 0.2)

    assert judged(by(middling)).observed == 0
    assert judged(by(middling), decides_at=0.25).observed > 0.3

    def classes(rows: pl.DataFrame) -> Floats:
        return np.stack([middling(rows), 0.25 + 0 * middling(rows), 0 * middling(rows)], axis=1)

    assert judged(by(classes)).observed == judged(by(middling), decides_at=0.25).observed


def test_what_cannot_move_or_is_no_number_cannot_be_judged() -> None:
    whole = replace(made().bundle, inputs={"hour": changed(type="integer")})
    verdict = judged(replace(made(), bundle=whole), features={"hour": 0.5})
    assert (verdict.verdict, "moves by whole numbers" in verdict.reason) == ("fail", True)
    assert "no number" in judged(by(lambda rows: np.where(late(rows) > 0, np.nan, 0.4))).reason
