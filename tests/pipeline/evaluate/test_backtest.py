"""A backtest by rolling origins: no origin learns what was not known then, and each measures what followed it."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from tests import evidences
from trunkline.conf.evaluation import Backtest, Evaluation
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.core.features import Feature
from trunkline.pipeline.compose.compose import compose
from trunkline.pipeline.compose.judge import check
from trunkline.pipeline.evaluate import backtest
from trunkline.pipeline.gate import verdicts as gate_verdicts
from trunkline.pipeline.reports import BacktestReport, Verdict

CONF = Path(__file__).parents[3] / "conf"
ZONE = ZoneInfo("America/New_York")  # where the clock goes forward on 2013-03-10
SCHEMA = Schema((Feature("wind", "numeric"),), "delay", "America/New_York", "regression")
CALENDAR = backtest.Calendar.parse(
    {
        "timezone": "America/New_York",
        "target": {"name": "delay", "known_after": "36h"},
        "window": {"train": "2013-03-01..2013-03-14", "holdout": "2013-03-15..2013-03-20"},
    }
)


def hourly() -> Dataset:
    """A row an hour over the training window, whose label is its place."""
    begin = datetime(2013, 3, 1, tzinfo=ZONE).astimezone(UTC).replace(tzinfo=None)
    times = [begin + timedelta(hours=hour) for hour in range(14 * 24 - 1)]  # a day has 23 hours
    rows = np.arange(len(times), dtype=float)
    return Dataset(pl.DataFrame({"event_time": times, "delay": rows, "wind": rows}), SCHEMA)


def rolled(**declared: object) -> tuple[backtest.Origin, ...]:
    return backtest.origins(Backtest.model_validate({"origins": 3, "step": "2d"} | declared), CALENDAR)


def local(dataset: Dataset) -> list[datetime]:
    return [time.replace(tzinfo=UTC).astimezone(ZONE) for time in dataset.frame["event_time"]]


@pytest.mark.parametrize("window", [None, "3d"])
def test_an_origin_learns_what_was_known_and_measures_what_followed(window: str | None) -> None:
    seen: list[tuple[datetime, datetime, datetime, datetime]] = []

    def scores(known: Dataset, following: Dataset) -> np.ndarray:
        seen.append((local(known)[0], local(known)[-1], local(following)[0], local(following)[-1]))
        return following.label.to_numpy() + 1.0

    outcomes = backtest.run(hourly(), rolled(window=window), ["mae", "bias"], scores)
    assert [outcome.origin for outcome in outcomes] == ["2013-03-09", "2013-03-11", "2013-03-13"]
    for day, (first, last, begin, end) in zip((9, 11, 13), seen, strict=True):
        origin = datetime(2013, 3, day, tzinfo=ZONE)
        assert first == datetime(2013, 3, day - 3 if window else 1, tzinfo=ZONE)
        known_at = last.astimezone(UTC) + timedelta(hours=36)
        assert known_at < origin.astimezone(UTC) <= known_at + timedelta(hours=1)
        assert (begin, end) == (origin, datetime(2013, 3, day + 1, 23, tzinfo=ZONE))
    assert [outcome.n for outcome in outcomes] == [47, 48, 48]
    assert [outcome.metrics for outcome in outcomes] == [{"mae": 1.0, "bias": 1.0}] * 3


def test_the_mean_over_origins_has_the_interval_of_students_t() -> None:
    found = backtest.over_origins({"a": 1.0, "b": 2.0, "c": 3.0}, 0.95)
    assert (found.value, found.interval) == (2.0, pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-5))
    missing = backtest.over_origins({"2013-03-09": 1.0, "2013-03-11": None}, 0.95)
    assert missing.value is None
    assert "2013-03-11" in str(missing.undefined)


def test_an_origin_without_rows_is_named() -> None:
    early = Dataset(hourly().frame.head(24 * 9), SCHEMA)
    with pytest.raises(UserError, match="no row follows the origin 2013-03-11"):
        backtest.run(early, rolled(), ["mae"], lambda _, following: following.label.to_numpy())


def test_nothing_is_computed_where_none_is_declared() -> None:
    assert backtest.content([], Evaluation.parse({"metrics": ["mae"]})) == {"origins": [], "metrics": {}}


@pytest.mark.parametrize(
    ("experiment", "key", "wrong", "message"),
    [
        ("origins", "evaluation.backtest.step", "36h", "must be whole days"),
        ("origins", "evaluation.backtest.origins", "5", "the first of 5 origins is 2013-04-27, when no label of"),
        ("origins", "evaluation.backtest", "null", "judges a backtest, and none is declared"),
        ("diabetes", "+evaluation.backtest", "{origins: 3, step: 7d}", "rows have no time"),
    ],
)
def test_a_backtest_that_cannot_be_is_refused(experiment: str, key: str, wrong: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(compose(CONF, [f"experiment={experiment}", f"{key}={wrong}"]), CONF)


REPORT = BacktestReport.model_validate(
    {
        "origins": [
            {"origin": f"2013-05-{day}", "learnt_from": 900, "n": 90, "metrics": {"roc_auc": value}}
            for day, value in (("10", 0.7), ("17", 0.6), ("24", 0.8))
        ],
        "metrics": {"roc_auc": {"value": 0.7, "interval": [0.45, 0.95]}},
    }
)


def judged(**rule: object) -> list[Verdict]:
    evidence = evidences.made()
    reports = evidence.reports.model_copy(update={"backtest": REPORT})
    declared = evidences.gates({"rolling": {"kind": "backtest", "metric": "roc_auc", **rule}})
    return gate_verdicts.judge(declared, evidences.made(reports=reports))


def test_a_rule_judges_every_origin_or_the_interval_of_their_mean() -> None:
    every = judged(minimum=0.65)
    assert [(each.slice, each.verdict) for each in every] == [
        ("origin 2013-05-10", "pass"),
        ("origin 2013-05-17", "fail"),
        ("origin 2013-05-24", "pass"),
    ]
    assert [each.verdict for each in judged(minimum=0.4, tested="interval")] == ["pass"]
    assert [each.verdict for each in judged(minimum=0.5, tested="interval")] == ["fail"]
    [missing] = gate_verdicts.judge(
        evidences.gates({"rolling": {"kind": "backtest", "metric": "roc_auc", "minimum": 0.5}}), evidences.made()
    )
    assert missing.verdict == "fail"
    assert REPORT.origins[0].origin == date(2013, 5, 10)
