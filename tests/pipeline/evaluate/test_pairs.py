"""Areas by counted pairs: the bits of a sum over the rows, whatever the ties, and only where it is less work."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.core.arrays import Floats, Integers
from trunkline.pipeline.evaluate.bootstrap import Resamples, resampled
from trunkline.pipeline.evaluate.metrics import kinds
from trunkline.pipeline.evaluate.metrics.kinds import Metric, Sample, measure
from trunkline.pipeline.evaluate.metrics.pairs import pair_counts, ranked_rightly, worth_counting
from trunkline.pipeline.evaluate.metrics.registry import named

AREAS: list[Metric] = [named(name, "binary") for name in ("average_precision", "roc_auc", "brier")]
CLUSTERS = 5
SCORES = st.sampled_from([0.0, 5e-324, 0.25, 0.5, np.nextafter(0.5, 1), 1.0]) | st.floats(0, 1)
ROWS = st.lists(st.tuples(st.integers(0, 1), SCORES, st.integers(0, CLUSTERS - 1)), max_size=40)
# Few rows leave clusters empty and labels of one class; a weight of 2**31 needs all of an integer's bits.
WEIGHTS = st.integers(0, 4) | st.just(2**31)
COUNTS = st.lists(st.lists(WEIGHTS, min_size=CLUSTERS, max_size=CLUSTERS), min_size=1, max_size=8)


def sample_of(rows: list[tuple[int, float, int]]) -> Sample:
    labels, scores, clusters = (np.array([row[column] for row in rows]) for column in range(3))
    return Sample(labels.astype(np.int8), scores.astype(np.float64), clusters.astype(np.int64))


def both_ways(metrics: list[Metric], sample: Sample, counts: Integers) -> tuple[Floats, Floats]:
    with patch.object(kinds, "worth_counting", lambda *_: True):
        counted = measure(metrics, sample, counts)
    with patch.object(kinds, "worth_counting", lambda *_: False):
        return counted, measure(metrics, sample, counts)


@given(rows=ROWS, counts=COUNTS)
def test_counted_pairs_give_the_bits_of_a_sum_over_rows(
    rows: list[tuple[int, float, int]], counts: list[list[int]]
) -> None:
    counted, summed = both_ways(AREAS, sample_of(rows), np.array(counts))
    assert counted.tobytes() == summed.tobytes()


@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8), st.integers(0, 8), st.integers(0, 4)), max_size=30),
    counts=COUNTS,
)
def test_and_for_each_of_several_classes(rows: list[tuple[int, int, int, int]], counts: list[list[int]]) -> None:
    labels, first, second, clusters = (np.array([row[column] for row in rows], dtype=np.int64) for column in range(4))
    chances = np.stack([first, second, 16 - first - second], axis=1) / 16
    sample = Sample(labels, chances, clusters, "multiclass")
    counted, summed = both_ways([named("roc_auc_ovr", "multiclass")], sample, np.array(counts))
    assert counted.tobytes() == summed.tobytes()


@pytest.mark.parametrize("days", [1, 7, 31])
def test_a_whole_holdout_gives_the_same_bits(days: int) -> None:
    random = np.random.default_rng(days)
    scores = random.beta(2, 6, 3000).round(3)
    labels = (random.random(3000) < scores).astype(np.int8)
    sample = Sample(labels, scores, random.integers(0, days, 3000))
    resamples = Resamples(days, 500, 1)
    assert worth_counting(3000, days, 500)
    quick = resampled(AREAS, sample, resamples)
    with patch.object(kinds, "worth_counting", lambda *_: False):
        assert quick.tobytes() == resampled(AREAS, sample, resamples).tobytes()


def test_pairs_are_counted_by_the_clusters_of_both_rows() -> None:
    # From the highest score: positive of 1; negative of 0 tied with a positive of 0; negative of 1; positive of 1.
    positives, negatives = np.array([1, 0, 1]), np.array([0, 1])
    pairs = pair_counts(positives, negatives, np.array([0, 0, 2]), np.array([0, 1, 2]), 2)
    assert pairs.tolist() == [[1, 2], [2, 2]]
    assert ranked_rightly(pairs, np.array([[1, 1], [0, 2], [3, 0]])).tolist() == [7, 8, 9]


@pytest.mark.parametrize(
    ("rows", "clusters", "resamples", "worth"),
    [
        (28_000, 31, 1000, True),
        (28_000, 300, 1000, True),
        (28_000, 470, 1000, False),  # as many products as running sums
        (28_000, 31, 31, False),  # no fewer clusters than resamples
        (28_000, 31, 1, False),  # the sample itself
        (100_000, 100_000, 1000, False),  # each row is its own cluster
        (200, 31, 1000, True),
        (0, 31, 1000, False),
    ],
)
def test_pairs_are_counted_where_it_is_less_work(rows: int, clusters: int, resamples: int, worth: bool) -> None:
    assert worth_counting(rows, clusters, resamples) is worth
