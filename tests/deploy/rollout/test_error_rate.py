"""However often one looks, no more than the declared share of what is the same goes back: a small simulation."""

import math

import numpy as np
import pytest
from benchmarks.rollout_errors import Fault, Simulated, back, step

from trunkline.deploy.rollout.difference import Sums, apart, paired
from trunkline.deploy.rollout.sequence import radius

DECLARED, SEQUENCES, LOOKS = 0.1, 400, 60


def went_back(width, *, pairs):
    """Return the share of sequences of which a look at any time goes beyond a width, in standard errors."""
    random, wrong = np.random.default_rng(0), 0
    for _ in range(SEQUENCES):
        clusters = 60
        rows, values = np.zeros(clusters), np.zeros((2, clusters))
        own, arm = random.normal(0, 0.7, clusters), random.random(clusters) < 0.5
        for _ in range(LOOKS):
            more = random.poisson(2, clusters)
            rows += more
            values += own * more + random.normal(0, 1, (2, clusters)) * np.sqrt(more)
            if pairs:
                seen = paired(Sums(rows, values[0]), Sums(rows, values[1]), share=False)
            else:
                seen = apart(Sums(rows * arm, values[0] * arm), Sums(rows * ~arm, values[1] * ~arm), share=False)
            if seen and seen.value > seen.error * width(seen.rows, seen.clusters):
                wrong += 1
                break
    return wrong / SEQUENCES


def test_one_looks_after_every_hour_and_no_more_goes_back_than_is_declared():
    assert went_back(lambda rows, clusters: radius(rows, clusters, DECLARED, 1000), pairs=True) <= DECLARED
    assert went_back(lambda rows, clusters: radius(rows, clusters, DECLARED, 1000), pairs=False) <= DECLARED
    # What a test gives that is made for one look, so that the simulation would show a bound that is too narrow.
    assert went_back(lambda rows, clusters: 1.28, pairs=True) > 2 * DECLARED


def test_the_bound_is_that_of_the_normal_for_many_clusters_and_wider_for_few():
    narrow = radius(1000, 10**6, 0.001, 1000)
    assert 3.09 < narrow == pytest.approx(4.03, abs=0.01)  # 3.09: of one look
    assert radius(1000, 20, 0.001, 1000) > narrow
    assert radius(10, 10**6, 0.001, 1000) > narrow
    assert radius(10**6, 10**6, 0.001, 1000) > narrow
    assert radius(1000, 1, 0.001, 1000) == radius(0, 9, 0.001, 1000) == math.inf


def test_of_all_or_none_of_few_clusters_nothing_is_certain():
    every, none = Sums(np.ones(10), np.ones(10)), Sums(np.ones(10), np.zeros(10))
    assert apart(every, none, share=True).error == pytest.approx(math.sqrt(2) / 10)
    assert paired(every, none, share=True).error == pytest.approx(1 / 10)
    assert apart(every, none, share=False).error == 0  # of numbers, such as scores, it is as it was seen


@pytest.mark.parametrize(("kind", "share"), [("shadow", 100), ("canary", 25)])
def test_versions_that_are_the_same_stay_and_a_fault_of_one_airport_goes_back(kind, share):
    judged = step(kind, share, strict=True)
    assert [back(Simulated(judged, Fault(), seed, hours_long=8, requests=200, flights=200)) for seed in range(2)] == [
        None
    ] * 2
    rows, by = back(Simulated(judged, Fault(bias=3, only="JFK"), 0, hours_long=8, flights=400))
    assert rows < 2000
    assert any("JFK" in why for why in by)
