"""What a model loses by flipped labels, for each percent of them, by the paired interval."""

from dataclasses import replace
from typing import Any

import pytest

from tests.evidences import CLUSTERS, SEED, gates, made
from trunkline.pipeline.evaluate.bootstrap import Resamples
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.gate import comparison, planted
from trunkline.pipeline.gate import verdicts as gate_verdicts
from trunkline.pipeline.gate.evidence import Evidence
from trunkline.pipeline.reports import Verdict

SHARE = 0.05
RULE = {"kind": "poisoning", "metric": "log_loss", "maximum": 0.01}


def judged(evidence: Evidence, share: float = SHARE, **rule: Any) -> Verdict:
    [verdict] = gate_verdicts.judge(gates({"steady": RULE | rule}, poisoned=share), evidence)
    return verdict


def test_the_loss_is_the_paired_difference_for_each_percent() -> None:
    evidence = planted.impressed(made(), SHARE)
    resamples = Resamples(CLUSTERS, 500, SEED)
    lost = comparison.difference(
        named("log_loss", "binary"),
        evidence.sample(evidence.poisoned_scores),
        evidence.sample(evidence.scores),
        resamples,
    )
    verdict = judged(evidence)
    assert verdict.observed == pytest.approx(lost.observed / 5)
    assert verdict.interval == pytest.approx([end / 5 for end in lost.interval(0.95)])
    assert (verdict.verdict, verdict.blocking) == ("fail", True)
    assert "log_loss loses for each percent of 5 % of the training labels that flip is" in verdict.reason
    assert judged(evidence, share=0.4).observed == pytest.approx(lost.observed / 40)


def test_a_model_that_hardly_moves_passes_and_the_interval_weighs() -> None:
    steady = judged(made())
    assert (steady.verdict, 0 < steady.observed < 0.001) == ("pass", True), steady.reason
    assert judged(made(), maximum=steady.observed + 1e-6).verdict == "fail"
    assert judged(made(), maximum=steady.observed + 1e-6, tested="point").verdict == "pass"


def test_without_the_scores_it_cannot_be_judged() -> None:
    verdict = judged(replace(made(), poisoned_scores=None))
    assert (verdict.verdict, "run: dvc repro" in verdict.reason) == ("fail", True)
