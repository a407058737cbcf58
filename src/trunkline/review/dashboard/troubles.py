"""What of a dashboard is not in order: what its first line says."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from trunkline.monitor.judge import BEYOND, WITHIN
from trunkline.monitor.report import Report, sentence
from trunkline.review.dashboard.data import Dashboard, Environment, Failed

# bad: somebody has to act. warn: somebody should look, or it is on its way. unknown: nobody could say.
Level = Literal["bad", "warn", "unknown"]
_LEVELS: tuple[Level, ...] = ("bad", "warn", "unknown")


@dataclass(frozen=True)
class Trouble:
    """Something that is not in order, or not known, and where: the name of an environment, or a part of the page."""

    level: Level
    where: str
    text: str


def troubles(dashboard: Dashboard) -> tuple[Trouble, ...]:
    """Return what is not in order, the worst first; of equals, in the order of the page."""
    return tuple(sorted(_all(dashboard), key=lambda each: _LEVELS.index(each.level)))


def _all(dashboard: Dashboard) -> Iterator[Trouble]:
    if isinstance(dashboard.environments, Failed):
        yield Trouble("unknown", "environments", f"what runs is not known: {dashboard.environments.reason}")
    else:
        for environment in dashboard.environments:
            yield from _of(environment)
    if isinstance(dashboard.changes, Failed):
        yield Trouble("unknown", "changes", f"what changed is not known: {dashboard.changes.reason}")
    else:
        for text in dashboard.changes.violations:
            yield Trouble("bad", "changes", f"should not have been: {text}")


def _of(environment: Environment) -> Iterator[Trouble]:
    outcome = environment.standing.outcome
    if outcome.state != "in-sync":
        reason = outcome.why[0] if outcome.why else f"{outcome.version} is declared, {outcome.actual} is delivered"
        yield Trouble("bad" if outcome.state == "degraded" else "warn", outcome.environment, f"not in sync: {reason}")
    rollout = environment.rollout
    if rollout is not None and rollout.answer in ("go back", "?"):
        level: Level = "unknown" if rollout.answer == "?" else "bad"
        yield Trouble(level, outcome.environment, f"rollout: {rollout.answer}: {rollout.reason}")
    yield from _of_model(environment)


def _of_model(environment: Environment) -> Iterator[Trouble]:
    watched, name = environment.watched, environment.standing.outcome.environment
    if watched is None:
        return
    if isinstance(watched, Failed):
        yield Trouble("unknown", name, f"its health is not known: {watched.reason}")
        return
    for alert in watched.active:
        yield Trouble("bad" if alert.severity == "critical" else "warn", name, sentence(alert))
    why = unjudged(watched)
    if why:
        yield Trouble("unknown", name, f"its health is not known: {why}")


def judged(watched: Report) -> int:
    """Return how many rules could be judged in their last window."""
    return sum(each.verdict in (BEYOND, WITHIN) for each in watched.standings)


def unjudged(watched: Report) -> str | None:
    """Return why quiet does not mean healthy: no rule could be judged; None where it does."""
    return None if watched.active or judged(watched) else "no rule can be judged yet"
