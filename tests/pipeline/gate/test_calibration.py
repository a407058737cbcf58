"""The calibration slope is the coefficient that scikit-learn's unpenalised logistic regression finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from trunkline.core.errors import UserError
from trunkline.pipeline.gate import calibration


def made(seed, slope, rows=2000):
    random = np.random.default_rng(seed)
    odds = random.normal(-0.5, 1.5, rows)
    labels = (random.random(rows) < 1 / (1 + np.exp(-(0.3 + slope * odds)))).astype(np.int8)
    return labels, 1 / (1 + np.exp(-odds))


@settings(max_examples=25)
@given(st.integers(0, 1000), st.sampled_from([-1.0, 0.0, 0.3, 1.0, 2.5]))
def test_it_is_what_scikit_learn_finds(seed, true):
    labels, scores = made(seed, true)
    odds = np.log(scores / (1 - scores))[:, None]
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(odds, labels).coef_[0, 0]
    found = calibration.slope(labels, scores)
    assert found == pytest.approx(theirs, abs=1e-5)
    assert found == pytest.approx(true, abs=0.35)


def test_certain_scores_are_allowed():
    labels, scores = made(1, 1.0)
    scores[:3] = [0.0, 1.0, 1.0]
    assert np.isfinite(calibration.slope(labels, scores))


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([0, 0, 0, 0], [0.1, 0.2, 0.3, 0.4]),
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5]),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),
    ],
    ids=["one class", "one score", "separated"],
)
def test_where_it_is_not_defined_it_is_refused(labels, scores):
    with pytest.raises(UserError, match="the calibration slope is not defined"):
        calibration.slope(np.array(labels, np.int8), np.array(scores))
