"""What must hold between groups of conf/ and is cheap to judge: no data, no pandas, no scikit-learn."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from trunkline.conf import signers
from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.evaluation import EXPECTED_COST, LABEL, Backtest, Evaluation
from trunkline.conf.gates import AnyRule, Evasion, Gates, Monotonic, OverOrigins, Threshold
from trunkline.conf.model import Model
from trunkline.conf.monitoring import OF_METRICS, Monitoring
from trunkline.conf.project import Project
from trunkline.conf.registry import read as read_registry
from trunkline.core import expressions
from trunkline.core.errors import UserError, nearest
from trunkline.core.features import Feature
from trunkline.core.tasks import CLASSES, NUMERIC, Task
from trunkline.pipeline.compose import derived, privacy, structure
from trunkline.pipeline.compose.files import Composed, placed
from trunkline.pipeline.evaluate.metrics import registry
from trunkline.pipeline.features import compiler
from trunkline.pipeline.features.compiler import request_types

_OF_TASKS: dict[str, tuple[Task, ...]] = {
    "selection_rate": ("binary",),
    "true_positive_rate": ("binary",),
    "false_positive_rate": ("binary",),
    "calibration": ("binary", "regression", "count"),
    "base_rate_ratio": ("binary",),
}
_OF_KINDS: dict[str, tuple[tuple[Task, ...], str]] = {
    "monotonic": (
        ("binary", *NUMERIC),
        "asks which way the score of a row moves, and a row of several classes has several; remove it",
    ),
    "evasion": (
        ("binary", *CLASSES),
        "asks what flips a decision, and a score that is a number decides nothing; remove it",
    ),
    "poisoning": (
        ("binary", *CLASSES),
        "flips labels to another class, and a number has none; remove it, and gates.poisoned",
    ),
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


def notations(contract: Contract) -> None:
    """Refuse formats that no text can have, or that would be read as another value than is meant."""
    declared = [
        (f"contract.tables.{table}.columns.{name}.formats", column.type, notation)
        for table, of in contract.tables.items()
        for name, column in of.columns.items()
        for notation in column.formats
    ]
    if not declared:
        return
    from trunkline.core.tables import convert  # noqa: PLC0415  imports polars

    mistakes = []
    for key, kind, notation in declared:
        try:
            (convert.verify_notation if kind == "time" else convert.verify_words)(notation)
        except ValueError as error:
            mistakes.append(f"{key}: {error}")
    _refuse(mistakes)


def measures(evaluation: Evaluation, data: Data, contract: Contract) -> None:
    """Refuse an unknown metric, and slices or clusters that the request does not allow."""
    types = request_types(data, contract)
    declared = {f"slices.{name}": source for name, source in evaluation.slices.items()}
    if evaluation.interval.cluster is not None:
        declared["interval.cluster"] = evaluation.interval.cluster
    mistakes = []
    for name in evaluation.metrics:
        try:
            registry.named(name, data.target.task)
        except UserError as error:
            mistakes.append(str(error))
    if evaluation.decision is not None and data.target.task != "binary":
        mistakes.append(f"evaluation.decision: costs are of a binary label, not of {data.target.task}; remove it")
    if LABEL in evaluation.slices and data.target.task == "multilabel":
        mistakes.append(f"evaluation.slices.{LABEL}: the name is that of each label by itself; choose another")
    if evaluation.backtest is not None:
        mistakes += _unrollable(evaluation.backtest, data)
    for key, source in declared.items():
        try:
            expressions.infer(expressions.parse(source), types)
        except ValueError as error:
            mistakes.append(f"evaluation.{key}: {error} (of the request)")
    _refuse(mistakes)


def _unrollable(backtest: Backtest, data: Data) -> Iterator[str]:
    """Yield why the origins of a backtest have nothing to learn from, if they have not."""
    if data.window is None or data.target.known_after is None:
        yield "evaluation.backtest: rows have no time; remove it, or declare data.window instead of split"
        return
    train = data.window.train
    first = train.end - backtest.origins * backtest.step
    if first - train.start <= data.target.known_after:
        yield (
            f"evaluation.backtest: the first of {backtest.origins} origins is {first}, when no label of "
            f"data.window.train ({train}) is known; declare fewer, a shorter step, or a longer window"
        )


def rules(gates: Gates, evaluation: Evaluation, task: Task) -> None:
    """Refuse a rule on a metric that is not measured or cannot judge, a slice that is not declared, or another task.

    What several rules miss is told once.
    """
    missed: dict[str, str] = {}
    for name, rule in gates.rules.items():
        for key, mistake in _unjudgeable(rule, evaluation, task):
            missed.setdefault(mistake, f"gates.rules.{name}.{key}: {mistake}")
    _refuse(list(missed.values()))


def directions(gates: Gates, features: Sequence[Feature]) -> None:
    """Refuse a direction or a move of what is no feature, or of a category, which has no order."""
    roles = {feature.name: feature.role for feature in features}
    numeric = [name for name, role in roles.items() if role == "numeric"]
    _refuse(
        [
            f"gates.rules.{name}.features: "
            + (f"'{feature}' is a category, which has no order" if feature in roles else f"no feature '{feature}'")
            + nearest(feature, numeric)
            for name, rule in gates.rules.items()
            if isinstance(rule, Monotonic | Evasion)
            for feature in rule.features
            if feature not in numeric
        ]
    )


def naive(data: Data, evaluation: Evaluation, gates: Gates, numbers: Collection[str]) -> None:
    """Refuse a naive forecast that is none of the features that are `numbers`, and what needs one without it."""
    name, mistakes = data.target.naive, []
    if name is not None and name not in numbers:
        mistakes.append(f"data.target.naive: no numeric feature '{name}' that models see{nearest(name, numbers)}")
    if name is None and "mase" in evaluation.metrics:
        mistakes.append("evaluation.metrics: 'mase' needs data.target.naive, a feature that is by itself a forecast")
    for key, rule in gates.rules.items():
        asked = {each: getattr(rule, each, None) for each in ("than", "metric")}
        mistakes += [
            f"gates.rules.{key}.{each}: '{value}' needs data.target.naive, a feature that is by itself a forecast"
            for each, value in asked.items()
            if name is None and value in ("naive", "mase")
        ]
    _refuse(mistakes)


def groups(project: Project) -> None:
    """Refuse, of a ranking, what would resample or send rows of a group apart: an order is of all of them."""
    group = project.data.target.group
    if not group:
        return
    named, mistakes = f"[{', '.join(group)}], the columns of data.target.group", []
    if project.evaluation.interval.cluster is not None:
        mistakes.append("evaluation.interval.cluster: a ranking resamples its groups; remove it")
    if set(project.monitoring.cluster) != set(group):
        mistakes.append(f"monitoring.cluster: a ranking is measured by groups; set it to {named}")
    for name, environment in project.deploy.environments.items():
        rollout = environment.rollout
        judged = [rollout.rules_of(step) for step in rollout.steps] if rollout else []
        if rollout and any(rules.performance for rules in judged) and set(rollout.key) != set(group):
            mistakes.append(
                f"deploy.environments.{name}.rollout.key: a ranking is measured by groups; set it to {named}, or "
                "remove rules.performance"
            )
    _refuse(mistakes)


def watched(monitoring: Monitoring, data: Data, contract: Contract, names: Collection[str]) -> None:
    """Refuse columns that no request has, metrics that cannot judge, and features that are none of `names`."""
    columns = request_types(data, contract)
    judging = _judging(data.target.task)
    mistakes = [
        f"monitoring.{key}: the request has no column '{column}'{nearest(column, columns)}"
        for key in ("slices", "cluster")
        for column in getattr(monitoring, key)
        if column not in columns
    ]
    mistakes += [
        f"monitoring.features: no feature '{name}'{nearest(name, names)}"
        for name in monitoring.features or ()
        if name not in names
    ]
    for name, rule in (monitoring.rules or {}).items():
        if rule.of in OF_METRICS and rule.measure is not None and rule.measure not in judging:
            mistakes.append(
                f"monitoring.rules.{name}.measure: no metric '{rule.measure}' that says which model is better"
                f"{nearest(rule.measure, judging)}"
            )
        if rule.of == "feature":
            given = {"subject": filter(None, [rule.subject]), "apart_from": rule.apart_from}
            mistakes += [
                f"monitoring.rules.{name}.{key}: no feature '{feature}'{nearest(feature, names)}"
                for key, features in given.items()
                for feature in features
                if feature not in names
            ]
    _refuse(mistakes)


def _judging(task: Task) -> list[str]:
    return [name for name, declared in registry.REGISTRY[task].items() if declared.better is not None]


def _reported(rule: AnyRule, evaluation: Evaluation) -> tuple[str, ...]:
    costed = isinstance(rule, Threshold) and evaluation.decision is not None
    return (*evaluation.metrics, EXPECTED_COST) if costed else evaluation.metrics


def _slices(rule: AnyRule, evaluation: Evaluation, task: Task) -> tuple[str, ...]:
    """Return the slices that a rule may name; each label by itself is measured, and compared with nothing."""
    by_label = task == "multilabel" and isinstance(rule, Threshold)
    return (*evaluation.slices, *([LABEL] if by_label else []))


def _unjudgeable(rule: AnyRule, evaluation: Evaluation, task: Task) -> Iterator[tuple[str, str]]:
    metric = getattr(rule, "metric", None)
    if metric is not None:
        reported = isinstance(rule, Threshold | OverOrigins)
        names = _reported(rule, evaluation) if reported else _judging(task)
        what = "in conf/evaluation" if reported else "that says which model is better"
        if metric not in names:
            yield "metric", f"no metric '{metric}' {what}{nearest(metric, names)}"
    if metric == EXPECTED_COST and getattr(rule, "slice", None) is not None:
        yield "slice", "expected_cost is of the whole holdout; remove it"
    if isinstance(rule, OverOrigins) and evaluation.backtest is None:
        yield "kind", "judges a backtest, and none is declared: add evaluation.backtest, or remove the rule"
    tasks, why = _OF_KINDS.get(rule.kind, ((task,), ""))
    if task not in tasks:
        yield "kind", why
    slices = _slices(rule, evaluation, task)
    for field in ("slice", "group"):
        declared = getattr(rule, field, None)
        if declared is not None and declared not in slices:
            yield field, f"no slice '{declared}' in conf/evaluation{nearest(declared, slices)}"
    measure = getattr(rule, "measure", None)
    if measure in _OF_TASKS and task not in _OF_TASKS[measure]:
        yield "measure", f"'{measure}' is of {' and '.join(_OF_TASKS[measure])}, not of {task}; {_INSTEAD[rule.kind]}"


def _refuse(mistakes: list[str]) -> None:
    if mistakes:
        raise UserError("\n".join(mistakes))


def check(composed: Composed, fallback: Path, registry: Path | None = None) -> Project:
    """Judge composed content; `fallback` is the file to name where no file of conf/ holds the key.

    With a registry file, judge that as well: it must have the model, with the environments of conf/deploy.

    Raises UserError with one line per mistake.
    """
    try:
        project = Project.model_validate(composed.content, strict=True)
    except ValidationError as error:
        raise UserError("\n".join(structure.lines(composed, fallback, error))) from None
    mistakes: list[str] = []
    for judge in JUDGES:
        try:
            judge(project)
        except UserError as error:
            mistakes += [
                placed(composed, fallback, *structure.split_key(line, composed.content))
                for line in str(error).splitlines()
            ]
    if registry is not None:
        try:
            read_registry(registry, project.name).check(project.deploy.environments)
        except UserError as error:
            mistakes.append(str(error))
    _refuse(list(dict.fromkeys(mistakes)))  # features that cannot be planned are told by each that asks for them
    return project


def data_of(composed: Composed, fallback: Path) -> Data:
    """Judge conf/data alone, for what has to work while the rest does not fit to it yet.

    Raises UserError with one line per mistake.
    """
    try:
        return Data.parse(composed.content.get(Data.key))
    except ValidationError as error:
        raise UserError("\n".join(structure.lines(composed, fallback, error, Data.key))) from None


def _verify_model(project: Project) -> None:
    from trunkline.pipeline.train import estimators  # noqa: PLC0415  imports scikit-learn

    estimators.verify(project.model, project.data.target.task)


def sites(model: Model, evaluation: Evaluation, gates: Gates) -> None:
    """Refuse signers that are none, and what would fit anew models that are not fitted here."""
    mistakes = []
    for name, site in model.sites.items():
        members = {f".members.{member}": each for member, each in getattr(site, "members", {}).items()}
        for member, each in (members or {"": site}).items():
            try:
                signers.of(each.signers)
            except UserError as error:
                mistakes += [f"model.sites.{name}{member}.signers.{line}" for line in str(error).splitlines()]
    if model.sites and evaluation.backtest is not None:
        mistakes.append("evaluation.backtest: the models of model.sites are the same at every origin; remove it")
    if model.sites and gates.poisoned is not None:
        mistakes.append(
            "gates.poisoned: the models of model.sites are not fitted to the labels here; remove it, and its rules"
        )
    _refuse(mistakes)


def _verify_search(project: Project) -> None:
    if project.search.trials:
        from trunkline.pipeline.search import spaces  # noqa: PLC0415  imports scikit-learn

        spaces.verify(project.search, project.model, project.data.target.task)


def _verify_baseline(project: Project) -> None:
    from trunkline.pipeline.train import estimators  # noqa: PLC0415  imports scikit-learn

    if project.gates.baseline:
        estimators.verify(project.gates.baseline, project.data.target.task, "gates.baseline")


def _verify_privacy(project: Project) -> None:
    if project.data.observations in project.contract.tables:  # else `tables` says so
        privacy.verify(project)


def _verify_directions(project: Project) -> None:
    directions(project.gates, _outputs(project))


def _verify_naive(project: Project) -> None:
    try:
        outputs = compiler.plan(project.features, project.data, project.contract).outputs
    except UserError:  # is told by its own judge
        return
    naive(project.data, project.evaluation, project.gates, [each.name for each in outputs if each.role == "numeric"])


def _verify_monitoring(project: Project) -> None:
    watched(project.monitoring, project.data, project.contract, [feature.name for feature in _outputs(project)])


def _outputs(project: Project) -> tuple[Feature, ...]:
    return compiler.plan(project.features, project.data, project.contract).outputs


JUDGES: tuple[Callable[[Project], object], ...] = (
    lambda project: tables(project.contract, project.data),
    lambda project: derived.verify(project.data, project.contract),
    lambda project: notations(project.contract),
    lambda project: compiler.plan(project.features, project.data, project.contract),
    _verify_model,
    lambda project: sites(project.model, project.evaluation, project.gates),
    _verify_search,
    _verify_baseline,
    lambda project: measures(project.evaluation, project.data, project.contract),
    lambda project: rules(project.gates, project.evaluation, project.data.target.task),
    _verify_directions,
    _verify_naive,
    groups,
    _verify_monitoring,
    _verify_privacy,
)
