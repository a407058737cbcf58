"""The managed strategy without the machinery: when its rule would have asked for a retraining, and what gates said.

A day's area under the ROC curve, its interval by flights as the monitor computes it, all of it below that of the
version's holdout less the rule's bound, on as many days in a row as the rule asks for; known only once outcomes are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from examples.year.learning import Learner
from examples.year.plan import END, FIRST, HOLDOUT, MATURES, MERGED, START, Version
from examples.year.rows import Rows
from trunkline.core.arrays import Floats
from trunkline.monitor.performance import CONFIDENCE, RESAMPLES, UNDEFINED
from trunkline.pipeline.evaluate.bootstrap import Resamples, percentile_interval, resampled
from trunkline.pipeline.evaluate.metrics.kinds import Sample, point
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.gate import comparison
from trunkline.pipeline.gate.comparison import ScoreDifference

DAY = timedelta(days=1)
MISSING = 0.1  # conf/monitoring: the rule `missing`, a share above that of the training rows
GATE_MARGIN, GATE_LEVEL, GATE_RESAMPLES = -0.005, 0.05, 2000  # conf/gates: no_worse, at a confidence of 0.95


@dataclass(frozen=True)
class Policy:
    """When to retrain: after `days` days in a row by `bound` below the holdout, and each `every` days (0: never).

    `window` is the length of the training window in days; 0: it grows.
    """

    bound: float = 0.03
    days: int = 2
    every: int = 0
    window: int = 0


@dataclass(frozen=True)
class Event:
    """What happened on a day: a retraining that was merged or refused, or one that a broken upstream forbade."""

    on: date
    why: str
    what: str
    version: Version


def first() -> Version:
    """Return the version that the year begins with: it learnt up to a holdout that ends when production begins."""
    return Version(START, FIRST, START - HOLDOUT)


def run(learner: Learner, policy: Policy) -> Iterator[tuple[list[Version], Event | None]]:
    """Yield the versions that have answered by each day, with what happened on it."""
    versions, below, day, closed = [first()], 0, START, START
    while day < END:
        event = None
        known = day - MATURES - DAY
        if known >= versions[-1].since:
            below = below + 1 if _worse(learner, versions[-1], known, policy.bound) else 0
        why = _why(policy, versions[-1], below, day)
        if why and day >= closed:
            event = _retrained(learner, policy, versions[-1], day, why)
            if event.what == "merged":
                versions, below = [*versions, event.version], 0
            elif event.what == "refused":
                closed = day + HOLDOUT  # trunkline retrain tries again once the newest rows are all others
        yield versions, event
        day += DAY


def _why(policy: Policy, now: Version, below: int, day: date) -> str | None:
    if below >= policy.days:
        return "performance"
    newest = day - MATURES - (now.end + HOLDOUT)
    return "schedule" if policy.every and newest.days >= policy.every else None


def _worse(learner: Learner, version: Version, day: date, bound: float) -> bool:
    """Tell whether a day is worse than the holdout, by more than the bound and for certain."""
    scores, metric = learner.scores(version), named("roc_auc", "binary")
    held = point([metric], _sample(learner, scores, version.end, version.end + HOLDOUT))[0]
    sample = _sample(learner, scores, day, day + DAY)
    if point([metric], sample)[0] >= held - bound:  # then its interval is not below, either
        return False
    resamples = Resamples(int(sample.clusters.max()) + 1, RESAMPLES, 0)
    interval = percentile_interval(resampled([metric], sample, resamples)[0], CONFIDENCE, UNDEFINED)
    return interval is not None and interval[1] < held - bound


def _retrained(learner: Learner, policy: Policy, now: Version, day: date, why: str) -> Event:
    end = day - MATURES - HOLDOUT
    start = max(FIRST, end - timedelta(days=policy.window)) if policy.window else FIRST
    candidate = Version(day + MERGED, start, end)
    if broken(learner.rows, "temperature", day - DAY):
        return Event(day, why, "forbidden", candidate)
    compared = judged(learner, learner.scores(now), learner.scores(candidate), candidate.end)
    return Event(day, why, "merged" if passes(compared) else "refused", candidate)


def broken(rows: Rows, feature: str, day: date) -> bool:
    """Tell whether the rule `missing` of conf/monitoring is beyond its bound: a broken upstream."""
    reference = rows.missing(feature, FIRST, START - HOLDOUT)
    return rows.missing(feature, day, day + DAY) > reference + MISSING


def judged(learner: Learner, now: Floats, candidate: Floats, start: date) -> ScoreDifference:
    """Compare a candidate with what runs, by the log loss on the holdout that begins at `start`: days are clusters."""
    end = start + HOLDOUT
    days = learner.rows.day[learner.rows.between(start, end)]
    clusters = np.unique(days, return_inverse=True)[1].astype(np.int64)
    old, new = (replace(_sample(learner, each, start, end), clusters=clusters) for each in (now, candidate))
    resamples = Resamples(int(clusters.max()) + 1, GATE_RESAMPLES, learner.params.seed)
    return comparison.difference(named("log_loss", "binary"), old, new, resamples)


def passes(of: ScoreDifference) -> bool:
    """Tell whether the gate `no_worse` of conf/gates passes."""
    return of.p_value(GATE_MARGIN) <= GATE_LEVEL


def _sample(learner: Learner, scores: Floats, start: date, end: date) -> Sample:
    chosen = learner.rows.between(start, end)
    flights = np.unique(learner.rows.flight[chosen], return_inverse=True)[1].astype(np.int64)
    return Sample(learner.rows.label[chosen], scores[chosen], flights)
