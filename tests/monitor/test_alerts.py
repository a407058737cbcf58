"""Somebody is told of what lasts, once for each cause, and of nothing below its minimum sample."""

from dataclasses import replace
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.monitor.tables import day, days, of, performance
from trunkline.conf.monitoring import Monitoring
from trunkline.monitor import alerts, judge

RULES = {
    "missing": {
        "of": "feature", "measure": "missing", "above_reference": 0.1, "severity": "critical", "upstream": True,
    },
    "input_drift": {"of": "feature", "measure": "psi", "above": 0.25, "windows": 3, "then": "issue"},
    "score_drift": {"of": "score", "measure": "psi", "above": 0.25, "windows": 2},
    "performance": {
        "of": "performance", "worse_by": 0.03, "sure": True, "coverage": 0.5, "windows": 2, "slices": True,
        "severity": "critical", "then": "retrain",
    },
    "latency": {"of": "system", "subject": "latency", "measure": "p99", "above": 1.0},
}  # fmt: skip
MONITORING = Monitoring.parse({"cooldown": "7d", "rules": RULES})
QUIET, BROKEN = 0.02, 0.9
VALUES = st.lists(st.sampled_from([QUIET, BROKEN, None]), min_size=1, max_size=30)


def told(*rows, monitoring=MONITORING):
    return alerts.alerts(judge.findings(of(*rows), monitoring.judged, "roc_auc"), monitoring)


def scores(values):
    return days(values, kind="score", subject="score")


def test_a_drift_that_lasts_is_told_after_so_many_windows_and_again_after_the_cooldown():
    [alert] = told(days([QUIET] * 5 + [BROKEN] * 12))
    cause = alert.cause
    assert (cause.name, cause.since, cause.reached, cause.until, cause.windows) == (
        "input_drift", day(5), day(7), day(16), 12,
    )  # fmt: skip
    assert alert.notices == (day(8), day(15))
    assert (alert.active, alert.then, alert.severity) == (True, "issue", "warning")


def test_a_rule_leaves_out_what_it_says():
    apart = Monitoring.parse({"rules": RULES | {"input_drift": RULES["input_drift"] | {"apart_from": ["weekday"]}}})
    rows = [*days([BROKEN] * 4, subject="weekday"), *days([QUIET] * 4, subject="wind")]
    assert told(rows, monitoring=apart) == ()
    [alert] = told(rows, days([BROKEN] * 4, subject="temperature"), monitoring=apart)
    assert (alert.cause.subject, alert.consequences) == ("temperature", ())


def test_a_quiet_window_ends_a_streak_and_one_that_cannot_be_judged_does_not():
    assert told(days([BROKEN, BROKEN, QUIET, BROKEN, BROKEN])) == ()
    [ended] = told(days([BROKEN, BROKEN, BROKEN, QUIET]))
    assert not ended.active
    few = days([BROKEN] * 4)
    few[2] |= {"value": QUIET, "rows": 499}
    [alert] = told(few)
    assert (alert.cause.windows, alert.active) == (3, True)


@given(values=VALUES, seed=st.randoms())
@settings(max_examples=50)
def test_the_order_of_rows_does_not_matter(values, seed):
    rows = [*days(values), *scores(values), *days(values, subject="wind")]
    shuffled = list(rows)
    seed.shuffle(shuffled)
    findings = judge.findings(of(rows), MONITORING.judged)
    other = judge.findings(pl.DataFrame(shuffled, schema_overrides=judge.TABLE).with_columns(
        slice=pl.lit(""), label=pl.lit(""), low=pl.lit(None, pl.Float64), high=pl.lit(None, pl.Float64),
        coverage=pl.lit(None, pl.Float64),
    ) if rows else of(rows), MONITORING.judged)  # fmt: skip
    assert alerts.alerts(findings, MONITORING) == alerts.alerts(other, MONITORING)


