"""Rules of conf/gates that a first run and its self-test set: the model meets them, and a bad one does not. Pure."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from trunkline.conf.evaluation import WHOLE
from trunkline.core.tasks import Task
from trunkline.init.gates_text import JUDGED, NO_LEAK, SANE, SLOPE, Rule
from trunkline.init.problem import Problem
from trunkline.pipeline.evaluate.estimate import Estimate
from trunkline.pipeline.gate import leaks, plants
from trunkline.pipeline.gate.selftest import Case
from trunkline.pipeline.reports import Reports, Verdict, WindowReport

_RANKED: Mapping[Task, str] = {"binary": "roc_auc", "multiclass": "balanced_accuracy", "regression": "r2"}
_ROOM = 0.03  # below what was measured
_TOO_WELL = 0.8  # of the way from what was measured to perfect
# Rows of a class from which on a calibration can be told: Vergouwe et al., "Substantial effective sample sizes were
# required for external validation studies of predictive logistic regression models", J Clin Epidemiol 58 (2005) 475.
_TELLS_CALIBRATION = 100
_NO_WORSE, _NOT_TOO_WELL = "no_worse", "not_too_well"


def rules(problem: Problem, first: Reports) -> dict[str, Rule]:
    """Return rules that the first model meets, and that a useless one, or one that knows the labels, does not."""
    task = problem.target.task
    metric = _RANKED[task]
    whole = first.slices[WHOLE][WHOLE].metrics
    interval = whole[metric].interval
    low = interval[0] if interval else _value(whole[metric])
    limits: dict[str, dict[str, Any]] = {"useful": {"kind": "threshold", "metric": metric, "minimum": _below(low)}}
    if task == "multiclass":
        floor = _digits(_value(whole["log_loss"]) / 5)
        limits[_NOT_TOO_WELL] = {"kind": "threshold", "metric": "log_loss", "minimum": floor, "tested": "point"}
    else:
        value = _value(whole[metric])
        ceiling = min(math.ceil((value + _TOO_WELL * (1 - value)) * 100) / 100, 0.99 if value < 0.985 else 0.999)
        limits[_NOT_TOO_WELL] = {"kind": "threshold", "metric": metric, "maximum": ceiling, "tested": "point"}
    for name in problem.slices:
        limits |= _of_slice(name, task, first)
    limits[_NO_WORSE] = {"kind": "champion", "metric": JUDGED[task], "margin": _margin(problem, whole)}
    return {name: Rule(limit) for name, limit in limits.items()} | of_few_rows(task, first)


def is_of_use(first: Reports) -> bool:
    """Tell whether the first model was shown to be better than the base rate."""
    return any(each.id == "knows_something" and each.verdict == "pass" for each in first.gates.gates)


def moved(rules: Mapping[str, Rule], cases: Iterable[Case]) -> dict[str, Rule]:
    """Return the rules with other limits where one lets a bad model of the self-test pass, or stops a good one."""
    wrong = [case for case in cases if not case.right]
    factors: dict[tuple[str, str], float] = {}
    if any(case.wanted == plants.GOOD and _NO_WORSE in case.stopped for case in wrong):
        factors[_NO_WORSE, "margin"] = 2
    elif any(case.name == plants.WORSE.format(_NO_WORSE) for case in wrong):
        factors[_NO_WORSE, "margin"] = 0.5
    if any(case.name == plants.LEAKED for case in wrong) and "minimum" in rules[_NOT_TOO_WELL].content:
        factors[_NOT_TOO_WELL, "minimum"] = 2
    changed = dict(rules)
    for (name, limit), factor in factors.items():
        content = changed[name].content
        why = "The self-test found the first guess of this limit to be wrong."
        changed[name] = Rule({**content, limit: _digits(content[limit] * factor)}, why)
    return changed


def of_few_rows(task: Task, first: Reports) -> dict[str, Rule]:
    """Return rules that are milder, with the reason, since the holdout has too few rows of a class to judge by them."""
    counts = _rows_of_classes(task, first.dataset.windows.holdout)
    if not counts:
        return {}
    failed = {(each.id, each.metric): each for each in first.gates.gates if each.verdict == "fail"}
    milder: dict[str, Rule] = {}
    if (slope := failed.get((SANE, None))) and min(counts) < _TELLS_CALIBRATION:
        milder |= _calibration(slope, min(counts), first)
    alone = failed.get((NO_LEAK, "alone"))
    if alone and alone.observed is None and min(counts) < leaks.FEWEST:
        why = (
            f"It blocks nothing yet: the rarest class has {min(counts)} rows in the holdout, and with fewer than "
            f"{leaks.FEWEST} some feature ranks them well by chance. Remove `advisory` once there are more."
        )
        milder[NO_LEAK] = Rule({"kind": "leak", "advisory": True}, why)
    return milder


def _calibration(slope: Verdict, rows: int, first: Reports) -> dict[str, Rule]:
    """Return a band of the slope that the first model is in; none for a model that is no better than the base rate."""
    low, high = SLOPE
    few = f"the {rows} rows of the rarest class in the holdout hardly tell a calibration, {_TELLS_CALIBRATION} would"
    if not is_of_use(first) or (slope.observed is not None and slope.observed <= 0):
        return {}
    if slope.observed is None:
        why = f"It blocks nothing yet, since it could not be judged: {few}. Remove `advisory` once there are more."
        return {SANE: Rule({"kind": "sanity", "slope": [low, high], "advisory": True}, why)}
    band = [min(low, _digits(slope.observed / 2)), max(high, _digits(slope.observed * 2))]
    what = "less sure than it could be" if slope.observed > high else "surer than it may be"
    why = (
        f"The slope of the first model is {slope.observed:.2g}: it is {what}. Wider than [{low}, {high}], "
        f"since {few}: narrow it once there are more."
    )
    return {SANE: Rule({"kind": "sanity", "slope": band}, why)}


def _rows_of_classes(task: Task, window: WindowReport) -> list[int]:
    """Return how many rows of each class a window has; none of a regression."""
    if task == "regression":
        return []
    share = window.base_rate or 0.0
    shares = [*window.class_shares.values()] if window.class_shares else [share, 1 - share]
    return [round(share * window.rows) for share in shares]


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


def _below(value: float) -> float:
    return math.floor((value - _ROOM) * 100) / 100


def _digits(value: float) -> float:
    return float(f"{value:.2g}")
