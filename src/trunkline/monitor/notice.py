"""The issue that an alert opens: its hidden marker and its text, in Markdown; no value of a row is in it. Pure.

A value of a slice, such as an airport, or a customer, is a value of rows: the page has it, an issue does not.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from trunkline.conf.monitoring import Action
from trunkline.monitor.alerts import ACTIONS, SEVERITIES, Alert, Streak
from trunkline.monitor.report import Report
from trunkline.show.markdown import code, plain, table, text
from trunkline.show.text import address

MOST = 10  # consequences that are listed
_TITLE = 200  # characters
_NEVER = "-"  # of an issue whose alert has ended
_MARKER = re.compile(r"<!-- trunkline:alert (\w{12}) (\w{12}) (\w{12}) (\S+) (\d+) -->")


@dataclass(frozen=True)
class Marker:
    """What an issue is of: the environment, the alert's id, its cause, and until when somebody has been told.

    `key` is the same for the next alert of a cause, and for one whose beginning is no longer read. `notice` is when
    somebody was last told, None where the alert has ended; `level` grows with what follows and with the severity.
    """

    scope: str
    id: str
    key: str
    notice: datetime | None
    level: int

    def __str__(self) -> str:
        notice = _NEVER if self.notice is None else f"{self.notice.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return f"<!-- trunkline:alert {self.scope} {self.id} {self.key} {notice} {self.level} -->"


def read(body: str) -> Marker | None:
    """Return the marker with which a body begins; None without one."""
    match = _MARKER.match(body)
    if match is None:
        return None
    scope, name, key, notice, level = match.groups()
    try:
        moment = None if notice == _NEVER else datetime.fromisoformat(notice)
    except ValueError:
        return None
    return Marker(scope, name, key, moment, int(level))


def scope(report: Report) -> str:
    """Return what the issues of an environment have in common."""
    return _digest("environment", report.watched.environment)


def marker(report: Report, alert: Alert) -> Marker:
    """Return the marker of an alert as it is now."""
    level = len(SEVERITIES) * ACTIONS.index(alert.wanted) + SEVERITIES.index(alert.severity)
    notice = max(alert.notices, default=None)
    return Marker(scope(report), alert.id, key(report, alert.cause), notice, level)


def key(report: Report, streak: Streak) -> str:
    """Return what stays the same when something is seen again."""
    return _digest(report.watched.environment, *streak.key)


def title(report: Report, alert: Alert) -> str:
    """Return the title of an alert's issue."""
    where = f" by {alert.cause.slice}" if alert.cause.slice else ""
    return plain(f"{report.watched.environment}: {alert.cause.name} of {alert.cause.subject}{where}", _TITLE)


def body(report: Report, alert: Alert, marked: Marker, page: str | None) -> str:
    """Return the text of an alert's issue, with a marker; `page` is the address of the run that has the page."""
    watched = report.watched
    version = f"{code(watched.version)} " if watched.version else ""
    rows = [
        ("What", what(alert)),
        ("Since", since(alert)),
        ("How bad", alert.severity),
        ("Of", f"{version}{code(watched.digest[:12])} in {code(watched.environment)}"),
        ("With it", consequences(alert)),
        ("What follows", text(_follows(alert), 1_000)),
    ]
    shown = table(("", ""), [row for row in rows if row[1]])
    run = "the artifact `monitoring` of " + (f"[this run]({address(page)})" if page else "the last run")
    command = code(f"trunkline monitor --env {watched.environment} --html monitoring.html")
    foot = (
        f"The page, with pictures and slices: {run}, or {command}. The text is kept up to date, and the issue is "
        "closed when it is quiet again. Who closes it before hears of it when it becomes worse, or after the "
        "cooldown."
    )
    return f"{marked}\n{shown}\n\n{foot}\n"


_FOLLOWS = {
    "issue": "this issue",
    "retrain": "a retraining is proposed",
    "rollback": "a rollback is proposed",
}


