"""Whether the version before predicts better: both on the same labelled rows of the log, paired and by clusters.

The version that runs has its scores in the log; the other one is given the inputs that were logged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from trunkline.bundle.contract import Contract
from trunkline.conf.monitoring import Rule
from trunkline.core.arrays import Floats
from trunkline.core.errors import UserError
from trunkline.core.graphs import MISSING
from trunkline.core.tasks import score_columns
from trunkline.monitor import rows
from trunkline.monitor.measure import Plan, Source
from trunkline.monitor.outcomes import CLUSTER, MOST, Labelled
from trunkline.monitor.performance import CONFIDENCE, RESAMPLES, SEED, Judge
from trunkline.pipeline.evaluate.bootstrap import Resamples
from trunkline.pipeline.evaluate.metrics.kinds import point
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.gate import comparison
from trunkline.serve import bundles
from trunkline.serve.labels.store import OUTCOME
from trunkline.serve.log import INPUTS
from trunkline.serve.prediction_log.segments import PROBLEM

_OTHER = "other:"  # before the name of a score of the version before


@dataclass(frozen=True)
class Compared:
    """How two versions do by a metric on the same rows since a moment; the difference is positive if it is better.

    `version` is the one before, `bound` how much better it has to be at least. `value` is its metric, `current` that of
    the version that runs; `low` and `high` are an interval of the difference by clusters.
    """

    version: str
    metric: str
    value: float
    current: float
    difference: float
    low: float
    high: float
    rows: int
    clusters: int
    bound: float
    since: datetime

    @property
    def better(self) -> bool:
        """Whether it is measurably better: all of the interval says so, and the difference is as large as the bound."""
        return self.low > 0 and self.difference >= self.bound

    @property
    def words(self) -> str:
        """The comparison in a sentence."""
        return (
            f"{self.version} has {self.metric} {self.value:.4f} on the {self.rows:,} rows since "
            f"{self.since:%Y-%m-%d %H:%M} UTC that have an outcome, this version {self.current:.4f}: better by "
            f"{self.difference:.4f}, {CONFIDENCE:.0%} interval {self.low:.4f} to {self.high:.4f} by {self.clusters:,} "
            f"clusters; {self.bound:.4f} is asked for"
        )


@dataclass(frozen=True)
class Previous:
    """The version that ran before, by its label, and its bundle, which scores."""

    version: str
    bundle: bundles.Served


def compared(source: Source, plan: Plan, previous: Previous, rule: Rule, metric: str) -> Compared:
    """Compare a version with the one that runs on the rows that have an outcome, from `plan.since` on.

    Raises UserError where nothing can be concluded: inputs that the log has not, too few rows, rows of one cluster.
    """
    wanted = named(metric, source.task)
    if wanted.better is None:
        raise UserError(f"{metric} is neither better nor worse when it is larger")
    labelled = _labelled(source, plan, previous.bundle)
    if labelled.height < max(rule.rows, 2):
        raise UserError(f"{labelled.height:,} of {rule.rows:,} rows since {plan.since:%Y-%m-%d %H:%M} have an outcome")
    judge = Judge(source.reference, source.task, source.classes, (metric,), ())
    names = score_columns(source.classes)
    ours = judge.sample(labelled)
    theirs = judge.sample(labelled.with_columns(pl.col(f"{_OTHER}{name}").alias(name) for name in names))
    clusters = int(ours.clusters.max()) + 1
    difference = comparison.difference(wanted, ours, theirs, Resamples(clusters, RESAMPLES, SEED))
    low, high = difference.interval(CONFIDENCE)
    current, value = (float(point([wanted], each)[0]) for each in (ours, theirs))
    return Compared(
        previous.version, metric, value, current, difference.observed, low, high, labelled.height, clusters,
        _bound(rule, source.reference.get("metrics", {}).get(metric)), plan.since,
    )  # fmt: skip


def _bound(rule: Rule, reference: float | None) -> float:
    """Return how much better it has to be at least: as much as the rule says that the version may be worse."""
    if rule.worse_by is not None:
        return rule.worse_by
    return rule.worse_by_share * abs(reference) if rule.worse_by_share and reference is not None else 0.0


def _labelled(source: Source, plan: Plan, bundle: bundles.Served) -> pl.DataFrame:
    """Return the rows that have an outcome: cluster, outcome, and the scores of both versions."""
    names, others = score_columns(source.classes), [f"{_OTHER}{name}" for name in score_columns(source.classes)]
    if tuple(bundle.contract.scores) != tuple(names):
        raise UserError("it has other scores than the version that runs")
    joined = Labelled(source.outcomes, plan.as_of, (*names, *others), (), plan.cluster)
    reader = _reader(source, plan, bundle.contract, joined.inputs)
    share = MOST / max(1, reader.stored())
    for batch in reader.batches():
        if reader.hidden:
            raise UserError(f"the log has its input {min(reader.hidden)} hashed, or not at all")
        scored = rows.thinned(batch.filter(pl.col(PROBLEM).is_null()), share)
        joined.add(_rescored(scored, bundle, others))
    return joined.rows(source.task).drop_nulls([OUTCOME, CLUSTER])


def _reader(source: Source, plan: Plan, contract: Contract, inputs: Sequence[str]) -> rows.Reader:
    known = source.reference["features"]
    lacking = [one.name for one in contract.inputs if one.name not in known]
    if lacking:
        raise UserError(f"it has the input {lacking[0]}, which the version that runs has not, nor its log")
    features: dict[str, tuple[str, ...] | None] = {
        one.name: None if one.role == "numeric" else () for one in contract.inputs
    }
    texts = [one.name for one in contract.inputs if one.role == "categorical"]
    choice = rows.Choice(rows.begin(plan.since, plan.window), plan.as_of, plan.window, plan.digest, plan.environment)
    wanted = tuple(dict.fromkeys((*inputs, *texts)))
    return rows.Reader(source.place, choice, rows.Columns(features, score_columns(source.classes), wanted, True))


def _rescored(batch: pl.DataFrame, bundle: bundles.Served, others: Sequence[str]) -> pl.DataFrame:
    """Return rows with the scores that a bundle gives their inputs."""
    contract, count = bundle.contract, batch.height
    numeric = [rows.feature(one.name) for one in contract.inputs if one.role == "numeric"]
    texts = [pl.col(INPUTS).struct.field(one.name) for one in contract.inputs if one.role == "categorical"]
    numbers: Any = batch.select(pl.col(numeric).fill_null(np.nan)).to_numpy().reshape(count, -1)
    words: Any = batch.select(each.fill_null(MISSING) for each in texts).to_numpy().astype(object).reshape(count, -1)
    blocks = [slice(start, start + rows.BATCH) for start in range(0, count, rows.BATCH)]
    scores = [np.asarray(bundle.scores(np.ascontiguousarray(numbers[each]), words[each])) for each in blocks]
    given: Floats = np.concatenate(scores).reshape(count, -1) if scores else np.empty((0, len(others)))
    return batch.with_columns(pl.Series(name, given[:, place]) for place, name in enumerate(others))
