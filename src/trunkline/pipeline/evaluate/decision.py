"""What deciding by a threshold costs: the rows by what they were taken for and what they are, in declared costs."""

from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from trunkline.conf.evaluation import EXPECTED_COST, Decision, Evaluation
from trunkline.core.arrays import Floats
from trunkline.pipeline.evaluate.bootstrap import Resamples, intervals
from trunkline.pipeline.evaluate.estimate import Chosen, Confusion, Decided, Estimate
from trunkline.pipeline.evaluate.metrics.kinds import RowMean, Sample, point


def expected_cost(declared: Decision, threshold: float) -> RowMean:
    """Return the metric: the mean cost of a row that is taken for a positive one from a threshold on."""
    return RowMean(
        EXPECTED_COST,
        "smaller",
        "Mean cost per row of deciding by the threshold that was chosen.",
        "Elkan, The foundations of cost-sensitive learning, IJCAI 2001",
        partial(_costs, declared, threshold),
    )


def _costs(declared: Decision, threshold: float, labels: Floats, scores: Floats) -> Floats:
    taken, positive = scores >= threshold, labels == 1
    costs = np.select(
        [taken & positive, taken, positive], [-declared.gain, declared.false_positive, declared.false_negative], 0.0
    )
    return np.asarray(costs, dtype=np.float64)


def measured(sample: Sample, chosen: Chosen | None, params: Evaluation, seed: int) -> Decided | None:
    """Return what deciding by a threshold costs on a sample, beside taking all rows for positive ones, or none.

    None where no costs are declared, or no threshold was chosen.
    """
    declared = params.decision
    if declared is None or chosen is None:
        return None
    metric, interval = expected_cost(declared, chosen.threshold), params.interval
    resamples = Resamples(int(sample.clusters.max(initial=0)) + 1, interval.resamples, seed)
    [bounds] = intervals([metric], sample, resamples, interval.confidence, interval.undefined_limit)
    always, never = (float(point([expected_cost(declared, at)], sample)[0]) for at in (0.0, np.inf))
    return Decided(
        chosen=chosen,
        costs=declared.costs,
        confusion=_confusion(sample, chosen.threshold),
        expected_cost=Estimate(float(point([metric], sample)[0]), bounds),
        always=always,
        never=never,
    )


def _confusion(sample: Sample, threshold: float) -> Confusion:
    taken, positive = sample.scores >= threshold, sample.labels == 1
    counts = (np.sum(sides) for sides in (taken & positive, taken & ~positive, ~taken & positive, ~taken & ~positive))
    return Confusion(*map(int, counts))


def content(decided: Decided | None) -> dict[str, Any]:
    """Return the content of reports/decision.json; empty where no costs are declared."""
    if decided is None:
        return {}
    report = asdict(decided)
    del report["expected_cost"]["undefined"]
    return {"decided": report}
