"""Where a version ran, and when."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import get_args

from trunkline.conf.registry import LATEST, Desired, Kind
from trunkline.conf.versions import Version
from trunkline.deploy.history import DeclaredChange
from trunkline.lineage.chain import How, Stay
from trunkline.release.releases import Dated


def stays(declarations: Iterable[DeclaredChange], releases: Iterable[Dated]) -> tuple[Stay, ...]:
    """Return every version that an environment was declared to run, or to try, and when; oldest first."""
    events: list[tuple[datetime, int, Dated | DeclaredChange]] = [
        (moment(release.date), 0, release) for release in releases
    ]
    events += [(moment(change.date), 1, change) for change in reversed(tuple(declarations))]
    course = _Timeline()
    for _, _, event in sorted(events, key=lambda event: event[:2]):
        course.take(event)
    return tuple(sorted((*course.past, *course.now.values()), key=lambda stay: moment(stay.since)))


def moment(date: str) -> datetime:
    """Return the moment of a date of git's, ISO 8601 with its zone."""
    return datetime.fromisoformat(date)


class _Timeline:
    """What each environment is to run while time goes on."""

    def __init__(self) -> None:
        self.newest: Version | None = None
        self.desired: dict[str, DeclaredChange] = {}
        self.now: dict[tuple[str, str], Stay] = {}  # by environment and arm: current, shadow or canary
        self.past: list[Stay] = []

    def take(self, event: Dated | DeclaredChange) -> None:
        if isinstance(event, DeclaredChange):
            self._declare(event)
            return
        self.newest = max(filter(None, (self.newest, event.version)))
        for name, change in self.desired.items():
            if change.after.version == LATEST:
                self._go((name, "current"), self._label(LATEST), "latest", event.date, None)

    def _declare(self, change: DeclaredChange) -> None:
        name, desired, candidate = change.environment, change.after.version, change.after.candidate
        self.desired[name] = change
        how: How = "latest" if desired == LATEST else "declared"
        self._go((name, "current"), self._label(desired), how, change.date, change)
        for kind in get_args(Kind):
            label = self._label(candidate.version) if candidate and candidate.kind == kind else None
            self._go((name, kind), label, kind, change.date, change)

    def _label(self, desired: Desired) -> str | None:
        return f"v{desired}" if isinstance(desired, int) else self.newest.label if desired and self.newest else None

    def _go(self, place: tuple[str, str], label: str | None, how: How, date: str, cause: DeclaredChange | None) -> None:
        old = self.now.get(place)
        if old and old.version == label:
            return
        if old:
            self.past.append(replace(self.now.pop(place), until=date))
        if label:
            commit, reference = (cause.commit, cause.pull_request) if cause else (None, None)
            self.now[place] = Stay(place[0], label, date, None, how, commit, reference)
