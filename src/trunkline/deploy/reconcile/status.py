"""What `trunkline status` shows of each environment: what is declared, since when, by which pull request; what runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trunkline.adapters.git import ancestry
from trunkline.conf.registry import LATEST
from trunkline.core.errors import UserError
from trunkline.deploy import history
from trunkline.deploy.history import DeclaredChange
from trunkline.deploy.mlflow.state import VERSION, Registered
from trunkline.deploy.reconcile.once import Round
from trunkline.deploy.reconcile.state import NOTHING, Actual, Outcome, Reported, Wanted
from trunkline.release import message as release_message

UNKNOWN = "?"


@dataclass(frozen=True)
class Standing:
    """An environment: how it is, what MLflow's alias, the store and each endpoint say, and since when, by whom.

    `alias`, `delivered` and the endpoints' are versions such as v3, null for none, and ? for what cannot be asked.
    `since` (ISO 8601) is when the trunk came to declare this version, None if it never did; for `latest`, when the
    version was released.
    """

    outcome: Outcome
    alias: str
    delivered: str
    endpoints: tuple[tuple[str, str], ...]
    since: str | None
    author: str | None
    pull_request: str | None


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
            )
        )
    return tuple(standings)


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
