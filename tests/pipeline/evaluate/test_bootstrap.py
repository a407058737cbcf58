import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.pipeline.evaluate.bootstrap import Interval, Resamples, intervals, percentile_interval, resampled
from trunkline.pipeline.evaluate.metrics.kinds import Sample, point
from trunkline.pipeline.evaluate.metrics.registry import named

METRICS = [named(name, "binary") for name in ("roc_auc", "average_precision", "log_loss", "brier")]


def days_of_flights(seed: int, days: int = 30, per_day: int = 40) -> tuple[Sample, float]:
    """Rows whose base rate varies by cluster, and the base rate that the clusters are drawn around."""
    generator = np.random.default_rng(seed)
    rates = generator.choice([0.1, 0.2, 0.45], days)
    clusters = np.repeat(np.arange(days), per_day)
    labels = (generator.random(days * per_day) < rates[clusters]).astype(np.int8)
    scores = np.clip(0.25 + 0.1 * labels + generator.normal(0, 0.1, days * per_day), 0, 1)
    return Sample(labels, scores, clusters), 0.25


def width(interval: Interval | None) -> float:
    assert interval is not None
    return interval[1] - interval[0]


@given(
    clusters=st.integers(1, 40),
    count=st.integers(1, 60),
    size=st.integers(1, 500),
    seed=st.integers(0, 2**32),
)
def test_draws_depend_on_the_seed_only_and_take_as_many_clusters_as_there_are(
    clusters: int, count: int, size: int, seed: int
) -> None:
    resamples = Resamples(clusters, count, seed)
    whole = np.concatenate(list(resamples.blocks()))
    assert whole.shape == (count, clusters)
    assert (whole.sum(axis=1) == clusters).all()
    np.testing.assert_array_equal(np.concatenate(list(resamples.blocks(size))), whole)


def test_each_cluster_is_drawn_like_the_others() -> None:
    counts = np.concatenate(list(Resamples(31, 20_000, 3).blocks()))
    assert counts.mean(axis=0) == pytest.approx(np.ones(31), abs=0.04)  # 5 standard errors
    assert counts.var(axis=0) == pytest.approx(np.full(31, 1 - 1 / 31), abs=0.06)
    assert not np.array_equal(counts, np.concatenate(list(Resamples(31, 20_000, 4).blocks())))


def test_a_resample_holds_all_rows_of_each_drawn_cluster() -> None:
    sample, _ = days_of_flights(1)
    resamples = Resamples(30, 20, 5)
    found = resampled(METRICS, sample, resamples)
    for values, counts in zip(found.T, next(resamples.blocks()), strict=True):
        drawn = np.repeat(np.arange(len(sample.labels)), counts[sample.clusters])
        assert values == pytest.approx(point(METRICS, sample.part(drawn)))


def test_the_interval_covers_the_truth_where_one_of_independent_rows_does_not() -> None:
    rate = [named("base_rate", "binary")]
    clustered, rowwise = 0, 0
    for seed in range(200):
        sample, truth = days_of_flights(seed)
        n = len(sample.labels)
        rows = Sample(sample.labels, sample.scores, np.arange(n))
        for_days, for_rows = Resamples(30, 400, seed), Resamples(n, 400, seed)
        [of_days], [of_rows] = (
            intervals(rate, sample, for_days, 0.9, 0.0),
            intervals(rate, rows, for_rows, 0.9, 0.0),
        )
        assert of_days is not None
        assert of_rows is not None
        clustered += of_days[0] <= truth <= of_days[1]
        rowwise += of_rows[0] <= truth <= of_rows[1]
    assert 0.85 <= clustered / 200 <= 0.95
    assert rowwise / 200 < 0.7


def test_repeating_rows_inside_their_clusters_does_not_narrow_the_interval() -> None:
    sample, _ = days_of_flights(2)
    n = len(sample.labels)
    fourfold = sample.part(np.tile(np.arange(n), 4))
    resamples = Resamples(30, 300, 7)
    once, four = (
        intervals(METRICS, sample, resamples, 0.95, 0.0),
        intervals(METRICS, fourfold, resamples, 0.95, 0.0),
    )
    for left, right in zip(once, four, strict=True):
        assert left == pytest.approx(right)
    independent = [Sample(s.labels, s.scores, np.arange(len(s.labels))) for s in (sample, fourfold)]
    narrow = [intervals(METRICS, s, Resamples(len(s.labels), 300, 7), 0.95, 0.0)[3] for s in independent]
    assert width(narrow[1]) < 0.6 * width(narrow[0])  # rows taken as independent: half as wide


def test_two_models_on_the_same_resamples_are_compared_in_pairs() -> None:
    sample, _ = days_of_flights(4, per_day=100)
    other = Sample(sample.labels, np.clip(sample.scores + 0.001 * np.sin(sample.scores * 50), 0, 1), sample.clusters)
    resamples = Resamples(30, 400, 11)
    mine, theirs = resampled(METRICS, sample, resamples), resampled(METRICS, other, resamples)
    np.testing.assert_array_equal(mine - resampled(METRICS, sample, resamples), 0)
    for one, two in zip(mine, theirs, strict=True):
        paired = percentile_interval(one - two, 0.95, 0.0)
        assert width(paired) < 0.1 * width(percentile_interval(one, 0.95, 0.0))


def test_percentiles_are_those_of_davison_and_hinkley() -> None:
    shuffled = np.random.default_rng(1).permutation(999) + 1.0
    assert percentile_interval(shuffled, 0.95, 0.0) == pytest.approx((25, 975))
    assert percentile_interval(shuffled, 0.9, 0.0) == pytest.approx((50, 950))


def test_undefined_resamples_are_left_out_until_they_are_too_many() -> None:
    values = np.append(np.arange(1.0, 100.0), [np.nan] * 5)
    assert percentile_interval(values, 0.9, 0.05) == pytest.approx((5, 95))
    assert percentile_interval(values, 0.9, 0.04) is None
    assert percentile_interval(np.full(10, np.nan), 0.9, 0.99) is None


def test_one_cluster_tells_nothing_about_the_others() -> None:
    sample, _ = days_of_flights(1, days=1)
    assert intervals(METRICS, sample, Resamples(1, 100, 1), 0.95, 0.05) == [None] * 4
    many, _ = days_of_flights(1)
    only = many.part(np.flatnonzero(many.clusters == 3))  # a slice that one day has
    assert intervals(METRICS, only, Resamples(30, 100, 1), 0.95, 0.9) == [None] * 4


def test_memory_does_not_grow_with_rows_times_resamples() -> None:
    generator = np.random.default_rng(1)
    n = 100_000
    sample = Sample((generator.random(n) < 0.3).astype(np.int8), generator.random(n), np.arange(n))
    tracemalloc.start()
    resampled(METRICS, sample, Resamples(n, 60, 1))  # 48 MB for each array of all draws
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6