@given(values=VALUES, quiet=st.integers(1, 3))
def test_a_quiet_window_more_ends_whatever_there_was_and_changes_no_alert_of_before(values, quiet):
    before, after = told(days(values)), told(days([*values, *[QUIET] * quiet]))
    assert [each.notices for each in after] == [each.notices for each in before]
    assert not any(each.active for each in after)


@given(values=VALUES, rows=st.integers(1, 499))
def test_nothing_is_told_below_the_minimum_sample_or_before_a_window_is_complete(values, rows):
    assert told(days(values, rows=rows)) == ()
    assert told(days(values, complete=False)) == ()
    assert told(performance([0.1 if value else None for value in values], coverage=0.49)) == ()


@given(values=VALUES)
def test_between_two_tellings_of_the_same_there_is_the_cooldown(values):
    moments = sorted(moment for alert in told(days(values)) for moment in alert.notices)
    assert all(after - before >= MONITORING.cooldown for before, after in pairwise(moments))


def test_what_comes_and_goes_is_told_once_in_the_cooldown():
    flapping = [BROKEN] * 3 + [QUIET]
    [alert] = told(days(flapping * 2))
    assert (len(alert.streaks), alert.notices) == (2, (day(3),))
    assert [each.notices for each in told(days(flapping * 3))] == [(day(3),), (day(11),)]


def test_one_cause_is_one_alert_with_the_feature_first_and_what_follows_from_it():
    drift, worse = [QUIET] * 5 + [BROKEN] * 9, [0.70] * 5 + [0.60] * 9
    [alert] = told(scores(drift), performance(worse), days(drift))
    assert alert.cause.kind == "feature"
    assert [each.kind for each in alert.consequences] == ["score", "performance"]
    assert (alert.severity, alert.then, alert.blocked) == ("critical", "retrain", None)


def test_a_broken_upstream_explains_all_else_and_blocks_the_retraining():
    gone, worse = [0.0] * 5 + [0.6] * 9, [0.70] * 5 + [0.60] * 9
    drift = [QUIET] * 4 + [BROKEN] * 10  # seen a window earlier, by a bound that is nearer
    [alert] = told(days(drift), performance(worse), days(gone, measure="missing"), scores(drift))
    assert alert.cause.name == "missing"
    assert len(alert.consequences) == 3
    assert (alert.then, alert.blocked) == ("issue", alerts.BROKEN)


def test_what_goes_on_long_after_the_upstream_is_mended_is_an_alert_of_its_own():
    gone = days([0.0] * 5 + [0.6] * 3 + [0.0] * 10, measure="missing")
    [late] = told(gone, performance([0.70] * 5 + [0.60] * 5))  # outcomes of the broken days, which come later
    assert (late.active, late.then) == (True, "issue")
    worse = performance([0.70] * 5 + [0.60] * 13)
    assert {(each.cause.name, each.active, each.then) for each in told(gone, worse)} == {
        ("missing", False, "alert"), ("performance", True, "retrain"),
    }  # fmt: skip


def test_an_alert_that_becomes_worse_is_told_at_once():
    drift, worse = [BROKEN] * 9, [0.70] * 4 + [0.60] * 5
    [alert] = told(days(drift), performance(worse))
    assert alert.notices == (day(3), day(6))  # the drift, then what it does


def test_what_begins_long_after_a_cause_is_another_one():
    drift, worse = [BROKEN] * 40, [0.70] * 30 + [0.60] * 10
    assert [each.cause.kind for each in told(days(drift), performance(worse))] == ["feature", "performance"]


def test_a_slow_server_explains_no_drift_nor_is_explained_by_one():
    slow = days([3.0] * 9, kind="system", subject="latency", measure="p99")
    assert {each.cause.kind for each in told(days([BROKEN] * 9), slow)} == {"feature", "system"}


def test_a_slice_alone_is_named_and_with_the_whole_it_is_a_consequence():
    jfk = performance([0.70] * 3 + [0.5] * 4, slice="origin", label="JFK")
    [alone] = told(jfk, performance([0.69] * 7))
    assert alone.cause.where == "origin JFK"
    [both] = told(jfk, performance([0.70] * 4 + [0.6] * 3))
    assert (both.cause.where, both.consequences[0].where) == ("", "origin JFK")


