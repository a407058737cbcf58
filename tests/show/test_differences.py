"""Differences of values, and how they are read."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.show import differences
from trunkline.show.differences import MISSING, Difference

TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, width=16) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("key", "before", "after", "said"),
    [
        ("model.learning_rate", 0.1, 0.05, "model.learning_rate 0.1 → 0.05"),
        ("model.max_depth", None, 9, "model.max_depth null → 9"),
        ("model.max_depth", MISSING, 9, "model.max_depth (none) → 9"),
        ("model.a", "1", 1, "model.a 1 → 1"),
        ("evaluation.metrics", ["brier"], ["brier", "roc_auc"], 'evaluation.metrics ["brier"] → ["brier", "roc_auc"]'),
        ("contract.note", "two words", "", 'contract.note "two words" → ""'),
        (
            "data.window.train", "2013-01..2013-06", "2013-01..2013-07",
            "data.window.train +1 month 2013-01..2013-06 → 2013-01..2013-07",
        ),
        (
            "data.window.train", "2013-01..2013-06", "2013-01..2013-03",
            "data.window.train -3 months 2013-01..2013-06 → 2013-01..2013-03",
        ),
        (
            "data.window.train", "2013-01..2013-06", "2013-03..2013-06",
            "data.window.train -2 months 2013-01..2013-06 → 2013-03..2013-06",
        ),
        (
            "data.window.holdout", "2013-07", "2013-09",
            "data.window.holdout moved by +2 months 2013-07 → 2013-09",
        ),
        (
            "data.window.holdout", "2013-06-01..2013-06-14", "2013-06-01..2013-06-15",
            "data.window.holdout 2013-06-01..2013-06-14 → 2013-06-01..2013-06-15",
        ),
        ("data.window.holdout", "July", 7, "data.window.holdout July → 7"),
    ],
)  # fmt: skip
def test_a_difference_is_one_line(key, before, after, said):
    assert str(Difference(key, before, after)) == said


def test_a_long_value_is_cut_in_its_middle():
    said = differences.shown(["x" * 500])
    assert len(said) <= differences.LONGEST
    assert said.startswith('["xxx')
    assert said.endswith('xxx"]')


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ({"a": {"b": 1, "c": 2}, "d": {}}, "(3 values)"),
        ({"a": 1}, "(1 value)"),
        ({}, "{}"),
        ([{"kind": "scale"}, {"kind": "fill"}], "(2 entries)"),
    ],
)
def test_a_group_that_is_new_or_gone_is_its_size_however_much_room_there_is(group, said):
    assert differences.shown(group, most=5000) == said


@given(TREES)
def test_nothing_differs_from_itself(tree):
    assert differences.differences({"a": tree}, {"a": tree}) == ()


@given(st.dictionaries(st.text(max_size=2), TREES, max_size=3), st.dictionaries(st.text(max_size=2), TREES, max_size=3))
def test_the_order_only_swaps_the_sides(one, other):
    there, back = differences.differences(one, other), differences.differences(other, one)
    assert [(item.key, item.before, item.after) for item in there] == [
        (item.key, item.after, item.before) for item in back
    ]


def test_a_number_and_a_truth_differ_though_python_calls_them_equal():
    assert len(differences.differences({"a": 1, "b": 2.0}, {"a": True, "b": 2})) == 2


def test_a_file_differs_as_git_shows_it() -> None:
    path = Path("conf/data/flights.yaml")
    changed = differences.of_file(path, "a: 1\nb: 2\n", "a: 1\nb: 3\n")
    assert (
        changed == "--- a/conf/data/flights.yaml\n+++ b/conf/data/flights.yaml\n@@ -1,2 +1,2 @@\n a: 1\n-b: 2\n+b: 3\n"
    )
    assert differences.of_file(path, None, "a: 1\n").startswith("--- /dev/null\n+++ b/conf/data/flights.yaml\n@@ -0,0 ")
    assert differences.of_file(path, "a: 1\n", "a: 1\n") == ""
