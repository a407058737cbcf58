"""What `trunkline monitor --act` does on the forge: what was done stays, whatever fails after it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from trunkline.core.errors import OutsideError
    from trunkline.monitor.alerts import Alert
    from trunkline.monitor.issues import Followed, Tracker, What
    from trunkline.monitor.report import Report
    from trunkline.retrain.publish import Done

    Asking = tuple[Alert, int | None]  # for a retraining, and its issue


@dataclass(frozen=True)
class Acted:
    """What became of each alert, and the error at which it ended, if it did."""

    followed: tuple["Followed", ...]
    error: "OutsideError | None" = None


def act(report: "Report", trunk: str, *, write: bool) -> Acted:
    """Bring the issues of a report's alerts up to date; without `write`, look only.

    Raises UserError where no forge is named; a forge that fails on the way is in the answer.
    """
    import os

    from trunkline.adapters.forge import connect
    from trunkline.core.errors import OutsideError
    from trunkline.monitor.issues import Tracker
    from trunkline.release import provenance

    tracker = Tracker(connect.connect(os.environ), report, provenance.run_of(os.environ).invocation, write)
    followed: list[Followed] = []
    try:
        for each in _followed(tracker, trunk):
            followed.append(each)
    except OutsideError as error:
        return Acted(tuple(followed), error)
    return Acted(tuple(followed))


def _followed(tracker: "Tracker", trunk: str) -> Iterator["Followed"]:
    from dataclasses import replace
    from functools import partial

    from trunkline.monitor import issues

    retraining: list[Asking] = []
    for alert in issues.wanted(tracker.report):
        followed: Followed = _retried(partial(tracker.follow, alert))
        yield followed
        if followed.what == "left closed":
            continue
        if alert.then == "rollback":
            opened = partial(_rolled_back, tracker.report, alert, trunk)
            proposed = tracker.propose(alert, followed.number, opened)
            yield from [replace(proposed, url=followed.url)] if proposed else []
        if alert.then == "retrain":
            retraining.append((alert, followed.number))
    yield from _retried(tracker.end)
    if retraining or tracker.report.monitoring.retrain.every is not None:
        yield from _retrained(tracker, retraining, trunk)


def _retrained(tracker: "Tracker", asking: "list[Asking]", trunk: str) -> Iterator["Followed"]:
    """Open the pull request of a retraining, or bring it up to date; say what became of each alert that asks for it."""
    from trunkline.adapters.forge import connect
    from trunkline.monitor.issues import Followed
    from trunkline.release.verify import RefusedError
    from trunkline.retrain import propose, publish
    from trunkline.retrain.propose import Nothing, Where, Wish
    from trunkline.retrain.publish import Done

    environ, report = _environ(), tracker.report
    forge, alerts = connect.connect(environ), tuple(alert for alert, _ in asking)
    where, done = Where(Path(), trunk, environ, forge, _echo), Done("", computed=False)
    try:
        proposal = propose.prepare(where, Wish(report.watched.as_of, report, alerts))
    except RefusedError as error:
        proposal = Nothing(str(error))
    if isinstance(proposal, Nothing):
        _echo(proposal.reason)
    elif tracker.write:
        done = publish.publish(where, forge, proposal)
        _say(tracker, asking, done)
        if not asking:
            publish.say_no_help(where, forge, done)
    proposed = not isinstance(proposal, Nothing) and (done.number is not None or not tracker.write)
    what: What = "retraining proposed" if proposed else "no retraining"
    for name in [alert.id for alert in alerts] or (["the schedule"] if proposed else []):
        yield Followed(name, what, done.number, done.url)


def _say(tracker: "Tracker", asking: "list[Asking]", done: "Done") -> None:
    """Say on the issue of each alert, once, that a retraining is proposed, and where it does not help, why."""
    from functools import partial

    for alert, issue in asking if done.number else ():
        _retried(partial(tracker.say_proposed, alert, issue, "A retraining is proposed:", done.url))
        if done.no_help:
            _retried(partial(tracker.say, issue, done.no_help))


def _environ() -> "dict[str, str]":
    """Return the environment with the token for what has to be checked: what a workflow's own token opens is not."""
    import os

    own = os.environ.get("TRUNK_TOKEN")
    return {**os.environ, **({"GITHUB_TOKEN": own} if own else {})}


def _echo(line: str) -> None:
    click.echo(line, err=True)


def _rolled_back(report: "Report", alert: "Alert", trunk: str) -> tuple["What", str, str]:
    """Open the pull request of a rollback, and say what became of it, with its address."""
    from trunkline.adapters.forge import connect
    from trunkline.deploy import propose
    from trunkline.deploy.propose import Intent, NoChange
    from trunkline.release.verify import RefusedError

    environ = _environ()
    cause = alert.cause
    reason = f"{cause.name} of {cause.subject}"
    intent = Intent("rollback", report.watched.environment, alert.previous, f"{reason}: {alert.evidence}")
    try:
        proposal = propose.prepare(Path(), trunk, intent, environ)
    except RefusedError as error:
        return "no rollback", f"No rollback: it is refused: {error}", ""
    if isinstance(proposal, NoChange):
        words = f"No rollback: the trunk declares {proposal.environment}: {proposal.declared} by now."
        return "no rollback", words, ""
    opened = propose.publish(Path(), proposal, environ, connect.connect(environ), _echo)
    return "rollback proposed", "A rollback is proposed:", opened.url


def _retried(call: Callable[[], Any]) -> Any:
    from trunkline.adapters.forge import api

    return api.retried(call, _echo)


def content(acted: Acted | None) -> dict[str, Any]:
    """Return what was done as JSON has it; nothing without --act."""
    from dataclasses import asdict

    if acted is None:
        return {}
    return {
        "did": [asdict(each) for each in acted.followed],
        "error": None if acted.error is None else str(acted.error),
    }


def tell(acted: Acted | None) -> None:
    """Say what was done, a line each."""
    for each in acted.followed if acted else ():
        click.echo(f"issue of {each.alert}: {each.what}{f', #{each.number} {each.url}' if each.number else ''}")


def code(report: "Report", acted: Acted | None) -> int:
    """Return the exit code; raise the error at which acting ended."""
    if acted is None:
        return 0 if report.answer == "quiet" else 1
    if acted.error is not None:
        raise acted.error
    from trunkline.monitor import issues

    return 1 if len(report.active) > len(issues.wanted(report)) else 0
