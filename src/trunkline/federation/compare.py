"""Whether joining helps: the joint model against each site's own, on the same rows of the own holdout, paired."""

import copy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trunkline.conf.evaluation import Evaluation
from trunkline.conf.gates import Gates
from trunkline.conf.model import Model
from trunkline.core import paths
from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.pipeline.evaluate import slices
from trunkline.pipeline.evaluate.bootstrap import Resamples
from trunkline.pipeline.evaluate.metrics.kinds import Metric, point
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.gate import comparison
from trunkline.pipeline.train import fit, joint, modelfile

Answer = Literal["helps", "hurts", "not shown"]


@dataclass(frozen=True)
class Compared:
    """How a site's own model and the joint one do by a metric, and how much better the joint one is.

    The interval is two-sided, with the confidence of conf/evaluation; positive is better, whatever the metric.
    """

    site: str
    metric: str
    alone: float
    joint: float
    better_by: float
    interval: tuple[float, float]

    @property
    def answer(self) -> Answer:
        """Whether joining helps, as far as the interval shows it."""
        low, high = self.interval
        return "helps" if low > 0 else "hurts" if high < 0 else "not shown"


def compared(params: Params) -> list[Compared]:
    """Compare by the first metric of conf/evaluation that judges.

    Raises UserError where the model that was trained is no joint one, or a site's graph is not as it was pinned.
    """
    model, evaluation, gates = params.group(Model), params.group(Evaluation), params.group(Gates)
    pipeline, holdout = modelfile.load(paths.MODEL), Dataset.read("holdout")
    if not isinstance(pipeline[-1], joint.Joint) or not model.sites:
        raise UserError(f"{paths.MODEL}: is no joint model; declare model.sites in conf/model, and run: dvc repro")
    metric = _metric(evaluation, holdout)

    def sample(scores: Any) -> tuple[Any, int]:
        return slices.clustered(holdout, scores, evaluation.interval.cluster)

    joined, clusters = sample(fit.scores(pipeline, holdout.features))
    resamples = Resamples(clusters, gates.resamples, params.seed)
    answers = []
    for name, site in model.sites.items():
        alone = copy.deepcopy(pipeline)
        graph = joint.graph_of(name, {"digest": site.digest, "rows": site.rows})
        alone[-1].graph_ = np.frombuffer(graph, dtype=np.uint8)
        own, _ = sample(fit.scores(alone, holdout.features))
        difference = comparison.difference(metric, own, joined, resamples)
        interval = difference.interval(evaluation.interval.confidence)
        alone_value, joint_value = (float(point([metric], each)[0]) for each in (own, joined))
        answers.append(Compared(name, metric.name, alone_value, joint_value, difference.observed, interval))
    return answers


def _metric(evaluation: Evaluation, holdout: Dataset) -> Metric:
    metrics = [named(name, holdout.schema.task) for name in evaluation.metrics]
    judging = [metric for metric in metrics if metric.better is not None]
    if not judging:
        raise UserError("evaluation.metrics: none says which model is better; add one, such as log_loss or rmse")
    return judging[0]
