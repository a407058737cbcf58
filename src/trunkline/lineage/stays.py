"""Where a version ran, and when."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Literal

from trunkline.conf.registry import LATEST, Desired
from trunkline.conf.versions import Version
from trunkline.deploy.history import DeclaredChange
from trunkline.lineage.chain import Stay
from trunkline.release.releases import Dated


def stays(declarations: Iterable[DeclaredChange], releases: Iterable[Dated]) -> tuple[Stay, ...]:
    """Return every version that an environment was declared to run and when, oldest first."""
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
        self.now: dict[str, Stay] = {}
        self.past: list[Stay] = []

    def take(self, event: Dated | DeclaredChange) -> None:
        if isinstance(event, DeclaredChange):
            self.desired[event.environment] = event
            self._go(event.environment, event.after, event.date, event)
            return
        self.newest = max(filter(None, (self.newest, event.version)))
        for name, change in self.desired.items():
            if change.after == LATEST:
                self._go(name, LATEST, event.date, None)

    def _go(self, environment: str, desired: Desired, date: str, cause: DeclaredChange | None) -> None:
        label = f"v{desired}" if isinstance(desired, int) else self.newest.label if desired and self.newest else None
        old = self.now.get(environment)
        if old and old.version == label:
            return
        if old:
            self.past.append(replace(self.now.pop(environment), until=date))
        if label:
            how: Literal["declared", "latest"] = "latest" if desired == LATEST else "declared"
            commit, reference = (cause.commit, cause.pull_request) if cause else (None, None)
            self.now[environment] = Stay(environment, label, date, None, how, commit, reference)