@pytest.mark.parametrize(("high", "count"), [(0.68, 0), (0.66, 1)])
def test_sure_asks_all_of_the_interval(high, count):
    assert len(told(performance([0.6] * 3, high=high))) == count


@pytest.mark.parametrize(
    ("bound", "value", "beyond"),
    [
        ({"above": 0.5}, 0.6, True), ({"above": 0.5}, 0.5, False), ({"below": 0.5}, 0.4, True),
        ({"above_reference": 0.1}, 0.42, True), ({"above_reference": 0.1}, 0.1, False),
        ({"below_share": 0.5}, 0.14, True),
        ({"below_share": 0.5}, 0.16, False),
        ({"off_reference": 0.1}, 0.15, True), ({"off_reference": 0.1}, 0.35, False),
    ],
)  # fmt: skip
def test_each_bound_has_its_side(bound, value, beyond):
    rules = Monitoring.parse({"rules": {"one": {"of": "feature", "measure": "missing"} | bound}}).judged
    [finding] = judge.findings(of(days([value], measure="missing", reference=0.3)), rules).to_dicts()
    assert (finding["verdict"] == "beyond") == beyond


@pytest.mark.parametrize(("metric", "value", "beyond"), [("log_loss", 0.6, True), ("log_loss", 0.4, False)])
def test_worse_is_as_the_metric_says(metric, value, beyond):
    rules = Monitoring.parse({"rules": {"one": {"of": "estimate", "measure": metric, "worse_by_share": 0.1}}}).judged
    rows = days([value], kind="estimate", subject=metric, measure="value", reference=0.5)
    [finding] = judge.findings(of(rows), rules).to_dicts()
    assert (finding["verdict"] == "beyond") == beyond


def test_without_a_reference_a_rule_that_needs_one_judges_nothing():
    [finding] = judge.findings(of(days([0.9], measure="missing", reference=None)), MONITORING.judged).to_dicts()
    assert finding["verdict"] == "unknown"


def test_an_alert_has_the_same_id_as_long_as_it_goes_on():
    ids = {told(days([QUIET, *[BROKEN] * length]))[0].id for length in (3, 4, 9)}
    assert len(ids) == 1


def test_a_rate_is_compared_with_its_median_over_complete_windows():
    rules = {"silence": {"of": "system", "subject": "rows", "measure": "rate", "below_share": 0.3, "rows": 0}}
    monitoring = Monitoring.parse({"rules": rules})
    rates = days([10.0] * 5 + [2.0, 10.0], kind="system", subject="rows", measure="rate", reference=None, rows=0)
    rates[-1] |= {"complete": False, "value": 0.0}
    [alert] = told(rates, monitoring=monitoring)
    assert (alert.since, alert.cause.limit) == (day(5), 3.0)


@pytest.mark.parametrize(("better", "then"), [(None, "issue"), (False, "issue"), (True, "rollback")])
def test_a_rollback_needs_a_previous_version_that_is_known_to_be_better(better, then):
    rules = {"performance": RULES["performance"] | {"then": "rollback"}}
    [alert] = told(performance([0.5] * 3), monitoring=Monitoring.parse({"rules": rules}))
    judged = replace(alert, previous_is_better=better)
    assert (judged.then, judged.blocked) == (then, None if better else alerts.NOT_BETTER)


def test_most_windows_without_rows_do_not_make_silence_usual():
    rules = {"silence": {"of": "system", "subject": "rows", "measure": "rate", "below_share": 0.3, "rows": 0}}
    rates = days([10.0] * 3 + [0.0] * 8, kind="system", subject="rows", measure="rate", reference=None, rows=0)
    [alert] = told(rates, monitoring=Monitoring.parse({"rules": rules}))
    assert (alert.active, alert.since) == (True, day(3))
