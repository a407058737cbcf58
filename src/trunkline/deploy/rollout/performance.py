"""How well both arms predict, by the outcomes that have arrived: a metric, its difference and its clustered error."""

import math

import numpy as np
import polars as pl

from trunkline.core.arrays import Floats
from trunkline.core.errors import UserError
from trunkline.core.tasks import CLASSES, SCORE, Task, levels
from trunkline.deploy.rollout.difference import Difference
from trunkline.deploy.rollout.evidence import WHOLE, Evidence, Part
from trunkline.deploy.rollout.finding import Finding, Limit, weighed
from trunkline.deploy.rollout.rows import CLUSTER
from trunkline.pipeline.evaluate.bootstrap import Resamples, resampled
from trunkline.pipeline.evaluate.metrics.kinds import Metric, Sample, point
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.gate import comparison
from trunkline.serve.labels.store import OUTCOME

RULE = "performance"
LEAST = 20  # rows with an outcome of a slice's value below which it is not measured

_RESAMPLES, _SEED = 400, 0


def judged(evidence: Evidence, part: Part, error_rate: float, task: Task) -> Finding:
    """Return whether the candidate predicts at most the margin worse; raises UserError for a metric of another task."""
    wanted = evidence.step.rules.performance
    if wanted is None:
        raise AssertionError(evidence.step)
    metric = named(wanted.metric, task)
    if metric.better is None:
        where = f"deploy.environments.{evidence.step.environment}.rollout"
        raise UserError(f"{where}: performance.metric: {metric.name} is neither better nor worse; name another one")
    candidate, current = (_rows(arm.labelled, part) for arm in (evidence.candidate, evidence.current))
    enough = wanted.labels if part == WHOLE else LEAST
    if min(candidate.height, current.height) < enough:
        return Finding(RULE, part, "waits", f"{candidate.height:,} of {enough:,} rows have an outcome")
    try:
        measured, (ours, theirs) = _measured(metric, candidate, current, task, paired=evidence.step.kind == "shadow")
    except UserError as error:
        return Finding(RULE, part, "waits", str(error), rows=candidate.height)
    why = f"{metric.name} is {ours:.4f}, {evidence.step.current}'s {theirs:.4f} on {current.height:,} rows"
    return weighed(RULE, part, measured, Limit(wanted.margin, error_rate, wanted.labels), why)


def _rows(labelled: pl.DataFrame, part: Part) -> pl.DataFrame:
    if part == WHOLE or not labelled.width:
        return labelled
    return labelled.filter(pl.col(f"slice:{part.slice}") == part.label)


def _measured(
    metric: Metric, candidate: pl.DataFrame, current: pl.DataFrame, task: Task, *, paired: bool
) -> tuple[Difference, list[float]]:
    """Return how much worse the candidate is, and the metric of both."""
    ours, theirs = _sample(candidate, task), _sample(current, task)
    values = [float(point([metric], sample)[0]) for sample in (ours, theirs)]
    if paired:
        clusters = len(np.unique(ours.clusters))
        compared = comparison.difference(metric, theirs, ours, Resamples(clusters, _RESAMPLES, _SEED))
        worse, error = -compared.observed, _error(compared.draws, clusters)
    else:
        sign = -1 if metric.better == "larger" else 1
        counts = [len(np.unique(sample.clusters)) for sample in (ours, theirs)]
        clusters, worse = min(counts), sign * (values[0] - values[1])
        errors = [_alone(metric, each, count) for each, count in zip((ours, theirs), counts, strict=True)]
        error = math.hypot(*errors)
    return Difference(worse, error, candidate.height, clusters), values


def _alone(metric: Metric, sample: Sample, clusters: int) -> float:
    draws = resampled([metric], sample, Resamples(clusters, _RESAMPLES, _SEED))[0]
    defined = draws[np.isfinite(draws)]
    if clusters < 2 or len(defined) < (1 - comparison.UNDEFINED) * len(draws):
        raise UserError(f"{metric.name} is not defined on these {len(sample.labels)} rows, or on too many resamples")
    return _error(defined, clusters)


def _error(draws: Floats, clusters: int) -> float:
    """Return the standard error that resamples of clusters show, which is a little too small for few of them."""
    return float(draws.std(ddof=1)) * math.sqrt(clusters / (clusters - 1))


def _sample(rows: pl.DataFrame, task: Task) -> Sample:
    names = [name for name in rows.columns if name == SCORE or name.startswith(f"{SCORE}_")]
    scores = np.ascontiguousarray(rows.select(names).to_numpy().astype(np.float64))
    clusters = rows[CLUSTER].rank("dense").cast(pl.Int64).to_numpy() - 1
    if task in CLASSES:
        classes = [name.removeprefix(f"{SCORE}_") for name in names]
        labels = np.array([classes.index(each) for each in rows[OUTCOME].to_list()])
        return Sample(labels, scores, clusters, task)
    labels = rows[OUTCOME].to_numpy().astype(np.int8 if task == "binary" else np.float64)
    if task == "quantile":
        return Sample(labels, scores, clusters, task, levels(task, [name.removeprefix(f"{SCORE}_") for name in names]))
    return Sample(labels, scores if task == "multilabel" else scores[:, 0], clusters, task)
