"""An audit for a person: one table of what happened, then what should not have, and what keeps it from happening."""

from collections.abc import Iterator
from datetime import UTC

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trunkline.lineage.audit import judge
from trunkline.lineage.audit.judge import Audit, Event, Evidence, Guard, Violation
from trunkline.lineage.stays import moment
from trunkline.show import terminal

_BAD, _UNKNOWN, _DIM = "bold red", "yellow", "dim"


def screen(found: Audit) -> RenderableType:
    """Return the audit as tables."""
    until = f"before {_utc(found.until)}" if found.until else "now"
    bad = {violation.commit for violation in found.violations} - {None}
    count = f"{len(found.events)} event{'s' * (len(found.events) != 1)}"
    parts: list[RenderableType] = [Text(f"{found.trunk} from {_utc(found.since)} to {until}: {count}", _DIM)]
    parts += [_events(found.events, bad)] if found.events else []
    parts += [Text(), *_violations(found.violations), Text(), Text("guards", "bold"), _guards(found.guards)]
    parts += [Text(line, _UNKNOWN) for line in found.unknown]
    return Group(*parts)


def _events(events: tuple[Event, ...], bad: set[str | None]) -> Table:
    made = terminal.table("when (UTC)", "what", "who", "pull request", "evidence", left=(0, 1, 2, 3, 4))
    for event in events:
        style = _BAD if event.commit in bad else ""
        what = Text(f"{event.kind} {judge.subject(event)}", style)
        if event.kind == "release" and event.environments:
            what.append(f"\n  {', '.join(event.environments)} follows", _DIM)
        made.add_row(_utc(event.date), what, Text(event.actor), _review(event), _evidence(event.evidence))
    return made


def _utc(date: str) -> str:
    return moment(date).astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _review(event: Event) -> Text:
    one = event.review
    if one is None:
        return Text("none", _BAD if event.reached else _DIM)
    said = Text(f"#{one.number}" + (f" by {one.author}" if one.author else ""))
    if one.approvers is None:
        said.append("\n  approval not known here", _UNKNOWN)
    else:
        said.append(f"\n  approved by {', '.join(one.approvers) or 'nobody'}", _DIM)
    if one.merged_by:
        said.append(f"\n  merged by {one.merged_by}", _DIM)
    return said


def _evidence(one: Evidence | None) -> Text:
    if one is None:
        return Text()
    made = Text(f"signed by {one.signer}") if one.refused is None else Text("refused", _BAD)
    counted = f"\n  {one.verdict or 'no verdict'}: {one.passed} of {one.blocking} blocking"
    return made.append(counted, _DIM if one.verdict == "pass" else _BAD)


def _violations(found: tuple[Violation, ...]) -> Iterator[RenderableType]:
    if not found:
        yield Text("no violations", "green")
        return
    yield Text(f"{len(found)} violation{'s' * (len(found) > 1)}", _BAD)
    made = terminal.table(left=())
    for _ in range(3):
        made.add_column(overflow="fold")
    for one in found:
        made.add_row(
            Text(f"  {one.rule}", _BAD), one.subject, f"{one.why}{f' ({one.commit[:12]})' if one.commit else ''}"
        )
    yield made


def _guards(found: tuple[Guard, ...]) -> Table:
    made = terminal.table()
    for wide in (False, False, True):
        made.add_column(no_wrap=not wide, overflow="fold")
    words = {True: Text("yes", "green"), False: Text("no", _BAD), None: Text("?", _UNKNOWN)}
    for one in found:
        mend = [one.mend] if one.answer is False else []
        made.add_row(
            Text(f"  {one.name}"), words[one.answer], Text("; ".join([one.detail] * bool(one.detail) + mend), _DIM)
        )
    return made
