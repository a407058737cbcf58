"""The example of a year in production: its measures and its rule, without the machinery."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples.year import answers, lived, managed, measures, plan, production, rows
from examples.year.managed import Policy
from examples.year.plan import END, FAULT, MENDED, START

DAILY = 60
CHANGED = date(2013, 6, 1)  # from which on the first version's scores mean nothing


def test_a_fault_is_of_its_month_and_unit():
    hours = pl.datetime_range(datetime(2013, 7, 30), datetime(2013, 9, 3), "6h", eager=True, time_zone="UTC")
    clear = pl.Series("visib", [10.0, 5.0]).gather(np.arange(len(hours)) % 2)
    weather = pl.DataFrame({"time_hour": hours, "temp": 77.0, "dewp": 50.0, "wind_speed": 10.0, "precip": 0.0})
    weather = weather.with_columns(visib=clear)
    faulty = rows.metric(weather, "America/New_York")
    inside = pl.col("time_hour").is_between(
        datetime(2013, 8, 1, 4, tzinfo=UTC), datetime(2013, 9, 1, 3, 59, tzinfo=UTC)
    )
    assert faulty.filter(~inside).equals(weather.filter(~inside))
    month = faulty.filter(inside)
    assert month["temp"].unique().to_list() == [25.0]
    assert (month["visib"].unique().to_list(), month.height) == (
        [pytest.approx(8.045)],
        62,
    )  # of 10 miles, none is left


def test_measures_are_those_by_hand():
    label, score = np.array([1, 0, 1, 0, 0], np.int8), np.array([0.2, 0.3, 0.9, 0.1, 0.6])
    year = SimpleNamespace(label=label, day=np.array(["2013-05-01"] * 5, "datetime64[D]"))
    values = measures.values(year, score, np.ones(5, bool))
    assert values["cost"] == pytest.approx((3 + 1 + 0 + 0 + 1) / 5)  # missed, needless, right, right, needless
    assert values["calibration error"] == pytest.approx((0.8 + 0.3 + 0.1 + 0.1 + 0.6) / 5)  # each in a bin of its own
    assert values["roc_auc"] == pytest.approx(4 / 6)


@dataclass(frozen=True)
class Fitted:
    """A learner whose versions know everything about the days up to CHANGED, and if they are newer, after it."""

    rows: SimpleNamespace
    params: SimpleNamespace

    def scores(self, version):
        known = (self.rows.day < np.datetime64(CHANGED)) | (version.end > CHANGED)
        return np.where(known, self.rows.good, self.rows.noise)


@pytest.fixture(scope="module")
def learner() -> Fitted:
    random = np.random.default_rng(3)
    days = np.arange(np.datetime64("2013-01-01"), np.datetime64(END))
    day = np.repeat(days, DAILY)
    label = random.integers(0, 2, len(day)).astype(np.int8)
    noise = random.uniform(0.2, 0.8, len(day))
    good = np.clip(0.5 * noise + 0.5 * label, 0, 1)
    year = SimpleNamespace(
        label=label,
        day=day,
        flight=np.arange(len(day)) % 40,
        noise=noise,
        good=good,
        missing=lambda _, start, end: float(FAULT <= start < MENDED),
        between=lambda start, end: (day >= np.datetime64(start)) & (day < np.datetime64(end)),
    )
    return Fitted(year, SimpleNamespace(seed=1))


def test_the_rule_retrains_when_outcomes_show_it_and_not_before(learner):
    events = [event for _, event in managed.run(learner, Policy()) if event]
    shown = CHANGED + timedelta(days=1) + plan.MATURES + timedelta(days=1)  # the second bad day, when it is known
    assert events[0].on == shown
    assert [event.what for event in events][-1] == "merged"


class Worse(Fitted):
    """A learner whose later versions know nothing."""

    def scores(self, version):
        known = (self.rows.day < np.datetime64(CHANGED)) & (version == managed.first())
        return np.where(known, self.rows.good, self.rows.noise)


def test_what_was_refused_is_not_tried_again_on_the_same_rows(learner):
    days = (event for _, event in managed.run(Worse(learner.rows, learner.params), Policy()) if event)
    refused, again = next(days), next(days)
    assert (refused.what, again.on - refused.on) == ("refused", plan.HOLDOUT)


def test_nothing_is_learnt_while_the_weather_is_broken(learner):
    events = [event for _, event in managed.run(learner, Policy(every=30)) if event]
    assert {event.what for event in events if FAULT < event.on <= MENDED} == {"forbidden"}  # the day before was seen
    assert any(event.what == "merged" for event in events if event.on > MENDED)


def test_a_worse_model_does_not_pass(learner):
    start = START + timedelta(days=7)
    assert managed.passes(managed.judged(learner, learner.rows.good, learner.rows.good, start))
    assert not managed.passes(managed.judged(learner, learner.rows.good, learner.rows.noise, start))


def test_logged_rows_get_the_time_and_the_hour_of_their_prediction(tmp_path):
    predicted = [datetime(2013, 5, 1, 3, 59, tzinfo=UTC), datetime(2013, 5, 1, 4, 0, tzinfo=UTC)]
    now = [datetime(2026, 11, 30, tzinfo=UTC)] * 2
    kind = pa.timestamp("us", tz="UTC")
    table = pa.table({
        "time": pa.array(now, kind), "prediction_time": pa.array(predicted, kind), "score": [0.1, 0.2],
        "version": ["v1", "v1"], "arm": pa.nulls(2, pa.string()), "request_columns": ["{}", "{}"],
    })  # fmt: skip
    segments = [tmp_path / f"log/v1/2026-11-30T00/part-{number}.parquet" for number in (1, 2)]
    segments[0].parent.mkdir(parents=True)
    for number, path in enumerate(segments):
        pq.write_table(table.slice(number, 1), path)
    assert production.collect(tmp_path / "log", tmp_path / "days", 2)["score"].to_list() == [0.1, 0.2]
    hours = {path.parent.name: pl.read_parquet(path) for path in (tmp_path / "days/v1").glob("*/*.parquet")}
    assert {hour: moved["score"].to_list() for hour, moved in hours.items()} == {
        "2013-05-01T03": [0.1],
        "2013-05-01T04": [0.2],
    }
    assert [moved["time"].to_list() for _, moved in sorted(hours.items())] == [[predicted[0]], [predicted[1]]]
    assert not any(path.exists() for path in segments)


def test_an_answer_is_found_by_its_flight_and_a_shadow_answers_nothing(tmp_path):
    flights = pl.DataFrame({"year": 2013, "month": 5, "day": 1, "flight": [7, 8, 9], "sched_dep_time": 1200})
    flights = flights.with_columns(carrier=pl.lit("AA"))
    asked = [json.dumps(row) for row in flights.to_dicts()]
    logged = {"request_columns": [asked[1], asked[0], asked[0]], "arm": [None, "shadow", "current"]}
    pl.DataFrame(logged | {"score": [0.8, 0.1, 0.7]}).write_parquet(tmp_path / "2013-05-01.parquet")
    found = answers.scores(tmp_path, SimpleNamespace(seen=SimpleNamespace(frame=flights)))
    np.testing.assert_array_equal(found, [0.7, 0.8, np.nan])


def test_a_version_that_is_taken_back_is_no_version_of_the_course():
    released = [{"became": "released", "version": name, "windows": {"after": {"train": "2013-01-01..2013-03-20"}}}
                for name in ("v2", "v3")]  # fmt: skip
    rolled = [{"candidate": "v2", "answer": "finish"}, {"candidate": "v3", "answer": "go back"}]
    told = [{"retraining": released[0]}, {"rollout": rolled[0]}, {"retraining": released[1]}, {"rollout": rolled[1]}]
    days = [(START + number * timedelta(days=1), QUIET | content) for number, content in enumerate(told)]
    course = answers.course(days, np.zeros(1))
    assert [version.since for version in course.versions] == [START, START + timedelta(days=3)]
    assert [event.what for event in course.events] == ["released", "taken back"]
    assert [what for _, what in course.marks] == ["released", "released", "taken back"]


QUIET = {"counts": {"asked": 2, "logged": 2, "refused": 0}, "alerts": [], "rollout": None, "retraining": None}
QUIET |= {"challenger": None}


def test_an_alert_is_told_when_it_begins_and_an_issue_only_of_a_broken_upstream():
    alert = {"rule": "missing", "subject": "temperature", "with": [], "then": "issue", "upstream": True}
    issue = alert | {"rule": "input_drift", "upstream": False}
    days = [(START + timedelta(days=number), QUIET) for number in range(4)]
    days[1:3] = [(day, QUIET | {"alerts": [alert, issue]}) for day, _ in days[1:3]]
    lines = lived.text(days, plan.YEAR).splitlines()
    assert [line for line in lines if "alert" in line] == [
        "| 2013-04-02 | alert: missing of temperature: issue; upstream: nothing is learnt |"
    ]


def test_a_refusal_that_goes_on_is_told_once():
    days = [
        (START + timedelta(days=number), QUIET | {"retraining": {"what": "refused", "reason": "broken since then"}})
        for number in range(3)
    ]
    lines = lived.text(days, plan.SHORT).splitlines()
    assert any("6 flights were asked for, one of 3" in line for line in lines)
    assert [line for line in lines if "broken" in line] == [
        "| 2013-04-01 | `trunkline retrain` refuses, exit code 1: broken since then |"
    ]


def test_a_version_is_kept_under_what_it_has_learnt_from():
    version = plan.Version(START, date(2013, 1, 1), date(2013, 9, 15))
    faulty = replace(version, mended=False)
    assert version.name != faulty.name
    before = replace(version, end=FAULT)
    assert before.name == replace(before, mended=False).name
