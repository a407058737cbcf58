"""Where else a version is, or was, a candidate: the steps of its rollouts by the history of the registry file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from trunkline.adapters.git import ancestry
from trunkline.conf import registry
from trunkline.conf.registry import LATEST, Candidate, Desired
from trunkline.conf.rollout import Rollout
from trunkline.conf.versions import Version
from trunkline.deploy.history import DeclaredChange
from trunkline.deploy.rollout import step
from trunkline.deploy.rollout.step import Step


@dataclass(frozen=True)
class Trial:
    """A candidate of an environment, and what that is declared to run beside it, between two commits of the trunk.

    Times are UTC; `until` is None while it goes on.
    """

    environment: str
    candidate: Candidate
    beside: Desired
    since: datetime
    until: datetime | None = None

    def __str__(self) -> str:
        """Write how it is tried: shadow, or canary of 5 %."""
        share = self.candidate.share
        return self.candidate.kind if share is None else f"{self.candidate.kind} of {share:g} %"


def elsewhere(changes: Sequence[DeclaredChange], version: int, environment: str) -> tuple[Trial, ...]:
    """Return the trials of a version in all environments but one, the last of each kind and share there, oldest first.

    `changes` are newest first, as `history.changes` has them.
    """
    trials: dict[tuple[str, Candidate], Trial] = {}
    others = (change for change in reversed(changes) if change.environment != environment)
    for change in others:
        before, after = change.before.candidate, change.after.candidate
        if before == after:
            continue
        moment = datetime.fromisoformat(change.date).astimezone(UTC)
        if ended := before and trials.get((change.environment, before)):
            trials[change.environment, ended.candidate] = replace(ended, until=moment)
        if after and after.version == version:
            trials[change.environment, after] = Trial(change.environment, after, change.after.version, moment)
    return tuple(sorted(trials.values(), key=lambda trial: trial.since))


def as_step(folder: Path, name: str, trial: Trial, rollout: Rollout) -> Step:
    """Return the step that a trial of a model's version is; raises UserError where conf/deploy has no such one."""
    candidate = trial.candidate
    number = step.place(rollout, trial.environment, candidate.kind, candidate.share)
    label = registry.label(candidate.version)
    return Step(trial.environment, label, _beside(folder, name, trial), trial.since, rollout, number)


def _beside(folder: Path, name: str, trial: Trial) -> str:
    """Return the label of the version that was run beside it when it began: of `latest`, what was the newest then."""
    if trial.beside != LATEST:
        return "null" if trial.beside is None else registry.label(trial.beside)
    tags = (tag for tag in ancestry.annotated(folder) if datetime.fromisoformat(tag.date) <= trial.since)
    released = [version for tag in tags if (version := Version.of_tag(tag.name)) and version.name == name]
    return max(released).label if released else LATEST
