"""The first run of a new project: what it measures sets the limits of the gates."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trunkline.adapters.dvc import project, reproduce
from trunkline.adapters.git import process
from trunkline.conf.evaluation import WHOLE
from trunkline.core import files
from trunkline.core.tasks import Task
from trunkline.init import conf_text, gates_text
from trunkline.init.gates_text import JUDGED
from trunkline.init.problem import Problem
from trunkline.init.sources import INCOMING
from trunkline.pipeline import reports
from trunkline.pipeline.evaluate.estimate import Estimate
from trunkline.pipeline.reports import Reports

_RANKED: Mapping[Task, str] = {"binary": "roc_auc", "multiclass": "balanced_accuracy", "regression": "r2"}
_ROOM = 0.03  # below what was measured
_TOO_WELL = 0.8  # of the way from what was measured to perfect


def repository(root: Path, *, incoming: bool) -> None:
    """Make the folder a repository of git if it is none yet; files that were copied into it are DVC's to keep."""
    if process.stdout(root, "rev-parse", "--git-dir") is None:
        process.output(root, "init", "--quiet", "--initial-branch=main")
    if incoming:
        with project.opened(root) as repo:
            repo.add([INCOMING.as_posix()])


def run(root: Path, problem: Problem) -> Reports:
    """Run the pipeline, set the gates by what it gave, and judge again; return the reports."""
    reproduce.reproduce(root, None, print)
    first = Reports.parse(reports.read(root))
    gates = gates_text.text(problem, rules(problem, first))
    files.write_text(root / conf_text.place(problem, "gates"), gates)
    features = conf_text.features(problem, leaks(problem, first))
    files.write_text(root / conf_text.place(problem, "features"), features)
    reproduce.reproduce(root, None, print)
    return Reports.parse(reports.read(root))


def leaks(problem: Problem, first: Reports) -> dict[str, str]:
    """Return what a run has shown of the features that a leak rule has failed for: by their names, in words."""
    words = {"alone": "ranks the labels by {:.2f} alone", "importance": "has {:.2f} of all importance"}
    return {
        name: words[verdict.metric].format(verdict.observed)
        for verdict in first.gates.gates
        if verdict.kind == "leak" and verdict.verdict == "fail" and verdict.metric in words
        for name in problem.features
        if f"{{{name}: " in verdict.reason
    }


def rules(problem: Problem, first: Reports) -> dict[str, dict[str, Any]]:
    """Return rules that the first model meets, and that a useless one, or one that knows the labels, does not."""
    task = problem.target.task
    metric = _RANKED[task]
    whole = first.slices[WHOLE][WHOLE].metrics
    limits: dict[str, dict[str, Any]] = {
        "useful": {"kind": "threshold", "metric": metric, "minimum": _below(_low(whole[metric]))},
    }
    if task == "multiclass":
        floor = _digits(_value(whole["log_loss"]) / 5)
        limits["not_too_well"] = {"kind": "threshold", "metric": "log_loss", "minimum": floor, "tested": "point"}
    else:
        value = _value(whole[metric])
        ceiling = min(math.ceil((value + _TOO_WELL * (1 - value)) * 100) / 100, 0.99 if value < 0.985 else 0.999)
        limits["not_too_well"] = {"kind": "threshold", "metric": metric, "maximum": ceiling, "tested": "point"}
    for name in problem.slices:
        limits |= _of_slice(name, task, first)
    limits["no_worse"] = {"kind": "champion", "metric": JUDGED[task], "margin": _margin(problem, whole)}
    return limits


def _of_slice(name: str, task: Task, first: Reports) -> dict[str, dict[str, Any]]:
    metric = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "rmse"}[task]
    measured = [part.metrics[metric] for part in first.slices.get(name, {}).values() if metric in part.metrics]
    values = [estimate.value for estimate in measured if estimate.value is not None]
    if not values:
        return {}
    limit = {"maximum": _digits(max(values) * 1.25)} if task == "regression" else {"minimum": _below(min(values))}
    return {f"every_{name}": {"kind": "threshold", "metric": metric, "slice": name, **limit, "tested": "point"}}


def _margin(problem: Problem, whole: Mapping[str, Estimate]) -> float:
    """Return a fifth of what the model gains on the base rate: more than that lost is a worse model."""
    labels = problem.labels.drop_nulls()
    lost = _value(whole[JUDGED[problem.target.task]])
    if problem.target.task == "regression":
        alone = float(labels.to_numpy().std())
    else:
        shares = labels.value_counts(normalize=True)["proportion"].to_numpy()
        alone = float(-(shares * np.log(shares)).sum())
    return _digits(max((alone - lost) / 5, alone / 100))


def _value(estimate: Estimate) -> float:
    return estimate.value if estimate.value is not None else 0.0


def _low(estimate: Estimate) -> float:
    return estimate.interval[0] if estimate.interval else _value(estimate)


def _below(value: float) -> float:
    return math.floor((value - _ROOM) * 100) / 100


def _digits(value: float) -> float:
    return float(f"{value:.2g}")
