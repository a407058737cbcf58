"""What must hold between groups of conf/ and is cheap to judge: no data, no pandas, no scikit-learn."""

from collections.abc import Iterator

from trunkline import measures as registry
from trunkline.core import expressions
from trunkline.core.errors import UserError, nearest
from trunkline.core.tasks import Task
from trunkline.params.contract import Contract
from trunkline.params.data import Data
from trunkline.params.evaluation import Evaluation
from trunkline.params.gates import AnyRule, Gates, Threshold
from trunkline.planning import request_types

_OF_TASKS: dict[str, tuple[Task, ...]] = {
    "selection_rate": ("binary",),
    "true_positive_rate": ("binary",),
    "false_positive_rate": ("binary",),
    "calibration": ("binary", "regression"),
    "base_rate_ratio": ("binary",),
}
_INSTEAD = {
    "fairness": "compare groups by a threshold with a slice",
    "data": "compare the features by psi or jensen_shannon",
}


def tables(contract: Contract, data: Data) -> None:
    """Refuse a source without a contract, or a contract without a source."""
    undeclared = sorted(data.sources.keys() - contract.tables.keys())
    unread = sorted(contract.tables.keys() - data.sources.keys())
    _refuse(
        [
            *(f"contract.tables: source '{name}' has no contract{nearest(name, unread)}" for name in undeclared),
            *(f"contract.tables.{name}: no such source in conf/data{nearest(name, undeclared)}" for name in unread),
        ]
    )


def measures(evaluation: Evaluation, data: Data, contract: Contract) -> None:
    """Refuse an unknown metric, and slices or clusters that the request does not allow."""
    types = request_types(data, contract)
    declared = {f"slices.{name}": source for name, source in evaluation.slices.items()}
    if evaluation.interval.cluster is not None:
        declared["interval.cluster"] = evaluation.interval.cluster
    _refuse([*_unknown_metrics(evaluation, data.target.task), *_mistyped(declared, types)])


def rules(gates: Gates, evaluation: Evaluation, task: Task) -> None:
    """Refuse a rule on a metric that is not measured or cannot judge, a slice that is not declared, or another task.

    What several rules miss is told once.
    """
    missed: dict[str, str] = {}
    for name, rule in gates.rules.items():
        for key, mistake in _unjudgeable(rule, evaluation, task):
            missed.setdefault(mistake, f"gates.rules.{name}.{key}: {mistake}")
    _refuse(list(missed.values()))


def _unjudgeable(rule: AnyRule, evaluation: Evaluation, task: Task) -> Iterator[tuple[str, str]]:
    metric = getattr(rule, "metric", None)
    if metric is not None:
        judging = [known for known, found in registry.REGISTRY[task].items() if found.better is not None]
        known = evaluation.metrics if isinstance(rule, Threshold) else judging
        what = "in conf/evaluation" if isinstance(rule, Threshold) else "that says which model is better"
        if metric not in known:
            yield "metric", f"no metric '{metric}' {what}{nearest(metric, known)}"
    for field in ("slice", "group"):
        declared = getattr(rule, field, None)
        if declared is not None and declared not in evaluation.slices:
            yield field, f"no slice '{declared}' in conf/evaluation{nearest(declared, evaluation.slices)}"
    measure = getattr(rule, "measure", None)
    if measure in _OF_TASKS and task not in _OF_TASKS[measure]:
        yield "measure", f"'{measure}' is of {' and '.join(_OF_TASKS[measure])}, not of {task}; {_INSTEAD[rule.kind]}"


def _unknown_metrics(evaluation: Evaluation, task: Task) -> Iterator[str]:
    for name in evaluation.metrics:
        try:
            registry.named(name, task)
        except UserError as error:
            yield str(error)


def _mistyped(declared: dict[str, str], types: dict[str, expressions.Type]) -> Iterator[str]:
    for key, source in declared.items():
        try:
            expressions.infer(expressions.parse(source), types)
        except ValueError as error:
            yield f"evaluation.{key}: {error} (of the request)"


def _refuse(mistakes: list[str]) -> None:
    if mistakes:
        raise UserError("\n".join(mistakes))
