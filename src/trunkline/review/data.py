"""What a reviewer decides on, as data: this commit compared with its base; `comment` renders it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trunkline.adapters.dvc.survey import OPEN, Stage
from trunkline.conf.evaluation import WHOLE
from trunkline.core.errors import UserError
from trunkline.deploy.cost import Cost
from trunkline.deploy.moves import Move
from trunkline.pipeline.claims import Refuted
from trunkline.pipeline.evaluate.bootstrap import Resamples
from trunkline.pipeline.evaluate.estimate import Estimate, Slice
from trunkline.pipeline.evaluate.metrics import registry
from trunkline.pipeline.evaluate.metrics.kinds import Sample
from trunkline.pipeline.gate import comparison
from trunkline.pipeline.plan.reasons import ReproPlan
from trunkline.pipeline.reports import Past, Reports
from trunkline.pipeline.search.summary import Searched
from trunkline.review import kind
from trunkline.review.attribution.shares import Attribution
from trunkline.review.derived import KnownBecause
from trunkline.review.kind import NO_CODE, CodeChange
from trunkline.review.reasons import Reason
from trunkline.show.differences import Difference, differences

CONFIDENCE = 0.95
CurveKind = Literal["calibration", "roc", "precision_recall", "negative_scores", "positive_scores", "observed"]
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Config:
    """A key of conf/ that changed, and the stages that read it."""

    change: Difference
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Moved:
    """A metric of some rows at the base and now; `better` is the change, positive for the better.

    `interval` is of that change, from paired scores of the same rows; None where there are none to pair.
    """

    metric: str
    where: str
    rows: int
    before: Estimate | None
    now: Estimate
    better: float | None
    interval: tuple[float, float] | None

    @property
    def clear(self) -> bool | None:
        """Whether the change is more than noise; None where that cannot be said."""
        if self.interval is None:
            return None
        return self.interval[0] > 0 or self.interval[1] < 0


@dataclass(frozen=True)
class Curve:
    """Points to draw, of this commit and, where it has them, of the base; `kind` says of what."""

    kind: CurveKind
    points: Points
    base: Points = ()


@dataclass(frozen=True)
class Reliance:
    """How much the model leans on a feature, by its mean absolute SHAP value; `base` where the base's model has it."""

    feature: str
    value: float
    base: float | None


@dataclass(frozen=True)
class Pending:
    """A stage that has to run on the merged tree, and why."""

    name: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Merge:
    """The result of merging the target's own commits: the plan of the merged tree, or the files that conflict."""

    conflicts: tuple[str, ...]
    steps: tuple[Pending, ...]


