"""What is measured of a log: the same whatever its segments, and as a plain computation over all rows says it."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

from tests.monitor.logs import DAY, SINCE, measured, reference_of, rows, value, write
from trunkline.core.errors import UserError
from trunkline.monitor import distances, table
from trunkline.monitor import rows as reading
from trunkline.monitor.tally import Subject, Tally
from trunkline.pipeline.evaluate import drift


@pytest.fixture(scope="module")
def reference():
    return reference_of(rows(5000, seed=1))


def test_counts_are_those_of_all_rows_whatever_the_segments(tmp_path, reference, monkeypatch):
    """In two orders and sizes, and in batches that hold many windows, or a part of one."""
    content, width = rows(900, seed=2, days=0.25), timedelta(hours=2)
    write(tmp_path / "one", content, size=1000)
    write(tmp_path / "two", content, size=40, order=5)
    one = measured(tmp_path / "one", reference, window=width)
    for batch in (30, 1 << 18):
        monkeypatch.setattr(reading, "BATCH", batch)
        two = measured(tmp_path / "two", reference, window=width)
        assert_frame_equal(one.table, two.table)
        assert_frame_equal(one.counts, two.counts)
    per_window = content.group_by(pl.col("time").dt.truncate("2h")).len().rows()
    sums = one.counts.group_by("window", "subject").agg(pl.col("count").sum())
    assert sums.height == 3 * len(per_window) == 9
    assert set(sums.select("window", "count").rows()) == set(per_window)


def test_measures_are_those_of_a_plain_computation(tmp_path):
    """Of distances in steps of 50, which are at the edges of bins."""
    steps = (pl.col("distance") / 50).round() * 50
    reference = reference_of(rows(5000, seed=1).with_columns(steps))
    content = rows(3000, seed=3).with_columns(pl.col("distance") * 1.3).with_columns(steps)
    content = content.with_columns(pl.col("origin").replace({"LGA": "HPN"}))
    write(tmp_path, content)
    found = measured(tmp_path, reference)
    for name in ("distance", "origin"):
        shift = drift.shift(reference["features"][name], content[name])
        assert value(found, "feature", name, "psi")["value"] == pytest.approx(shift.psi, rel=1e-12)
        assert value(found, "feature", name, "jensen_shannon")["value"] == pytest.approx(shift.jensen_shannon)
    missing = value(found, "feature", "distance", "missing")
    assert missing["value"] == content["distance"].null_count() / 3000
    assert missing["reference"] == reference["features"]["distance"]["missing"] / 5000
    assert value(found, "feature", "distance", "mean")["value"] == pytest.approx(content["distance"].mean())
    highest = reference["features"]["distance"]["edges"][-1]
    assert value(found, "feature", "distance", "out_of_range")["value"] == pytest.approx(
        (content["distance"].drop_nulls() > highest).mean()
    )
    assert value(found, "feature", "origin", "new")["value"] == (content["origin"] == "HPN").mean()
    gone = reference["features"]["origin"]["counts"]["LGA"] / 5000
    assert value(found, "feature", "origin", "vanished")["value"] == gone


def test_distances_of_the_bins_are_near_those_of_the_rows(tmp_path):
    old = rows(20_000, seed=4).with_columns(pl.Series("distance", np.random.default_rng(0).normal(0, 1, 20_000)))
    new = rows(20_000, seed=5).with_columns(pl.Series("distance", np.random.default_rng(1).normal(0.4, 1.2, 20_000)))
    write(tmp_path, new, size=20_000)
    found = measured(tmp_path, reference_of(old))
    before, after = old["distance"].to_numpy(), new["distance"].to_numpy()
    ks = stats.ks_2samp(before, after).statistic
    assert value(found, "feature", "distance", "ks")["value"] == pytest.approx(ks, abs=0.01)
    far = stats.wasserstein_distance(before, after) / before.std()
    assert value(found, "feature", "distance", "wasserstein")["value"] == pytest.approx(far, rel=0.15)
    spread = [_spread_evenly(reference_of(old)["features"]["distance"], each) for each in (before, after)]
    far = stats.wasserstein_distance(*spread) / before.std()
    assert value(found, "feature", "distance", "wasserstein")["value"] == pytest.approx(far, rel=0.01)


def test_distribution_functions_may_cross_within_a_bin():
    entry = {"lowest": 0, "edges": [1, 2, 3], "counts": [25, 50, 25], "below": 0, "above": 0, "missing": 0}
    subject = Subject("feature", "distance", entry | {"deviation": 1.0})
    found = {name: of for name, of, _ in distances.measured(subject, Tally(np.array([0, 50, 0, 50, 0, 0])))}
    # They are 0.25 apart at 1 and, the other way round, at 2: the area of each bin is half of that.
    assert found["wasserstein"] == pytest.approx(3 * 0.125)
    assert found["ks"] == 0.25


def _spread_evenly(entry, numbers):
    """As many numbers in each bin, at equal distances."""
    ends = np.array([entry["lowest"], *entry["edges"]])
    inside = np.clip(numbers, ends[0], ends[-1])
    counts = np.histogram(inside, ends)[0]
    return np.concatenate([np.linspace(*two, count) for *two, count in zip(ends, ends[1:], counts, strict=False)])


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        (pl.col("distance") * 1.609, 1.609),
        (pl.col("distance") / 60, 1 / 60),
        (pl.col("distance") * 1.8 + 32, 1.8),
        (pl.col("distance") * 1.2, 1),
        (pl.col("distance") + 300, 1),
        (pl.col("distance").sqrt() * 30, 1),
    ],
    ids=["kilometres", "minutes", "Fahrenheit", "a little more", "later", "otherwise"],
)
def test_another_unit_is_told_from_drift(tmp_path, reference, change, factor):
    write(tmp_path, rows(2000, seed=6).with_columns(change.alias("distance")))
    found = value(measured(tmp_path, reference), "feature", "distance", "unit")["value"]
    assert found == pytest.approx(factor, rel=0.05)


def test_a_sensor_that_stands_still_is_seen_by_how_long(tmp_path, reference):
    late, before = (pl.col("time") >= SINCE + timedelta(hours=hour) for hour in (18, 14))
    distance = pl.when(late).then(500.0).when(before).then(400.0).otherwise(pl.col("distance"))
    content = rows(2400, seed=7).with_columns(distance.alias("distance"))
    write(tmp_path, content)
    still = content.filter(late).height / content["distance"].count()
    assert value(measured(tmp_path, reference), "feature", "distance", "frozen")["value"] == pytest.approx(still)
    write(tmp_path / "moves", rows(2400, seed=7))
    assert value(measured(tmp_path / "moves", reference), "feature", "distance", "frozen")["value"] == 0


def test_rows_of_others_are_left_out_and_problems_counted_apart(tmp_path, reference):
    content = rows(300, seed=8)
    problems = [None] * 240 + ["refused: flight: is too large"] * 45 + ["failed: ValueError"] * 15
    seconds = np.linspace(0.001, 0.1, 300)
    write(tmp_path, content.with_columns(pl.Series("problem", problems), latency=pl.Series(seconds)))
    write(tmp_path, rows(50, seed=9), environment="production")
    write(tmp_path, rows(70, seed=10), arm="shadow")
    write(tmp_path, rows(90, seed=11), digest="b" * 64)
    write(tmp_path, rows(110, seed=12), arm="current", environment="staging")
    found = measured(tmp_path, reference, environment="production", released=SINCE - DAY)
    refused = value(found, "system", "refusals", "share")
    assert (refused["value"], refused["rows"]) == (45 / 350, 350)
    assert not any("refusals" in line for line in found.unmeasured)
    assert value(found, "system", "errors", "share")["value"] == 15 / 350
    assert value(found, "feature", "origin", "psi")["rows"] == 240 + 50
    assert value(found, "system", "requests", "rate")["value"] == 350 / 86400
    assert value(found, "system", "model_age", "seconds")["value"] == 2 * 86400
    assert value(found, "system", "requests", "rate", day=1)["value"] == 0  # nobody asked


def test_quantiles_of_latency_are_within_a_percent(tmp_path, reference):
    seconds = np.random.default_rng(0).lognormal(-4, 1, 5000)
    write(tmp_path, rows(5000, seed=13).with_columns(latency=pl.Series(seconds)))
    found = measured(tmp_path, reference)
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        expected = pytest.approx(np.quantile(seconds, share), rel=0.01)
        assert value(found, "system", "latency", name)["value"] == expected


def test_the_last_window_is_not_complete(tmp_path, reference):
    write(tmp_path, rows(400, seed=14, days=2))
    found = measured(tmp_path, reference, until=SINCE + 1.5 * DAY).table
    assert dict(found.group_by("window").agg(pl.col("complete").all()).iter_rows()) == {SINCE: True, SINCE + DAY: False}
    assert found.schema == dict(table.TABLE)


def test_a_feature_that_there_is_none_of_is_refused(tmp_path, reference):
    with pytest.raises(UserError, match="no feature 'distanc'; did you mean 'distance'"):
        measured(tmp_path, reference, features=("distanc",))
    assert measured(tmp_path, reference).table.height == 0  # of an empty log
