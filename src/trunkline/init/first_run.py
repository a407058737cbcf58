"""The first run of a new project: what it measures sets the limits of the gates."""

from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trunkline.adapters.dvc import project, reproduce
from trunkline.adapters.git import process
from trunkline.conf.evaluation import Evaluation
from trunkline.conf.gates import Gates
from trunkline.core import files, safe_yaml
from trunkline.core.params import Params
from trunkline.core.progress import track
from trunkline.init import conf_text, first_rules, gates_text
from trunkline.init.gates_text import Rule
from trunkline.init.problem import Problem
from trunkline.init.sources import INCOMING
from trunkline.pipeline import reports
from trunkline.pipeline.gate import evidence, selftest
from trunkline.pipeline.gate.selftest import Case
from trunkline.pipeline.reports import Reports

_MOVES = 2  # of limits by what the self-test found


@dataclass(frozen=True)
class FirstRun:
    """What a first run gave, under the rules that it has set, and what their self-test found."""

    reports: Reports
    rules: Mapping[str, Rule]
    cases: tuple[Case, ...]


def repository(root: Path, *, incoming: bool) -> None:
    """Make the folder a repository of git if it is none yet; files that were copied into it are DVC's to keep."""
    if process.stdout(root, "rev-parse", "--git-dir") is None:
        process.output(root, "init", "--quiet", "--initial-branch=main")
    if incoming:
        with project.opened(root) as repo:
            repo.scm_context.quiet = True  # init says itself what to commit
            repo.add([INCOMING.as_posix()])


def run(root: Path, problem: Problem) -> FirstRun:
    """Run the pipeline, set the gates by what it gave and by their self-test, and judge again."""
    reproduce.reproduce(root, None, print)
    first = Reports.parse(reports.read(root))
    seen = leaks(problem, first)
    with chdir(root):
        rules, cases = _tested(
            problem, first_rules.rules(problem, first), _MOVES if first_rules.is_of_use(first) else 0
        )
    files.write_text(root / conf_text.place(problem, "gates"), gates_text.text(problem, rules, seen))
    files.write_text(root / conf_text.place(problem, "features"), conf_text.features(problem, seen))
    reproduce.reproduce(root, None, print)
    return FirstRun(Reports.parse(reports.read(root)), rules, cases)


def _tested(problem: Problem, rules: dict[str, Rule], moves: int) -> tuple[dict[str, Rule], tuple[Case, ...]]:
    """Return the rules with limits that were moved by what their self-test found, and what it finds then."""
    params = Params.read()
    measured = params.group(Evaluation)
    outcomes = evidence.read(measured, params.seed)
    progress = partial(track, what="planting", unit="models")

    def tested(rules: Mapping[str, Rule]) -> tuple[Case, ...]:
        declared = safe_yaml.parse_yaml(gates_text.text(problem, rules, {}))
        gates = Gates.of({Gates.key: declared}, conf_text.place(problem, Gates.key))
        return tuple(selftest.run(gates, measured, outcomes, progress))

    cases = tested(rules)
    for _ in range(moves):
        moved = first_rules.moved(rules, cases)
        if moved == rules:
            break
        rules, cases = moved, tested(moved)
    return rules, cases


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
