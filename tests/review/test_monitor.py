"""The page of what was watched says first whether something is wrong, loads nothing, and reads on any screen."""

import re
from datetime import timedelta

import polars as pl
import pytest

from tests.browser import Screen, browser
from tests.monitor.logs import OWN, SINCE, measured, reference_of, rows, write, write_outcomes
from trunkline.conf.monitoring import Monitoring
from trunkline.monitor.report import Report, Watched
from trunkline.review.monitor import page

DAYS = 8
HOSTILE = "</title><script>alert(1)</script>"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Eight days, of which the last three have other distances, worse scores and a text that is markup."""
    folder, late = tmp_path_factory.mktemp("log"), pl.col("time") > SINCE + timedelta(days=5)
    content = rows(5000, seed=2, days=DAYS).with_columns(
        pl.when(late).then(pl.col("distance") ** 1.2).otherwise("distance").alias("distance"),
        pl.when(late & (pl.col("origin") == "JFK")).then(pl.lit(HOSTILE)).otherwise("origin").alias("origin"),
        pl.when(late).then(1 - pl.col("score")).otherwise("score").alias("score"),
    )
    write(folder, content)
    write_outcomes(folder, content, after=timedelta(hours=1))
    reference = reference_of(rows(5000, seed=1), {"roc_auc": 0.77, "log_loss": 0.57})
    until = SINCE + timedelta(days=DAYS)
    of = measured(folder, reference, until=until, slices=("origin",))
    monitoring = Monitoring.parse({"slices": ["origin"], "read": "8d"})
    return Report(Watched("production", "v4", OWN, SINCE, until), monitoring, of, "roc_auc")


def test_the_first_line_says_whether_something_is_wrong(report):
    text = page.render(report)
    [headline] = re.findall(r"<h1>.*</h1>", text)
    assert headline.startswith("<h1><strong>breach</strong> production: input_drift of origin")
    quiet = Report(report.watched, Monitoring.parse({"rules": {}}), report.measured, "roc_auc")
    assert "<strong>quiet</strong> production: nothing that lasts is beyond its bound" in page.render(quiet)


def test_it_shows_metrics_features_distributions_and_the_slices(report):
    titles = re.findall(r'<svg role="img" aria-label="([^"]*)"', page.render(report))
    starts = ("roc_auc: measured", "Mean of score", "input_drift: how much", "distance: share of rows", "score: share")
    assert [start for start in starts if not any(title.startswith(start) for title in titles)] == []
    assert "estimated of the scores (dotted)" in page.render(report)
    assert page.render(report) == page.render(report)


def test_texts_of_others_stay_text_and_nothing_is_loaded(report):
    text = page.render(report)
    assert "<script" not in text
    assert "#ffffff" not in text  # no picture has a background, which would be white in the dark
    assert re.findall(r"(?:src|href)=\"(?!#)", text) == []
    assert "default-src 'none'" in text


def test_it_reads_light_dark_and_on_a_phone(report, tmp_path):
    (tmp_path / "page.html").write_text(page.render(report), encoding="utf-8")
    with browser(tmp_path) as opened:
        screen = Screen(*opened)
        for width, dark in ((1200, False), (1200, True), (390, True)):
            screen.look((tmp_path / "page.html").as_uri(), width, dark=dark)
            assert screen.asked("document.documentElement.scrollWidth") == width
        assert screen.complaints() == []
