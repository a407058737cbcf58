"""The comparison of two runtimes finds what differs at one threshold, for one text, or where nothing is known."""

import numpy as np
import polars as pl
import pytest

from trunkline.core.dataset import Dataset, Schema
from trunkline.core.features import Feature
from trunkline.pipeline.bundle import parity

SCHEMA = Schema((Feature("age", "numeric"), Feature("kind", "categorical"), Feature("size", "numeric")), "late", "UTC")
ROWS = Dataset(
    pl.DataFrame(
        {
            "age": [1.0, 2.0, 3.0, None],
            "kind": ["a", "b", None, "rare"],
            "size": [10, 20, 30, 40],
            "late": [0, 1, 0, 1],
        }
    ),
    SCHEMA,
)
THRESHOLDS = {"age": [0.1, 7.25, 123.456], "size": []}
UP, DOWN = np.nextafter(7.25, 8), np.nextafter(7.25, 7)
odd = parity.adversarial(ROWS, ROWS, THRESHOLDS, seed=1)


def true_scores(frame):
    age = frame["age"].fill_nan(None)
    return ((age <= 7.25).fill_null(False) * 0.3 + (frame["kind"] == "a").fill_null(False) * 0.4).to_numpy() + 0.15


def at(condition, change):
    def score(frame):
        scores = true_scores(frame)
        scores[frame.select(condition).to_series().fill_null(False).to_numpy()] += change
        return scores

    return score


def test_equal_scores_hold():
    found = parity.compare(true_scores, true_scores, ROWS.features, odd)
    assert (found.difference, found.flips, found.adversarial) == (0, 0, odd.height)
    assert found.rows == odd.height + 4
    assert found.holds(0)
    assert found.report().difference_below == 1e-12


@pytest.mark.parametrize(
    "condition",
    [
        pl.col("age") == 7.25,
        pl.col("age") == UP,
        pl.col("age") == DOWN,
        pl.col("age") == 5e-324,
        pl.col("age") == -1e15,
        pl.col("age").is_nan(),
        pl.col("age").is_null() & pl.col("size").is_null() & pl.col("kind").is_null(),
        pl.col("size") == -1,
        pl.col("kind").is_null(),
        pl.col("kind") == "",
        pl.col("kind") == "rare",
        pl.col("kind") == "日本語",
        (pl.col("kind") == "a") & (pl.col("age") == UP),
        (pl.col("kind") == "b") & (pl.col("age") == 1.0),
    ],
    ids=str,
)
def test_a_difference_anywhere_is_found(condition):
    found = parity.compare(true_scores, at(condition, 1e-8), ROWS.features, odd)
    assert not found.holds(1e-9)
    assert found.difference == pytest.approx(1e-8)
    assert found.holds(1e-7)


def test_a_flipped_label_is_no_small_difference():
    near = lambda change: lambda frame: np.full(frame.height, 0.5 + change)  # noqa: E731
    found = parity.compare(near(1e-16 * 2), near(0), ROWS.features, odd)
    assert found.flips == found.rows
    assert not found.holds(1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_no_number_equals_no_score(value):
    broken = at(pl.col("age") == 7.25, value)
    found = parity.compare(true_scores, broken, ROWS.features, odd)
    assert found.difference == np.inf
    assert not found.holds(1e-3)
    assert parity.compare(broken, broken, ROWS.features, odd).holds(0)


def test_the_rows_depend_on_the_seed_only():
    assert parity.adversarial(ROWS, ROWS, THRESHOLDS, seed=1).equals(odd)
    assert not parity.adversarial(ROWS, ROWS, THRESHOLDS, seed=2).equals(odd)


@pytest.mark.parametrize(
    ("difference", "below"), [(0, 1e-12), (9e-13, 1e-12), (1.1e-12, 1e-11), (1e-3, 1e-3), (0.2, 1.0)]
)
def test_a_difference_is_reported_as_the_power_of_ten_above_it(difference, below):
    assert parity.Comparison(1, 1, difference, 0).report().difference_below == pytest.approx(below)
