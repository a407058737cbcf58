"""All that a dashboard shows, as others have said it: trunkline status, rollout, monitor and audit."""

from dataclasses import dataclass
from datetime import datetime

from trunkline.deploy.reconcile.status import Standing
from trunkline.monitor.report import Report


@dataclass(frozen=True)
class Failed:
    """Why a part could not be read, in one line."""

    reason: str


@dataclass(frozen=True)
class RolloutAnswer:
    """What the log says of a rollout: hold, step up, finish, go back or `?`, and the first reason."""

    answer: str
    reason: str


@dataclass(frozen=True)
class Environment:
    """An environment: where it stands, what becomes of its rollout, and what the monitor says of its version.

    No `rollout`: none runs. No `watched`: it runs no version.
    """

    standing: Standing
    rollout: RolloutAnswer | None = None
    watched: Report | Failed | None = None


@dataclass(frozen=True)
class Change:
    """A release, or what an environment was to run before and after; times are UTC.

    `approved` is None where nobody could say who did; `url` of the pull request is known where the forge was asked.
    `how` says by which way it came and who signed; `broken`: an audit names its commit.
    """

    when: datetime
    kind: str
    environments: tuple[str, ...]
    before: str
    after: str
    asked: str
    approved: tuple[str, ...] | None
    pull_request: str | None
    url: str | None
    how: str
    broken: bool


@dataclass(frozen=True)
class Changes:
    """What changed since a moment (UTC), newest first; what should not have; and what could not be known."""

    since: datetime
    events: tuple[Change, ...]
    violations: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dashboard:
    """What was read of a trunk's model at a moment (UTC); `name` is the model's, or the folder's where it failed."""

    name: str
    trunk: str
    as_of: datetime
    environments: tuple[Environment, ...] | Failed
    changes: Changes | Failed
