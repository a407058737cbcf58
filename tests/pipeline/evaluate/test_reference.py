"""Reference histograms: every row is in one bin, by the bounds as they are in the file."""

import json

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from trunkline.conf.evaluation import WHOLE
from trunkline.core import files
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.features import Feature
from trunkline.pipeline.evaluate import reference
from trunkline.pipeline.evaluate.estimate import Estimate, Slice

NUMBERS = st.floats(-1e12, 1e12) | st.integers(0, 5).map(float) | st.none() | st.just(float("nan"))
TEXTS = st.sampled_from(["a", "b", "", "\ue000", "c|d"]) | st.text(max_size=3) | st.none()


def recount(values, found):
    """Count one by one, from the file's own numbers."""
    counts = dict.fromkeys(range(len(found["edges"])), 0) | {"below": 0, "above": 0, "missing": 0}
    for value in values:
        if value is None or np.isnan(value):
            counts["missing"] += 1
        elif value < found["lowest"]:
            counts["below"] += 1
        else:
            counts[next((i for i, edge in enumerate(found["edges"]) if value <= edge), "above")] += 1
    return counts


@given(st.lists(NUMBERS, max_size=120))
def test_numbers_are_counted_by_the_bounds_in_the_file(values):
    found = json.loads(files.canonical_json(reference.numeric(pl.Series(values, dtype=pl.Float64))))
    bins = dict(enumerate(found["counts"])) | {name: found[name] for name in ("below", "above", "missing")}
    assert bins == recount(values, found)
    assert sum(bins.values()) == len(values)
    assert found["edges"] == sorted(set(found["edges"]))
    assert len(found["edges"]) <= reference.BINS


@given(st.lists(TEXTS, max_size=200))
def test_texts_are_counted_with_the_rarest_as_one(values):
    found = reference.categorical(pl.Series(values, dtype=pl.String))
    assert sum(found["counts"].values()) + found["other"] + found["missing"] == len(values)
    assert all(values.count(text) == count for text, count in found["counts"].items())
    left = {text for text in values if text is not None and text not in found["counts"]}
    assert len(found["counts"]) == reference.CATEGORIES or not left
    assert max(map(values.count, left), default=0) <= min(found["counts"].values(), default=0)


def test_few_values_have_a_bin_each_and_many_share_evenly():
    few = reference.numeric(pl.Series([1.0, 2, 2, 4, None]))
    assert few == {"lowest": 1, "edges": [1, 2, 4], "counts": [1, 2, 1], "below": 0, "above": 0, "missing": 1}
    many = reference.numeric(pl.Series(np.arange(1000.0)))
    assert many["counts"] == [50] * 20
    # Rounded down to 1.23457, the largest value is above the last edge.
    assert reference.numeric(pl.Series([1.0, 1.234574]))["above"] == 1


def test_the_file_does_not_depend_on_the_order_of_rows():
    frame = pl.DataFrame({"n": [1, 2, None, 2], "c": ["x", None, "y", "z"], "label": [0, 1, 0, 1]})
    schema = Schema((Feature("c", "categorical"), Feature("n", "numeric")), "label", "UTC")
    scores = np.array([0.5, 0.25, 0.25, 1.0])
    whole = reference.histograms(Dataset(frame, schema), scores)
    assert whole == reference.histograms(Dataset(frame[[3, 1, 0, 2]], schema), scores[::-1])
    assert whole["rows"] == 4
    assert whole["features"]["c"] == {
        "role": "categorical",
        "counts": {"x": 1, "y": 1, "z": 1},
        "other": 0,
        "missing": 1,
    }
    assert whole["scores"]["edges"] == [0.25, 0.5, 1.0]
    assert sum(whole["scores"]["counts"]) == whole["scores"]["rows"] == 4


def test_nothing_known_has_no_bins():
    nothing = {"lowest": None, "edges": [], "counts": [], "below": 0, "above": 0, "missing": 2}
    assert reference.numeric(pl.Series([None, float("nan")], dtype=pl.Float64)) == nothing
    assert reference.categorical(pl.Series([None], dtype=pl.String)) == {"counts": {}, "other": 0, "missing": 1}


def measured(value):
    return Slice(3, {"brier": Estimate(value, None), "roc_auc": Estimate(None, None, "none")})


def holdout(task, labels, classes=()):
    return Dataset(pl.DataFrame({"label": labels}), Schema((), "label", "UTC", task, classes))


def test_what_came_of_the_holdout_is_counted_by_the_bins_of_its_scores():
    scores, labels = np.array([0.2, 0.2, 0.6, 0.6, 0.6]), [False, True, True, False, True]
    slices = {WHOLE: {WHOLE: measured(0.5)}, "origin": {"JFK": measured(0.25), "LGA": Slice(1, {})}}
    slices |= {"flight": {str(number): measured(0.1) for number in range(reference.LABELS + 1)}}
    content = reference.outcomes(holdout("binary", labels), scores, slices)
    assert content["outcomes"] == {"rows": 5, "counts": {"false": 2, "true": 3}, "other": 0, "missing": 0}
    assert content["calibration"] == {"score": {"rows": [2, 3], "score": [0.2, 0.6], "outcome": [0.5, 2 / 3]}}
    assert content["metrics"] == {"brier": 0.5}
    assert content["slices"] == {"origin": {"JFK": {"rows": 3, "metrics": {"brier": 0.25}}}}


def test_of_several_classes_each_score_is_calibrated_and_a_number_has_a_histogram():
    slices = {WHOLE: {WHOLE: measured(0.5)}}
    scores = np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    content = reference.outcomes(holdout("multiclass", ["a", "b", "a"], ("a", "b")), scores, slices)
    assert content["outcomes"]["counts"] == {"a": 2, "b": 1}
    assert content["calibration"]["score_a"]["outcome"] == [0.5, 1]
    assert content["calibration"]["score_b"]["outcome"] == [0, 0.5]
    content = reference.outcomes(holdout("regression", [1.0, 2.0, 6.0]), np.array([1.0, 1.0, 5.0]), slices)
    assert (content["outcomes"]["counts"], content["outcomes"]["mean"]) == ([1, 1, 1], 3)
    assert content["calibration"]["score"] == {"rows": [2, 1], "score": [1, 5], "outcome": [1.5, 6]}
