"""An audit for a person: one table of what happened, then what should not have, and what keeps it from happening."""

from collections.abc import Iterator
from datetime import UTC

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trunkline.lineage.audit import judge
from trunkline.lineage.audit.judge import Audit, Event, Guard, VersionEvidence, Violation
from trunkline.lineage.stays import moment
from trunkline.show import terminal

_BAD, _UNKNOWN, _DIM = "bold red", "yellow", "dim"


def screen(audit: Audit) -> RenderableType:
    """Return the audit as tables."""
    until = f"before {_utc(audit.until)}" if audit.until else "now"
    bad = {violation.commit for violation in audit.violations} - {None}
    count = f"{len(audit.events)} event{'s' * (len(audit.events) != 1)}"
    parts: list[RenderableType] = [Text(f"{audit.trunk} from {_utc(audit.since)} to {until}: {count}", _DIM)]
    parts += [_events(audit.events, bad)] if audit.events else []
    parts += [Text(), *_violations(audit.violations), Text(), Text("guards", "bold"), _guards(audit.guards)]
    parts += [Text(line, _UNKNOWN) for line in audit.unknown]
    return Group(*parts)


def _events(events: tuple[Event, ...], bad: set[str | None]) -> Table:
    table = terminal.table("when (UTC)", "what", "who", "pull request", "evidence", left=(0, 1, 2, 3, 4))
    for event in events:
        style = _BAD if event.commit in bad else ""
        what = Text(f"{event.kind} {judge.subject(event)}", style)
        if event.kind == "release" and event.environments:
            what.append(f"\n  {', '.join(event.environments)} follows", _DIM)
        table.add_row(_utc(event.date), what, Text(event.actor), _review(event), _evidence(event.evidence))
    return table


def _utc(date: str) -> str:
    return moment(date).astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _review(event: Event) -> Text:
    review = event.review
    if review is None:
        return Text("none", _BAD if event.reached else _DIM)
    said = Text(f"#{review.number}" + (f" by {review.author}" if review.author else ""))
    if review.approvers is None:
        said.append("\n  approval not known here", _UNKNOWN)
    else:
        said.append(f"\n  approved by {', '.join(review.approvers) or 'nobody'}", _DIM)
    if review.merged_by:
        said.append(f"\n  merged by {review.merged_by}", _DIM)
    return said


def _evidence(evidence: VersionEvidence | None) -> Text:
    if evidence is None:
        return Text()
    text = Text(f"signed by {evidence.signer}") if evidence.refused is None else Text("refused", _BAD)
    counted = f"\n  {evidence.verdict or 'no verdict'}: {evidence.passed} of {evidence.blocking} blocking"
    return text.append(counted, _DIM if evidence.verdict == "pass" else _BAD)


def _violations(violations: tuple[Violation, ...]) -> Iterator[RenderableType]:
    if not violations:
        yield Text("no violations", "green")
        return
    yield Text(f"{len(violations)} violation{'s' * (len(violations) > 1)}", _BAD)
    table = terminal.table(left=())
    for _ in range(3):
        table.add_column(overflow="fold")
    for violation in violations:
        table.add_row(
            Text(f"  {violation.rule}", _BAD),
            violation.subject,
            f"{violation.why}{f' ({violation.commit[:12]})' if violation.commit else ''}",
        )
    yield table


def _guards(guards: tuple[Guard, ...]) -> Table:
    table = terminal.table()
    for wide in (False, False, True):
        table.add_column(no_wrap=not wide, overflow="fold")
    words = {True: Text("yes", "green"), False: Text("no", _BAD), None: Text("?", _UNKNOWN)}
    for guard in guards:
        remedy = [guard.remedy] if guard.answer is False else []
        table.add_row(
            Text(f"  {guard.name}"),
            words[guard.answer],
            Text("; ".join([guard.detail] * bool(guard.detail) + remedy), _DIM),
        )
    return table
