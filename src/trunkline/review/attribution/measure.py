"""Measures what `shares` attributes: two commits and the changes between them, run in temporary checkouts."""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trunkline.adapters import checkouts
from trunkline.adapters.checkouts import CheckoutRun, CommitTree
from trunkline.adapters.git import repository
from trunkline.core import durations, paths, safe_yaml
from trunkline.core.errors import OutsideError, UserError, nearest, one_line
from trunkline.core.params import Params
from trunkline.pipeline.evaluate.metrics import registry
from trunkline.review.attribution import shares
from trunkline.review.attribution.shares import ALL, BASE, LOCKS, Attribution, BranchChange, Factor, MeasuredRun

STAGE = "evaluate"
SEPARATED = (*repository.INPUTS, "pyproject.toml")

Announce = Callable[[str], object]


@dataclass(frozen=True)
class Question:
    """What is asked: the two commits, what differs, the metric, and the tree of every combination by its name."""

    base: str
    head: str
    change: BranchChange
    metric: str
    better: str | None
    factors: tuple[Factor, ...]
    trees: Mapping[str, CommitTree]


def ask(root: Path, params: Params, ref: str, metric: str | None = None) -> Question:
    """Return what has to be run, for the first declared metric if none is named.

    Raises UserError for a base that cannot be found, a metric that is not declared, or what is not committed.
    """
    head = repository.head(root)
    if head is None:
        raise UserError("there is no commit here; run trunkline attribute in a project's clone")
    base = repository.merge_base(root, ref)
    if repository.is_dirty(root, SEPARATED):
        raise UserError(
            "something that decides a result is not committed, and commits are compared; commit it first: git status"
        )
    declared = (params.content.get("evaluation") or {}).get("metrics") or []
    name = metric or next(iter(declared), "")
    if name not in declared:
        raise UserError(f"--metric: '{name}' is not in evaluation.metrics of {paths.PARAMS}{nearest(name, declared)}")
    change = _change(root, base, head)
    factors = shares.factors(change)
    ends = {BASE: CommitTree(base, head, (), {}), ALL: CommitTree(head, head, (), {})} if factors else {}
    alone = {factor.name: CommitTree(base, head, factor.paths, factor.texts) for factor in factors}
    return Question(base, head, change, name, registry.better(name), factors, ends | alone)


def seconds(root: Path) -> float | None:
    """Return how long the stages of one combination took when they last ran here; None if one never has."""
    stages = shares.stages_before(safe_yaml.parse_yaml((root / "dvc.yaml").read_text(encoding="utf-8")), STAGE)
    took = durations.read(root)
    return sum(took[name] for name in stages) if stages and set(stages) <= set(took) else None


def answer(root: Path, question: Question, began: Announce, ended: Announce = str) -> Attribution:
    """Run every combination, and attribute the move; `began` is given each one's name, and `ended` its log.

    Raises OutsideError where the base or the head cannot be measured: there is no move to explain then.
    """
    measured = {}
    with ExitStack() as stack:
        cache = checkouts.cache_folder(root) if question.trees else root
        before = checkouts.PRESENT
        if shares.in_base_environment(BASE, question.factors):
            before = stack.enter_context(checkouts.environment(root, question.base))
        for name, tree in question.trees.items():
            began(name)
            python = before if shares.in_base_environment(name, question.factors) else checkouts.PRESENT
            run = checkouts.reproduce(root, tree, cache, STAGE, paths.METRICS, python=python)
            ended(run.log)
            measured[name] = _read(run, question.metric)
            if measured[name].value is None and name in {BASE, ALL}:
                why = measured[name].error
                raise OutsideError(f"{name} cannot be measured in its environment: {why}; see --verbose")
    return shares.attribute(
        question.change,
        measured,
        metric=question.metric,
        better=question.better,
        base=question.base,
        head=question.head,
    )


def _change(root: Path, base: str, head: str) -> BranchChange:
    changed = repository.changed_between(root, base, head)
    data = [Path(path) for path in changed if Path(path).parent == paths.CONF / "data" and path.endswith(".yaml")]
    read = repository.files_at(root, (base, head), (*data, paths.PARAMS, *map(Path, LOCKS)))
    texts = [
        {path.as_posix(): text.decode(errors="surrogateescape") for path, text in read[commit].items() if path in data}
        for commit in (base, head)
    ]
    params = [_params(read[commit].get(paths.PARAMS, b""), commit) for commit in (base, head)]
    before, after = (
        b"\n".join(read[commit].get(Path(lock), b"") for lock in LOCKS).decode(errors="replace")
        for commit in (base, head)
    )
    return BranchChange(changed, texts[0], texts[1], params[0], params[1], (before, after))


def _params(text: bytes, commit: str) -> dict[str, Any]:
    try:
        content = safe_yaml.parse_yaml(text.decode(errors="replace"))
    except yaml.YAMLError as error:
        raise UserError(f"{commit[:12]}:{paths.PARAMS}: not YAML: {one_line(error)}") from None
    return content if isinstance(content, dict) else {}


def _read(run: CheckoutRun, metric: str) -> MeasuredRun:
    if run.report is None:
        error = shares.last_error(run.log) if not run.succeeded else f"it made no {paths.METRICS}"
        return MeasuredRun(None, error=error)
    holdout = json.loads(run.report).get("holdout") or {}
    value = holdout.get(metric)
    error = "" if value is not None else f"{paths.METRICS} has no {metric}"
    return MeasuredRun(None if value is None else float(value), holdout.get("n"), error)