@dataclass(frozen=True)
class Review:
    """Everything that the comment shows.

    `dirty` says that files differ from the commit `head`, and `uncommitted` are results that do; `behind` are commits
    of the target that it does not have, and `merge` is what comes of them. `latency` is measured, in seconds for one
    prediction; `attribution` is there if it was asked for and possible, else `unattributed` says why not.
    `same_model` says that the base's very model is shipped, so that the verdict on it decides nothing; `moves` are the
    environments that are to run another version. `search` is there if one for a better model was made. `code` is what
    changed beside declared state, and `refuted` what dvc.lock of the commit claims and the run here did not give.
    `reliances` are on the features that the model leans on most, if its bundle is here.
    `derived` are columns whose reason, why they are known although made of outcomes, is new; `reasons` are new
    ones why a column may be where its privacy class has it refused.
    `another` are the keys by which this is another problem than the base's, whose values are not compared then.
    `costs` are those that are known, by the declared prices.
    """

    name: str
    target: str
    base: str
    head: str
    dirty: bool
    behind: int
    plan: ReproPlan
    config: tuple[Config, ...]
    whole: tuple[Moved, ...]
    slices: tuple[Moved, ...]
    reports: Reports
    past: Past
    curves: tuple[Curve, ...]
    merge: Merge | None = None
    latency: float | None = None
    attribution: Attribution | None = None
    unattributed: str = ""
    uncommitted: tuple[str, ...] = ()
    same_model: bool = False
    moves: tuple[Move, ...] = ()
    search: Searched | None = None
    code: CodeChange = NO_CODE
    refuted: tuple[Refuted, ...] = ()
    reliances: tuple[Reliance, ...] = ()
    derived: tuple[KnownBecause, ...] = ()
    reasons: tuple[Reason, ...] = ()
    another: tuple[str, ...] = ()
    costs: tuple[Cost, ...] = ()

    @property
    def rules(self) -> tuple[str, ...]:
        """Keys by which a model is judged, and that this change changes: the base's decide as well."""
        return kind.rules([item.change for item in self.config])

    @property
    def stale(self) -> tuple[str, ...]:
        """Stages that would run, so that the reports are not those of this tree."""
        return tuple(step.name for step in self.plan.steps if step.action in OPEN)

    @property
    def undefined_slices(self) -> tuple[tuple[str, Estimate], ...]:
        """Slices on which the first metric, if any, was measured and is not defined, and why."""
        first = [moved.metric for moved in self.whole[:1]]
        return tuple(
            (f"{group} {label}", estimate)
            for group, values in sorted(self.reports.slices.items())
            for label, part in sorted(values.items())
            for name, estimate in part.metrics.items()
            if group != WHOLE and name in first and estimate.value is None
        )


def config(before: Mapping[str, Any], now: Mapping[str, Any], stages: Sequence[Stage]) -> tuple[Config, ...]:
    """Return the keys that differ, each with the stages that read it."""
    return tuple(
        Config(change, tuple(stage.name for stage in stages if any(_reads(key, change.key) for key in stage.params)))
        for change in differences(before, now)
    )


def _reads(read: str, key: str) -> bool:
    return f"{key}.".startswith(f"{read}.") or f"{read}.".startswith(f"{key}.")


def whole(names: Sequence[str], past: Past, now: Reports, pair: tuple[Sample, Sample] | None) -> tuple[Moved, ...]:
    """Compare the declared metrics of the whole holdout; `pair` are scores of the same rows at the base and now."""
    before = (past.slices or {}).get(WHOLE, {}).get(WHOLE)
    return tuple(_moved(name, "", before, now.slices[WHOLE][WHOLE], pair) for name in names)


def slices(name: str, past: Past, now: Reports) -> tuple[Moved, ...]:
    """Compare a metric on every slice that was measured on both sides, those that moved most first."""
    rows = []
    for group, values in sorted(now.slices.items()):
        for label, part in sorted(values.items()):
            before = (past.slices or {}).get(group, {}).get(label)
            if group != WHOLE and before is not None and part.metrics.get(name) and before.metrics.get(name):
                rows.append(_moved(name, f"{group} {label}", before, part, None))
    return tuple(sorted(rows, key=lambda moved: -abs(moved.better or 0.0)))


def _moved(metric: str, where: str, before: Slice | None, now: Slice, pair: tuple[Sample, Sample] | None) -> Moved:
    new = now.metrics[metric]
    old = None if before is None else before.metrics.get(metric)
    better = None
    if old is not None and old.value is not None and new.value is not None:
        better = (new.value - old.value) * (-1 if registry.better(metric) == "smaller" else 1)
    return Moved(metric, where, now.n, old, new, better, _interval(metric, pair))


def _interval(metric: str, pair: tuple[Sample, Sample] | None) -> tuple[float, float] | None:
    if pair is None or registry.better(metric) is None:
        return None
    clusters = int(pair[0].clusters.max(initial=0)) + 1
    if np.array_equal(pair[0].scores, pair[1].scores):
        return 0.0, 0.0
    try:
        return comparison.difference(
            registry.named(metric, pair[1].task), *pair, Resamples(clusters, 1000, 0)
        ).interval(CONFIDENCE)
    except UserError:  # other rows, or a metric that is not defined on them
        return None
