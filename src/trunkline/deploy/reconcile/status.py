"""What `trunkline status` shows of each environment: what is declared, since when, by which pull request; what runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trunkline.adapters.git import ancestry
from trunkline.conf.registry import LATEST, Kind
from trunkline.conf.rollout import Rollout
from trunkline.core.errors import UserError
from trunkline.deploy import history
from trunkline.deploy.history import DeclaredChange
from trunkline.deploy.mlflow.state import VERSION, Registered
from trunkline.deploy.reconcile.once import Round
from trunkline.deploy.reconcile.state import NOTHING, Actual, Outcome, Reported, Wanted
from trunkline.deploy.rollout import step as rollout_step
from trunkline.deploy.rollout.step import Step
from trunkline.release import message as release_message

UNKNOWN = "?"


@dataclass(frozen=True)
class RolloutStanding:
    """The candidate of an environment, the share that it has in percent, and since when, by whom it has that.

    `step` of `steps` is where conf/deploy has it, None for a share of no step; `delivered` says whether the store has
    it so.
    """

    kind: Kind
    version: str
    share: float
    step: int | None
    steps: int
    delivered: bool
    since: str | None
    author: str | None
    pull_request: str | None

    def __str__(self) -> str:
        """Write it as one line."""
        does = "is tried as a shadow of" if self.kind == "shadow" else "answers"
        step = f"step {self.step} of {self.steps}" if self.step else f"no step of the {self.steps} declared ones"
        since = f"since {self.since.replace('T', ' ')[:16]}" if self.since else ""
        by = " ".join(filter(None, (self.pull_request, self.author)))
        delivered = "" if self.delivered else "not delivered"
        share = f"{self.version} {does} {self.share:g} %"
        return ", ".join(filter(None, (share, step, since, by and f"by {by}", delivered)))


@dataclass(frozen=True)
class Standing:
    """An environment: how it is, what MLflow's alias, the store and each endpoint say, and since when, by whom.

    `alias`, `delivered` and the endpoints' are versions such as v3, null for none, and ? for what cannot be asked.
    `since` (ISO 8601) is when the trunk came to declare this version, None if it never did; for `latest`, when the
    version was released. `rollout` is the one that runs, and `held` are versions that were taken back.
    """

    outcome: Outcome
    alias: str
    delivered: str
    endpoints: tuple[tuple[str, str], ...]
    since: str | None
    author: str | None
    pull_request: str | None
    rollout: RolloutStanding | None = None
    held: tuple[str, ...] = ()


def standings(clone: Path, comparison: Round) -> tuple[Standing, ...]:
    """Return where each environment of a round stands; asks git only."""
    changes = history.changes(clone, comparison.declared.tip, comparison.declared.name)
    wanted = {item.environment: item for item in comparison.declared.wanted}
    standings = []
    for outcome in comparison.outcomes:
        target = wanted[outcome.environment]
        since, author, reference = _since(clone, target, changes)
        answers = ((address, comparison.actual.endpoints.get(address)) for address in target.endpoints)
        standings.append(
            Standing(
                outcome=outcome,
                alias=_alias(comparison.actual, outcome.environment),
                delivered=outcome.actual,
                endpoints=tuple(
                    (address, answer.version if isinstance(answer, Reported) else UNKNOWN if answer else NOTHING)
                    for address, answer in answers
                ),
                since=since,
                author=author,
                pull_request=reference,
                rollout=_rollout(comparison.actual, target, changes),
                held=target.held,
            )
        )
    return tuple(standings)


def step(standing: Standing, tried: RolloutStanding, rollout: Rollout) -> Step:
    """Return the step of conf/deploy that an environment's rollout is in; raises UserError where it is in none."""
    environment = standing.outcome.environment
    if tried.since is None:
        raise UserError("no commit that is here began it; run: git fetch --unshallow")
    since = datetime.fromisoformat(tried.since).astimezone(UTC)
    number = rollout_step.place(rollout, environment, tried.kind, tried.share)
    return Step(environment, tried.version, standing.outcome.version, since, rollout, number)


def _rollout(actual: Actual, wanted: Wanted, changes: Sequence[DeclaredChange]) -> RolloutStanding | None:
    tried = wanted.candidate
    if tried is None:
        return None
    change, pointer = history.rollout_since(changes, wanted.environment), actual.pointers.get(wanted.environment)
    should = Reported.of(wanted.release, tried).rollout if wanted.release else None
    return RolloutStanding(
        kind=tried.kind,
        version=tried.version.label,
        share=tried.share,
        step=tried.step,
        steps=tried.steps,
        delivered=pointer is not None and pointer.rollout is not None and pointer.rollout == should,
        since=change.date if change else None,
        author=change.author if change else None,
        pull_request=change.pull_request if change else None,
    )


def _since(clone: Path, wanted: Wanted, changes: Sequence[DeclaredChange]) -> tuple[str | None, str | None, str | None]:
    tag = ancestry.tag(clone, wanted.version.tag) if wanted.version else None
    if wanted.declared == LATEST and tag:
        try:
            review = release_message.parse_message(tag.message).review
        except UserError:
            review = None
        return (
            tag.date,
            review.author if review else f"{tag.tagger} {tag.email}",
            f"#{review.number}" if review else None,
        )
    change = history.since(changes, wanted.environment)
    return (change.date, change.author, change.pull_request) if change else (None, None, None)


def _alias(actual: Actual, alias: str) -> str:
    if not isinstance(actual.registered, Registered):
        return UNKNOWN
    number = actual.registered.aliases.get(alias)
    labels = {entry.number: entry.tags.get(VERSION) for entry in actual.registered.entries}
    return labels.get(number) or f"MLflow's {number}" if number else NOTHING
