"""Distances of new rows from those that a reference was made of."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from trunkline.core import files
from trunkline.pipeline.evaluate import drift, reference

NUMBERS = st.lists(st.none() | st.floats(-1e6, 1e6).map(lambda value: round(value, 2)), min_size=1, max_size=80)
TEXTS = st.lists(st.none() | st.sampled_from(["EWR", "JFK", "LGA", "Zürich"]), min_size=1, max_size=80)


def entry(role, values):
    """A feature's entry as a reader of reference.json gets it."""
    count = {"numeric": reference.numeric, "categorical": reference.categorical}[role]
    return json.loads(files.canonical_json({"role": role, **count(values)}))


def series(role, values):
    return pl.Series(values, dtype=pl.Float64 if role == "numeric" else pl.String)


@pytest.mark.parametrize(("role", "values"), [("numeric", NUMBERS), ("categorical", TEXTS)])
@given(data=st.data())
def test_rows_do_not_differ_from_themselves_and_others_by_a_finite_amount(role, values, data):
    old, new = series(role, data.draw(values)), series(role, data.draw(values))
    same = drift.shift(entry(role, old), old)
    assert same.psi == pytest.approx(0, abs=1e-9)
    assert same.jensen_shannon == pytest.approx(0, abs=1e-6)
    found = drift.shift(entry(role, old), new)
    assert found.psi >= 0
    assert np.isfinite(found.psi)
    assert 0 <= found.jensen_shannon <= 1 + 1e-12


@given(TEXTS, TEXTS)
def test_the_distance_is_scipys(old, new):
    texts = sorted({str(text) for text in [*old, *new]})
    counts = [[list(map(str, rows)).count(text) for text in texts] for rows in (old, new)]
    found = drift.shift(entry("categorical", series("categorical", old)), series("categorical", new))
    assert found.jensen_shannon <= jensenshannon(*counts, base=2) + 1e-9  # new texts are one cell together


def test_the_index_is_the_sum_of_its_definition():
    old, new = series("categorical", ["a"] * 60 + ["b"] * 40), series("categorical", ["a"] * 30 + ["b"] * 70)
    p, q = np.array([60.5, 40.5]) / 101, np.array([30.5, 70.5]) / 101
    found = drift.shift(entry("categorical", old), new)
    assert found.psi == pytest.approx(np.sum((q - p) * np.log(q / p)))
    assert found.jensen_shannon == pytest.approx(jensenshannon([0.6, 0.4], [0.3, 0.7], base=2))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (range(100), [200.0] * 50),
        (range(100), [-5.0] * 50),
        (range(100), [None] * 50),
        ([None] * 50, range(100)),
        ([3.0] * 50, [4.0] * 50),
    ],
    ids=["above", "below", "missing", "was missing", "another constant"],
)
def test_what_was_never_seen_is_far_away(old, new):
    found = drift.shift(entry("numeric", series("numeric", list(old))), series("numeric", list(new)))
    assert found.psi > 1
    assert found.jensen_shannon == pytest.approx(1)


def test_rows_of_no_value_at_all_have_no_distance():
    assert np.isnan(drift.shift(entry("numeric", series("numeric", [1.0, 2.0])), series("numeric", [])).jensen_shannon)


def test_every_feature_of_a_reference_is_compared():
    old = pl.DataFrame({"hour": [1.0, 2.0], "origin": ["EWR", "JFK"]})
    content = {"features": {"hour": entry("numeric", old["hour"]), "origin": entry("categorical", old["origin"])}}
    found = drift.shifts(content, pl.DataFrame({"hour": [9.0, 9.0], "origin": ["EWR", "JFK"]}))
    assert found["hour"].psi > 0.5
    assert found["origin"].psi == pytest.approx(0)
