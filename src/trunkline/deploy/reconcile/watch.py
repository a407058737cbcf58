"""Reconciles again and again, reports what changed since the last time, and keeps the gauges."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trunkline.core.errors import TrunklineError, explain
from trunkline.deploy.reconcile.once import Round
from trunkline.deploy.reconcile.state import Outcome

if TYPE_CHECKING:
    from trunkline.deploy.reconcile.gauges import Gauges  # needs an extra


Tell = Callable[[str], object]


@dataclass(frozen=True)
class Attempt:
    """How a comparison ended: a round, or the error that kept it from being one; and how many seconds it took."""

    round: Round | None
    error: TrunklineError | None
    seconds: float

    @property
    def code(self) -> int:
        """The exit code that it means."""
        return self.error.exit_code if self.error else self.round.code if self.round else 0

    def lines(self) -> tuple[str, ...]:
        """Return it for people, one line per environment."""
        if self.round is None:
            return (f"error: {self.error}",)
        return tuple(map(_line, self.round.outcomes))


def _line(outcome: Outcome) -> str:
    version = f" is {outcome.version}" if outcome.declared != outcome.version else ""
    reasons = "".join(f"; {reason}" for reason in outcome.why)
    return f"{outcome.environment}: {outcome.state}: {outcome.declared}{version}{reasons}"


def attempt(compare: Callable[[], Round]) -> Attempt:
    """Compare once; an error that can be explained is an answer, a bug is raised."""
    began = time.monotonic()
    try:
        return Attempt(compare(), None, time.monotonic() - began)
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        return Attempt(None, explained, time.monotonic() - began)


def watch(compare: Callable[[], Round], seconds: float, tell: Tell, keep: Callable[[Attempt], object]) -> None:
    """Compare every so many seconds, until the process is interrupted; `keep` is given every attempt.

    A round that takes longer than the interval is followed by the next at once.
    """
    shown: tuple[str, ...] = ()
    while True:
        attempted = attempt(compare)
        keep(attempted)
        lines = attempted.lines()
        for line in lines:
            if line not in shown:
                tell(line)
        shown = lines
        time.sleep(max(0.0, seconds - attempted.seconds))


def gauged(gauges: "Gauges | None", path: Path | None) -> Callable[[Attempt], None]:
    """Return a function that updates the gauges with an attempt, and writes them to a file if one is given."""

    def keep(attempted: Attempt) -> None:
        if gauges is None:
            return
        outcomes = attempted.round.outcomes if attempted.round else ()
        kinds = [type(action).__name__.lower() for action in (attempted.round.applied if attempted.round else ())]
        gauges.tell(outcomes, kinds, attempted.code, attempted.seconds, time.time())
        if path:
            gauges.write(path)

    return keep
