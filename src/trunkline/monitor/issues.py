"""Keeps one issue for each alert that asks for one: opened, kept up to date, told again, and closed when it is quiet.

An issue is ours by its marker and its author. What is there is read first, so that each call may be repeated after a
failure, and two runs at once end with one issue: the one that was opened first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from trunkline.adapters.forge.api import Forge, Issue, plain
from trunkline.monitor import notice
from trunkline.monitor.alerts import Alert
from trunkline.monitor.notice import Marker
from trunkline.monitor.report import Report

FOLLOWED = ("issue", "retrain", "rollback")  # what an issue is opened for

What = Literal[
    "opened",
    "updated",
    "told again",
    "unchanged",
    "left closed",
    "closed",
    "rollback proposed",
    "no rollback",
    "retraining proposed",
    "no retraining",
]


@dataclass(frozen=True)
class Followed:
    """What became of an alert: its id, and its issue's number and page, None where none is open or was opened."""

    alert: str
    what: What
    number: int | None = None
    url: str = ""


@dataclass(frozen=True)
class Ours:
    """An issue of ours, and its marker."""

    issue: Issue
    marker: Marker


@dataclass(frozen=True)
class Tracker:
    """The issues of a report's environment on a forge; `page` is the address of the run that has the page.

    Without `write`, nothing is written: it is said what would be done. Every method raises ForgeError, and may be
    called again after it.
    """

    forge: Forge
    report: Report
    page: str | None = None
    write: bool = True

    def follow(self, alert: Alert) -> Followed:
        """Open the issue of an alert that goes on, or bring it up to date."""
        ours = self._ours()
        marked = notice.marker(self.report, alert)
        known = self._known(ours, marked)
        if known is None:
            return self._open(alert, marked) if marked.notice else Followed(alert.id, "left closed")
        self._close_others(ours, known)
        due = self._due(known.marker, marked)
        if not known.issue.open and not due:
            return Followed(alert.id, "left closed", known.issue.number, known.issue.url)
        if not known.issue.open and known.marker.id != alert.id:
            return self._open(alert, marked)
        return self._bring_up(known, alert, marked, due=due)

    def end(self) -> tuple[Followed, ...]:
        """Close the issues of alerts that do not go on; none where there is nothing to look at."""
        if not self.report.windows:
            return ()
        going = [notice.marker(self.report, alert) for alert in wanted(self.report)]
        ids, keys = {each.id for each in going}, {each.key for each in going}
        ended = [
            each
            for each in self._ours()
            if each.issue.open and each.marker.notice and each.marker.id not in ids and each.marker.key not in keys
        ]
        return tuple(map(self._end, ended))

    def propose(self, alert: Alert, issue: int | None, open_: Callable[[], tuple[What, str, str]]) -> Followed | None:
        """Have a rollback proposed, once for a cause: its issue has a comment that says so. None where that is done.

        `open_` opens the pull request, or finds the one that is open, and says what became of it, in words and with its
        address, if there is one.
        """
        if issue is not None and self._has_said(issue, self._proposed(alert, "", "")):
            return None
        if issue is None or not self.write:
            return Followed(alert.id, "rollback proposed", issue)
        what, words, url = open_()
        self.forge.create_issue_comment(issue, self._proposed(alert, words, url))
        return Followed(alert.id, what, issue)

    def say_proposed(self, alert: Alert, issue: int | None, words: str, url: str) -> None:
        """Say on the issue of an alert, once for a cause, that what follows is proposed, and where."""
        self.say(issue, self._proposed(alert, words, url))

    def say(self, issue: int | None, body: str) -> None:
        """Comment on an issue, unless we have said what the first line says."""
        if issue is not None and self.write and not self._has_said(issue, body):
            self.forge.create_issue_comment(issue, body)

    def _proposed(self, alert: Alert, words: str, url: str) -> str:
        return notice.proposed(notice.marker(self.report, alert), alert.then, words, url)

    def _ours(self) -> list[Ours]:
        me, own = self.forge.me(), notice.scope(self.report)
        written = [issue for issue in self.forge.issues(self.report.watched.since) if issue.author == me]
        marked = [(issue, notice.read(issue.body)) for issue in written]
        return [Ours(issue, marker) for issue, marker in marked if marker is not None and marker.scope == own]

    def _known(self, ours: Sequence[Ours], marked: Marker) -> Ours | None:
        """Return the issue of an alert: by its id, the first; else the last of the same cause."""
        same = [each for each in ours if each.marker.id == marked.id]
        if same:
            return min(same, key=lambda each: (not each.issue.open, each.issue.number))
        alike = [each for each in ours if each.marker.key == marked.key]
        return max(alike, key=lambda each: (each.issue.open, each.issue.number), default=None)

    def _due(self, known: Marker, marked: Marker) -> bool:
        """Tell whether somebody is to be told again: it is worse, or the cooldown is over."""
        if marked.notice is None:
            return False
        if known.notice is None:  # it had ended
            return True
        apart = marked.notice - known.notice
        return apart > timedelta(0) and (apart >= self.report.monitoring.cooldown or marked.level > known.level)

    def _open(self, alert: Alert, marked: Marker) -> Followed:
        if not self.write:
            return Followed(alert.id, "opened")
        title, body = notice.title(self.report, alert), notice.body(self.report, alert, marked, self.page)
        issue = self.forge.create_issue(title, body)
        ours = self._ours()  # another run may have opened one at the same time
        known = self._known(ours, marked) or Ours(issue, marked)
        self._close_others(ours, known)
        return Followed(alert.id, "opened", known.issue.number, known.issue.url)

    def _close_others(self, ours: Sequence[Ours], known: Ours) -> None:
        """Close what was opened twice of an alert."""
        for each in ours:
            if each.marker.id == known.marker.id and each.issue.open and each.issue.number != known.issue.number:
                said = f"The same alert as #{known.issue.number}.\n"
                if self.write:
                    self.forge.update_issue(each.issue.number, each.issue.title, said, is_open=False)

    def _bring_up(self, known: Ours, alert: Alert, marked: Marker, *, due: bool) -> Followed:
        kept = marked if due else replace(marked, notice=known.marker.notice, level=known.marker.level)
        title, body = notice.title(self.report, alert), notice.body(self.report, alert, kept, self.page)
        issue = known.issue
        same = issue.open and issue.title == title and plain(issue.body) == plain(body)
        if due:
            self.say(issue.number, notice.again(alert, kept))
        if self.write and not same:
            self.forge.update_issue(issue.number, title, body, is_open=True)
        what: What = "told again" if due else "unchanged" if same else "updated"
        return Followed(alert.id, what, issue.number, issue.url)

    def _end(self, ours: Ours) -> Followed:
        issue = ours.issue
        if self.write:
            self.say(issue.number, notice.quiet(self.report, ours.marker))
            body = issue.body.replace(str(ours.marker), str(replace(ours.marker, notice=None)), 1)
            self.forge.update_issue(issue.number, issue.title, body, is_open=False)
        return Followed(ours.marker.id, "closed", issue.number, issue.url)

    def _has_said(self, issue: int, body: str) -> bool:
        """Tell whether we have commented so: the first line says on what."""
        mark, me = body.partition("\n")[0], self.forge.me()
        return any(each.author == me and each.body.startswith(mark) for each in self.forge.issue_comments(issue))


def wanted(report: Report) -> tuple[Alert, ...]:
    """Return the alerts that go on and that an issue is opened for."""
    return tuple(alert for alert in report.active if alert.then in FOLLOWED)
