"""Verdicts on rollouts, for verbs that show them beside other things: by the trunk's conf/ and the log it declares."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline.conf.rollout import Rollout
    from trunkline.conf.versions import Version
    from trunkline.core.params import Params
    from trunkline.deploy.propose import TrunkState
    from trunkline.deploy.reconcile.desired import DesiredState
    from trunkline.deploy.reconcile.status import RolloutStanding, Standing
    from trunkline.deploy.rollout.judge import Verdict
    from trunkline.deploy.rollout.step import Step
    from trunkline.deploy.rollout.trials import Trial


def params_at(commit: str) -> "Params":
    """Return params.yaml as it is in a commit of this folder's repository."""
    from trunkline.adapters.git.snapshot import Snapshot
    from trunkline.core import paths
    from trunkline.core.params import Params

    content = Snapshot(Path(), commit, (paths.PARAMS,)).mapping(paths.PARAMS)
    return Params(content, f"{paths.PARAMS} of {commit[:10]}")


def log_of(params: "Params") -> str | None:
    """Return where conf/serving declares the log to be; None where it declares none."""
    from trunkline.conf.serving import Serving
    from trunkline.core.params import dig

    log = params.group(Serving).log if dig(params.content, Serving.key) else None
    return None if log is None else log.to


def verdict(params: "Params", step: "Step", until: datetime, log: str | None) -> "Verdict":
    """Return the verdict on a step at a moment (UTC), by `log`, or the log that conf/serving of this folder declares.

    Raises UserError where there is no log, or it lacks a column; OutsideError where it cannot be read.
    """
    from trunkline.cli.labels import log_place
    from trunkline.conf.data import Data
    from trunkline.deploy.rollout import evidence, judge
    from trunkline.deploy.rollout.rows import Reader
    from trunkline.serve.labels import store

    place, task = log_place(Path(), log), params.group(Data).target.task
    outcomes = store.read(place, task) if step.rules.performance else None
    return judge.verdict(step, evidence.gather(Reader(place, step, until, outcomes)), until, task)


@dataclass(frozen=True)
class Answer:
    """What a verdict answers, and its first reason; `?` where there can be none, and why not."""

    answer: str
    reason: str


def running(trunk: "DesiredState", standings: "Sequence[Standing]") -> dict[str, Answer]:
    """Return what the log says now of the rollout of each environment that has one; without any, no log is read."""
    answers = {}
    for standing in standings:
        environment, tried = standing.outcome.environment, standing.rollout
        steps = trunk.promotion.environments[environment].rollout
        if tried is not None and steps is not None:
            answers[environment] = _answer(trunk.tip, standing, tried, steps)
    return answers


def _answer(tip: str, standing: "Standing", tried: "RolloutStanding", steps: "Rollout") -> Answer:
    from trunkline.core.errors import TrunklineError, UserError, one_line
    from trunkline.deploy.reconcile import status

    try:
        params = params_at(tip)
        log = log_of(params)
        if log is None:
            raise UserError("no prediction log is declared: serving.log in conf/serving")
        judged = verdict(params, status.step(standing, tried, steps), datetime.now(UTC), log)
    except (TrunklineError, OSError) as error:  # pyarrow's too
        return Answer("?", one_line(error))
    return Answer(judged.answer, judged.reasons[0])


def elsewhere(environment: str, trunk: "TrunkState", version: "Version") -> "Sequence[tuple[str, str]]":
    """Return what the log says of a version where it is or was a candidate in other environments: headings, Markdown.

    There is nothing where no log is declared; one that cannot be read is said.
    """
    from trunkline.deploy import history
    from trunkline.deploy.rollout import trials

    params = params_at(trunk.tip)
    log = log_of(params)
    if log is None:
        return ()
    changes = history.changes(Path(), trunk.tip, trunk.name)
    tried = trials.elsewhere(changes, version.number, environment)
    return [(f"In {trial.environment}, as {trial}", _result(params, log, trunk, trial)) for trial in tried]


def _result(params: "Params", log: str, trunk: "TrunkState", trial: "Trial") -> str:
    from trunkline.core.errors import TrunklineError
    from trunkline.deploy.rollout import trials
    from trunkline.review.rollout import markdown
    from trunkline.show.markdown import text

    target = trunk.declared.environments.get(trial.environment)
    if target is None or target.rollout is None:
        return f"conf/deploy declares no rollout of {trial.environment} any more, so there are no rules to judge it by."
    try:
        step = trials.as_step(Path(), trunk.name, trial, target.rollout)
        judged = verdict(params, step, trial.until or datetime.now(UTC), log)
    except (TrunklineError, OSError) as error:  # pyarrow's too
        return f"Not known: {text(str(error))}"
    return markdown.verdict(judged) if judged.rows else "The log has no rows of it there."
