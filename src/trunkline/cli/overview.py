"""What `trunkline dashboard` shows, joined of what other verbs say; what cannot be read is shown in its place."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from trunkline.cli.verdicts import Answer
    from trunkline.deploy.reconcile.once import Round
    from trunkline.deploy.reconcile.status import Standing
    from trunkline.lineage.audit.judge import Audit, Event
    from trunkline.monitor.report import Report
    from trunkline.review.dashboard.data import Change, Changes, Dashboard, Environment, Failed, RolloutAnswer

T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """What is looked at: a trunk, the servers' folder, the log (None: as conf/serving declares), and how far back.

    What is copied, such as a bundle out of DVC's cache, is put into `aside`.
    """

    trunk: str
    store: str
    log: str | None
    back: timedelta
    aside: Path


def look(asked: Asked) -> "Dashboard":
    """Return what is known now; fetches the trunk and the tags, and changes nothing."""
    from trunkline.cli.reconcile import site
    from trunkline.deploy.reconcile import once
    from trunkline.review.dashboard.data import Dashboard, Failed

    as_of = datetime.now(UTC)
    changes = _part(
        lambda: _changes(asked, as_of)
    )  # first: an audit compares the trunk with what it was before a fetch
    comparison = _part(lambda: once.reconcile(site(asked.trunk, asked.store), lambda _: None, write=False))
    if isinstance(comparison, Failed):
        return Dashboard(Path.cwd().name, asked.trunk, as_of, comparison, changes)
    environments = _part(lambda: _environments(asked, comparison, as_of))
    return Dashboard(comparison.declared.name, asked.trunk, as_of, environments, changes)


def _part(read: Callable[[], T]) -> "T | Failed":
    """Return what a part of the page says; why there is nothing where it cannot be read."""
    import sys
    import traceback

    from trunkline.core.errors import explain, one_line
    from trunkline.review.dashboard.data import Failed

    try:
        return read()
    except Exception as error:
        known = explain(error) or (error if isinstance(error, OSError) else None)  # pyarrow's
        if known is None:
            traceback.print_exc(file=sys.stderr)
        return Failed(one_line(known or f"an error of Trunkline itself, {type(error).__name__}; stderr has it"))


def _environments(asked: Asked, comparison: "Round", as_of: datetime) -> "tuple[Environment, ...]":
    from trunkline.cli import verdicts
    from trunkline.deploy.reconcile import status
    from trunkline.review.dashboard.data import Environment

    standings = status.standings(Path(), comparison)
    answers = verdicts.running(comparison.declared, standings)
    return tuple(
        Environment(
            standing,
            _rollout(answers.get(standing.outcome.environment)),
            _watched(asked, comparison, standing, as_of),
        )
        for standing in standings
    )


def _rollout(answer: "Answer | None") -> "RolloutAnswer | None":
    from trunkline.review.dashboard.data import RolloutAnswer

    return None if answer is None else RolloutAnswer(answer.answer, answer.reason)


def _watched(asked: Asked, comparison: "Round", standing: "Standing", as_of: datetime) -> "Report | Failed | None":
    """Return what the monitor says of the version that the trunk declares for an environment; None without one."""
    from trunkline.cli import verdicts, watching
    from trunkline.core.errors import UserError

    environment = standing.outcome.environment
    [version] = [each.version for each in comparison.declared.wanted if each.environment == environment]
    if version is None:
        return None

    def report() -> "Report":
        params = verdicts.params_at(comparison.declared.tip)
        log = asked.log or verdicts.log_of(params)
        if log is None:
            raise UserError("no prediction log is declared: give --log, or serving.log in conf/serving")
        running = watching.of_version(version, asked.aside, Path(asked.store) / "bundles", fetching=False)
        return watching.report(params, running, environment, log, as_of)

    return _part(report)


def _changes(asked: Asked, as_of: datetime) -> "Changes":
    import os

    from trunkline.adapters.forge import connect
    from trunkline.lineage.audit import gather
    from trunkline.review.dashboard.data import Changes

    since = as_of - asked.back
    answered = gather.fetched(Path(), asked.trunk, os.environ)
    period = gather.AuditPeriod(since, None)
    audit = gather.audited(Path(), period, asked.trunk, answered, connect.named(os.environ))
    violations = tuple(f"{each.subject}: {each.why}" for each in audit.violations)
    return Changes(since, tuple(_change(audit, each) for each in reversed(audit.events)), violations, audit.unknown)


def _change(audit: "Audit", event: "Event") -> "Change":
    from trunkline.lineage import stays
    from trunkline.review.dashboard.data import Change

    review = event.review
    return Change(
        when=stays.moment(event.date).astimezone(UTC),
        kind=event.kind,
        environments=event.environments,
        before=event.before,
        after=event.declared,
        asked=(review.author if review else None) or event.actor,
        approved=review.approvers if review else None,
        pull_request=f"#{review.number}" if review else None,
        url=review.url if review else None,
        how=_how(event),
        broken=event.commit in {each.commit for each in audit.violations},
    )


def _how(event: "Event") -> str:
    """Say by which way a change came, and what speaks for its version."""
    review, evidence = event.review, event.evidence
    if review is None:
        ways = ["a commit of its rollout" if event.automatic else "no pull request"]
    else:
        ways = [f"merged by {review.merged_by}"] if review.merged_by else []
    if evidence is not None:
        ways.append("refused" if evidence.refused else f"signed by {evidence.signer}")
        ways.append(f"gates: {evidence.verdict or 'no verdict'}")
    return ", ".join(ways)