def _follows(alert: Alert) -> str:
    evidence = f": {alert.evidence}" if alert.evidence else ""
    return alert.blocked or f"{_FOLLOWS[alert.then]}{evidence}"


def proposed(marked: Marker, then: Action, words: str, url: str = "") -> str:
    """Return the comment that says what became of what follows; there is one of a cause, recognized as `again`.

    `url` is the forge's own address of a pull request, and stays a link.
    """
    return f"<!-- trunkline:{then} {marked.key} -->\n{text(words, 1_000)}{url and f' {url}'}\n"


def summary(report: Report) -> str:
    """Return a report in Markdown, for the page of a run: the answer, what goes on, and how each rule stands."""
    watched = report.watched
    of = f"{code(watched.version or 'the bundle')} {code(watched.digest[:12])} in {code(watched.environment)}"
    lines = [f"## {report.answer}: {of}, as of {watched.as_of:%Y-%m-%d %H:%M} UTC", ""]
    if report.active:
        rows = [(each.severity, what(each), since(each), text(each.blocked or each.then)) for each in report.active]
        lines += [table(("How bad", "What", "Since", "What follows"), rows), ""]
    standings = [(code(each.rule), text(each.verdict), f"{each.beyond} of {each.series}") for each in report.standings]
    return "\n".join([*lines, table(("Rule", "Verdict", "Beyond"), standings), ""])


def again(alert: Alert, marked: Marker) -> str:
    """Return the comment that tells of an alert once more; it begins with what it is recognized by."""
    mark = f"<!-- trunkline:told {marked.id} {marked.notice} {marked.level} -->"
    return f"{mark}\nIt goes on: {what(alert)}; since {since(alert)}.\n"


def quiet(report: Report, marked: Marker) -> str:
    """Return the comment on an alert that has ended, or is not seen any more; recognized as `again`."""
    return f"<!-- trunkline:quiet {marked.id} {marked.notice} -->\n{_end(report, marked)}\n"


def _end(report: Report, marked: Marker) -> str:
    window, watched = report.monitoring.window, report.watched
    ended = next((each for each in report.alerts if each.id == marked.id and not each.active), None)
    if ended is not None:
        return f"Quiet since {ended.until + window:%Y-%m-%d %H:%M} UTC."
    of = f"{code(watched.version or watched.digest[:12])} in {code(watched.environment)}"
    explained = any(marked.key == key(report, each) for alert in report.active for each in alert.consequences)
    if explained:
        return f"It goes on as a consequence of another alert of {of}, which has its own issue."
    return f"No longer seen: as of {watched.as_of:%Y-%m-%d %H:%M} UTC, nothing like it of {of} asks for an issue."


def what(alert: Alert) -> str:
    """Return what is wrong, in Markdown, without a value of a row."""
    cause = alert.cause
    if alert.words:
        return f"{code(cause.name)}: {text(alert.words)}"
    return f"{_named(cause)}: {code(cause.measure)} is {cause.value:.3g}, limit {cause.limit:.3g}"


def since(alert: Alert) -> str:
    """Return since when, for how many windows, and of how many rows."""
    cause = alert.cause
    windows = "1 window" if cause.windows == 1 else f"{cause.windows} windows"
    return f"{cause.since:%Y-%m-%d %H:%M} UTC, {windows}, {cause.rows:,} rows in the last one"


def consequences(alert: Alert) -> str:
    """Return what is seen with the cause, in Markdown, without a value of a row."""
    names = list(dict.fromkeys(_named(each) for each in alert.consequences))
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return f"{', '.join(names[:MOST])}{more}"


def _named(streak: Streak) -> str:
    where = f" where {code(streak.slice)} has one of its values" if streak.slice else ""
    return f"{code(streak.name)} of {code(streak.subject)}{where}"


def _digest(*words: Iterable[str]) -> str:
    return hashlib.sha256("\x1f".join(map(str, words)).encode()).hexdigest()[:12]
