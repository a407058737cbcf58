"""A good candidate goes up, each planted fault is taken back for its own reason, and what is not known yet holds."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from tests.deploy.rollout.logs import CANDIDATE, SINCE, Fault, Traffic, step, verdict, write
from trunkline.core.errors import UserError
from trunkline.deploy.rollout import evidence
from trunkline.deploy.rollout.rows import Reader
from trunkline.serve.prediction_log.place import Place

GOOD = Fault()
FAULTS = {
    "slow": (Fault(slow=3), "latency_p50"),
    "erroring": (Fault(failing=0.1), "errors"),
    "refusing": (Fault(refusing=0.1), "refusals"),
    "biased": (Fault(bias=1.5), "mean"),
}
PERFORMANCE = {"metric": "log_loss", "margin": 0.02, "labels": 500}


@pytest.mark.parametrize(("kind", "share"), [("shadow", 50), ("canary", 25)])
@pytest.mark.parametrize("name", ["good", *FAULTS])
def test_a_planted_fault_is_taken_back_and_a_good_candidate_goes_up(tmp_path, kind, share, name):
    fault, rule = FAULTS.get(name, (GOOD, None))
    write(tmp_path, Traffic(kind, share, hours=10), fault)
    judged = verdict(tmp_path, step(kind, share, hours=10), 10)
    broken = [finding.rule for finding in judged.findings if finding.verdict == "breaks"]
    if rule is None:
        assert (judged.answer, broken) == ("step up", [])
        assert len(judged.history) == 10
    else:
        assert judged.answer == "go back"
        assert rule in broken
        assert any(reason.startswith(f"{rule}: ") and "shown to be more" in reason for reason in judged.reasons)


@pytest.mark.parametrize(("kind", "share"), [("shadow", 100), ("canary", 25)])
def test_a_bias_at_one_airport_breaks_there_alone(tmp_path, kind, share):
    write(tmp_path, Traffic(kind, share, hours=12, requests=1500), Fault(bias=1.5, only="JFK"))
    judged = verdict(tmp_path, step(kind, share, slices=["origin"], mean=0.5, distance=None, disagreement=None), 12)
    assert judged.answer == "go back"
    assert {finding.where for finding in judged.findings if finding.verdict == "breaks"} == {"origin JFK"}


def test_scores_that_are_equal_on_average_and_wrong_in_one_slice_break_by_their_outcomes(tmp_path):
    write(tmp_path, Traffic("shadow", 100, hours=12), Fault(swapped="JFK"), labels=True)
    rules = {"slices": ["origin"], "disagreement": None, "performance": PERFORMANCE | {"margin": 0.2}}
    judged = verdict(tmp_path, step(**rules), 12, labels=True)
    assert judged.answer == "go back"
    assert {(each.rule, each.where) for each in judged.findings if each.verdict == "breaks"} == {
        ("performance", "origin JFK")
    }
    whole = verdict(tmp_path, step(disagreement=None), 12)
    assert whole.answer == "step up"  # as nobody would know without slices and outcomes


@pytest.mark.parametrize(("kind", "share"), [("shadow", 100), ("canary", 25)])
def test_outcomes_let_a_good_candidate_pass_and_hold_the_rollout_while_there_are_none(tmp_path, kind, share):
    judged_step = step(kind, share, requests=500, performance=PERFORMANCE | {"margin": 0.1, "wait": "2h"})
    write(tmp_path / "without", Traffic(kind, share), GOOD)
    waits = verdict(tmp_path / "without", judged_step, 7, labels=True)
    assert (waits.answer, waits.reasons) == ("hold", ("performance: 0 of 500 rows have an outcome",))
    late = verdict(tmp_path / "without", judged_step, 9, labels=True)
    assert late.answer == "hold"
    assert "they are late, so import them (trunkline labels import), or take v5 out of" in late.reasons[0]
    write(tmp_path / "with", Traffic(kind, share), GOOD, labels=True)
    assert verdict(tmp_path / "with", judged_step, 7, labels=True).answer == "step up"


@pytest.mark.parametrize("kind", ["shadow", "canary"])
def test_rows_of_another_environment_are_not_judged_and_those_of_none_are(tmp_path, kind):
    alone, both = (tmp_path / name for name in ("alone", "both"))
    for folder in (alone, both):
        write(folder, Traffic(kind, 25), GOOD, environment="production" if folder is both else None)
    write(both, Traffic(kind, 50, seed=1), Fault(bias=3, failing=0.2), environment="staging")
    here = step(kind, 25)
    assert verdict(both, here, 6) == verdict(alone, here, 6)
    assert verdict(both, replace(here, environment="staging"), 6).answer == "go back"


def test_it_holds_until_time_and_rows_are_enough_and_finishes_after_the_last_step(tmp_path):
    write(tmp_path, Traffic("canary", 25), GOOD)
    last = step("canary", 25, last=True, hours=6, requests=500)
    early = verdict(tmp_path, last, 5)
    assert (early.answer, early.reasons) == ("hold", ("5.0 h of 6.0 h have passed",))
    few = verdict(tmp_path, step("canary", 25, requests=10_000), 6)
    assert few.answer == "hold"
    assert f"of 10,000 rows of {CANDIDATE} are there" in few.reasons[0]
    assert verdict(tmp_path, last, 6).answer == "finish"


def test_what_was_before_the_step_or_is_of_another_arm_counts_nothing(tmp_path):
    write(tmp_path, Traffic("canary", 25), Fault(failing=1))
    write(tmp_path, Traffic("shadow", 100, seed=1), GOOD, start=SINCE - timedelta(hours=6))
    judged = verdict(tmp_path, step("shadow"), 6)
    assert (judged.answer, judged.rows) == ("hold", 0)
    assert judged.reasons[-1] == "disagreement: no rows of both versions yet"


def logged(folder):
    return pl.concat(
        [pl.read_parquet(path, columns=["request_id", "arm", "time"]) for path in folder.glob("v*/*/*.parquet")]
    )


def test_a_row_that_the_candidate_could_not_answer_is_not_one_of_the_current_version(tmp_path):
    write(tmp_path, Traffic("canary", 25, hours=2), Fault(failing=0.5))
    judged = verdict(tmp_path, step("canary", 25), 2)
    rows = logged(tmp_path)
    assert judged.findings[0].rows == (rows["arm"] == "canary").sum()
    assert judged.findings[0].reason.endswith("of v4's 0.00%; shown to be more than is allowed")
    *_, known = evidence.gather(Reader(Place(str(tmp_path)), step("canary", 25), SINCE + timedelta(hours=2)))
    _, current = known.sums(evidence.WHOLE, evidence.ROWS, evidence.ROWS)
    alone = rows.filter(pl.len().over("request_id") == 1)
    assert current.rows.sum() == (alone["arm"] == "current").sum()


def test_a_step_counts_from_its_minute_and_as_of_a_minute(tmp_path):
    write(tmp_path, Traffic("shadow", 100, hours=2), GOOD)
    begun = replace(step("shadow"), since=SINCE + timedelta(minutes=20))
    within = pl.col("time").is_between(begun.since, SINCE + timedelta(minutes=90))
    count = logged(tmp_path).filter(within & (pl.col("arm") == "shadow")).height
    assert 0 < verdict(tmp_path, begun, 1.5).rows == count < 1200


def test_a_column_of_the_key_that_the_log_lacks_is_named_with_what_to_do(tmp_path):
    write(tmp_path, Traffic("shadow", 100, hours=1), GOOD)
    with pytest.raises(
        UserError, match=r"has no column dest, which .* declare serving\.log\.columns\.dest: keep or hash"
    ):
        verdict(tmp_path, step(slices=["dest"]), 1)
