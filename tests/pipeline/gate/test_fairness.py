"""Rates of groups, compared with fairlearn's, and how far the extreme groups are apart."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
from hypothesis import given
from hypothesis import strategies as st

from trunkline.core.errors import UserError
from trunkline.pipeline.evaluate.bootstrap import Resamples
from trunkline.pipeline.evaluate.metrics.kinds import Sample
from trunkline.pipeline.gate import fairness
from trunkline.pipeline.gate.fairness import Rate

THEIRS = {
    "selection_rate": selection_rate,
    "true_positive_rate": true_positive_rate,
    "false_positive_rate": false_positive_rate,
}


def made(seed, rows=600, groups=3, clusters=12):
    random = np.random.default_rng(seed)
    labels, scores = random.integers(2, size=rows).astype(np.int8), random.random(rows).round(2)
    member = random.integers(groups, size=rows)
    places = {f"g{code}": np.flatnonzero(member == code) for code in range(groups)}
    return Sample(labels, scores, random.integers(clusters, size=rows)), places, member


@pytest.mark.parametrize("measure", THEIRS)
@given(seed=st.integers(0, 1000), above=st.sampled_from([0.2, 0.5, 0.73]))
def test_rates_and_gaps_are_those_of_fairlearn(measure, seed, above):
    sample, places, member = made(seed)
    frame = MetricFrame(
        metrics=THEIRS[measure],
        y_true=sample.labels,
        y_pred=(sample.scores > above).astype(int),
        sensitive_features=pd.Series([f"g{code}" for code in member]),
    )
    ours = fairness.rates(sample, places, Rate(measure, "difference", above))
    assert ours == pytest.approx(frame.by_group.to_dict(), abs=1e-12)
    resamples = Resamples(12, 50, 1)
    for compared, theirs in (("difference", frame.difference()), ("ratio", frame.ratio())):
        gap = fairness.compare(sample, places, Rate(measure, compared, above), resamples)
        assert gap.observed == pytest.approx(theirs, abs=1e-12)


def test_calibration_is_the_mean_score_less_the_observed_rate():
    sample, places, _ = made(3)
    found = fairness.rates(sample, places, Rate("calibration", "difference", 0.5))
    for name, at in places.items():
        assert found[name] == pytest.approx(sample.scores[at].mean() - sample.labels[at].mean(), abs=1e-12)


def test_the_interval_is_of_the_gap_on_resamples_of_whole_clusters():
    sample, places, _ = made(5)
    rate, resamples = Rate("selection_rate", "difference", 0.5), Resamples(12, 40, 9)
    gap = fairness.compare(sample, places, rate, resamples)
    expected = []
    for counts in np.concatenate(list(resamples.blocks())):
        rates = {}
        for name in (gap.lowest, gap.highest):
            weight = counts[sample.clusters[places[name]]]
            rates[name] = np.average(sample.scores[places[name]] > 0.5, weights=weight)
        expected.append(rates[gap.highest] - rates[gap.lowest])
    np.testing.assert_allclose(gap.draws, expected, atol=1e-12)
    low, high = gap.interval(0.9)
    assert low <= gap.observed <= high


def test_a_group_without_rows_of_a_label_has_no_rate():
    sample, places, _ = made(1)
    places = {"positive": np.flatnonzero(sample.labels == 1), "all": places["g0"]}
    with pytest.raises(UserError, match="false_positive_rate of positive is not defined: no row of that label"):
        fairness.rates(sample, places, Rate("false_positive_rate", "difference", 0.5))


def test_one_group_is_not_enough():
    sample, places, _ = made(1, groups=1)
    with pytest.raises(UserError, match="1 groups have enough rows to judge; two are needed"):
        fairness.compare(sample, places, Rate("selection_rate", "difference", 0.5), Resamples(12, 50, 1))
