"""The comparison of two models: equal to a slow one, and right about how often it is wrong."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from trunkline.core.errors import UserError
from trunkline.pipeline.evaluate.bootstrap import Resamples
from trunkline.pipeline.evaluate.metrics.kinds import Sample
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.gate import comparison

AUC, LOSS = named("roc_auc", "binary"), named("log_loss", "binary")


def pair(seed, clusters=31, rows=120, better=0.0):
    """Two models' scores of the same rows: each knows the truth with an error of its own, in part a whole day's."""
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(clusters), rows)
    known = random.normal(size=clusters * rows)
    chance = 1 / (1 + np.exp(1.3 - known - random.normal(0, 0.8, clusters)[day]))
    labels = (random.random(len(day)) < chance).astype(np.int8)

    def scores(noise):
        off = random.normal(0, 0.4, clusters)[day]
        return 1 / (1 + np.exp(1.3 - (0.6 + off / 2) * (known + noise * random.normal(size=len(day))) - off))

    return Sample(labels, scores(1.0), day), Sample(labels, scores(1.0 - better), day)


def test_the_difference_is_that_of_the_metrics_on_each_resample():
    champion, challenger = pair(1)
    resamples = Resamples(31, 50, 3)
    found = comparison.difference(AUC, champion, challenger, resamples)
    counts = np.concatenate(list(resamples.blocks()))
    rows = [np.repeat(np.arange(len(champion.labels)), counts[i][champion.clusters]) for i in range(50)]
    slow = [
        roc_auc_score(champion.labels[r], challenger.scores[r]) - roc_auc_score(champion.labels[r], champion.scores[r])
        for r in rows
    ]
    np.testing.assert_allclose(found.draws, slow, atol=1e-12)
    expected = roc_auc_score(champion.labels, challenger.scores) - roc_auc_score(champion.labels, champion.scores)
    assert found.observed == pytest.approx(expected, abs=1e-12)


def test_positive_is_better_whatever_the_metric():
    champion, challenger = pair(2, rows=400, better=0.9)
    for name in ("roc_auc", "average_precision", "log_loss", "brier"):
        there = comparison.difference(named(name, "binary"), champion, challenger, Resamples(31, 200, 1))
        back = comparison.difference(named(name, "binary"), challenger, champion, Resamples(31, 200, 1))
        assert there.observed > 0
        assert back.observed == pytest.approx(-there.observed)
        assert there.p_value(0) < 0.5 < back.p_value(0)


def test_a_model_does_not_differ_from_itself():
    sample, _ = pair(3)
    found = comparison.difference(AUC, sample, sample, Resamples(31, 999, 1))
    assert (found.observed, *found.interval(0.95)) == (0, 0, 0)
    assert found.p_value(0) == 1
    assert found.p_value(-0.01) < 0.01


@given(st.floats(-0.02, 0.02), st.sampled_from([0.9, 0.95, 0.99]))
def test_the_p_value_is_the_interval_inverted(margin, confidence):
    found = comparison.difference(AUC, *pair(4), Resamples(31, 999, 1))
    sure = found.p_value(margin) < 1 - confidence
    lower, _ = found.interval(2 * confidence - 1)  # its lower end alone has this confidence
    assert sure == (lower > margin) or abs(lower - margin) < 1e-3


def test_the_interval_is_wider_than_the_percentiles_by_what_few_clusters_ask_for():
    found = comparison.difference(AUC, *pair(5), Resamples(31, 4000, 1))
    plain = np.quantile(found.draws, [0.025, 0.975])
    wide = np.diff(found.interval(0.95))[0] / np.diff(plain)[0]
    assert wide == pytest.approx(math.sqrt(31 / 30) * stats.t.ppf(0.975, 30) / stats.norm.ppf(0.975), rel=0.03)


def test_delong_agrees_with_the_bootstrap_and_with_the_textbook():
    champion, challenger = pair(6, rows=300)
    found = comparison.difference(AUC, champion, challenger, Resamples(31, 2000, 1))
    observed, error = comparison.delong(champion, challenger)
    assert observed == pytest.approx(found.observed, abs=1e-12)
    assert error == pytest.approx(found.draws.std(), rel=0.15)
    alone = [Sample(s.labels, s.scores, np.arange(len(s.labels))) for s in (champion, challenger)]
    assert comparison.delong(*alone)[1] == pytest.approx(textbook(champion, challenger), rel=1e-3)


def textbook(champion, challenger):
    """The standard error of DeLong et al. 1988 from every pair of rows."""
    positive = champion.labels == 1
    parts = []
    for sample in (champion, challenger):
        up, down = sample.scores[positive][:, None], sample.scores[~positive][None, :]
        wins = (up > down) + 0.5 * (up == down)
        parts.append((wins.mean(axis=1), wins.mean(axis=0)))
    of_positives, of_negatives = (b - a for a, b in zip(*parts, strict=True))
    return math.sqrt(of_positives.var(ddof=1) / positive.sum() + of_negatives.var(ddof=1) / (~positive).sum())


def test_holm_is_holms_own_example():
    found = comparison.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})


@given(st.dictionaries(st.text(max_size=2), st.floats(0, 1), max_size=6))
def test_holm_is_between_the_p_values_and_bonferroni(p_values):
    found = comparison.holm(p_values)
    assert all(p <= found[name] <= min(1, p * len(p_values)) + 1e-12 for name, p in p_values.items())


def test_superiority_is_seldom_declared_where_there_is_none_and_inferiority_seldom_missed():
    """The rates of docs/gate.md, in small: within what a binomial of so many pairs allows (99.9 %)."""
    pairs, wrong, missed = 300, 0, 0
    for seed in range(pairs):
        found = comparison.difference(LOSS, *pair(seed + 100, rows=60), Resamples(31, 400, seed))
        wrong += found.p_value(0) < 0.05
        missed += found.p_value(-0.5 * found.draws.std()) < 0.05
    assert wrong <= stats.binom.ppf(0.999, pairs, 0.05)
    assert wrong >= stats.binom.ppf(0.001, pairs, 0.05)
    assert missed > wrong


@pytest.mark.parametrize("metric", [AUC, LOSS], ids=lambda metric: metric.name)
def test_a_model_that_is_worse_by_twice_the_margin_is_refused_with_the_stated_power(metric):
    pairs = [comparison.difference(metric, *pair(seed, better=-0.5), Resamples(31, 400, seed)) for seed in range(200)]
    true = np.mean([found.observed for found in pairs])
    assert true < 0
    refused = sum(found.p_value(true / 2) >= 0.05 for found in pairs)
    passed_at_the_margin = sum(found.p_value(true) < 0.05 for found in pairs)
    assert refused >= 0.95 * len(pairs)
    assert passed_at_the_margin <= stats.binom.ppf(0.999, len(pairs), 0.05)


LABELS = np.array([0, 1] * 10, dtype=np.int8)
HALF = np.full(20, 0.5)
DAYS = np.repeat(np.arange(4), 5)


@pytest.mark.parametrize(
    ("metric", "champion", "challenger", "said"),
    [
        ("base_rate", Sample(LABELS, HALF, DAYS), Sample(LABELS, HALF, DAYS), "neither better nor worse"),
        ("brier", Sample(LABELS, HALF, DAYS), Sample(1 - LABELS, HALF, DAYS), "not measured on the same rows"),
        ("brier", Sample(LABELS, HALF, DAYS), Sample(LABELS[:9], HALF[:9], DAYS[:9]), "not measured on the same rows"),
        ("brier", Sample(LABELS, HALF, DAYS * 0), Sample(LABELS, HALF, DAYS * 0), "all 20 rows are of one cluster"),
        ("roc_auc", Sample(LABELS * 0, HALF, DAYS), Sample(LABELS * 0, HALF, DAYS), "roc_auc is not defined"),
        ("brier", Sample(LABELS[:0], HALF[:0], DAYS[:0]), Sample(LABELS[:0], HALF[:0], DAYS[:0]), "is not defined"),
    ],
)
def test_where_nothing_can_be_said_nothing_is(metric, champion, challenger, said):
    with pytest.raises(UserError, match=said):
        comparison.difference(named(metric, "binary"), champion, challenger, Resamples(4, 100, 1))
