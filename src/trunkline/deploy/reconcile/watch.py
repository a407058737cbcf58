"""Reconciles again and again, tells what changed since the last time, and keeps the gauges."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trunkline.core.errors import TrunklineError, explain
from trunkline.deploy.reconcile.once import Round

if TYPE_CHECKING:
    from trunkline.deploy.reconcile.gauges import Gauges  # needs an extra


Tell = Callable[[str], object]


@dataclass(frozen=True)
class Attempt:
    """How a comparison ended: a round, or the error that kept it from being one; and its seconds."""

    found: Round | TrunklineError
    seconds: float

    @property
    def code(self) -> int:
        """The exit code that it means."""
        return self.found.code if isinstance(self.found, Round) else self.found.exit_code

    def lines(self) -> tuple[str, ...]:
        """Return what a person is told of it, one line per environment."""
        if not isinstance(self.found, Round):
            return (f"error: {self.found}",)
        return tuple(
            f"{one.environment}: {one.state}: {one.declared}{f' is {one.version}' * (one.declared != one.version)}"
            f"{''.join(f'; {why}' for why in one.why)}"
            for one in self.found.outcomes
        )


def attempt(compare: Callable[[], Round]) -> Attempt:
    """Compare once; an error that is known is an answer, another one is raised."""
    began = time.monotonic()
    try:
        found: Round | TrunklineError = compare()
    except Exception as error:  # whatever it is: one that is known is an answer, a bug is raised
        known = explain(error)
        if known is None:
            raise
        found = known
    return Attempt(found, time.monotonic() - began)


def watch(compare: Callable[[], Round], seconds: float, tell: Tell, keep: Callable[[Attempt], object]) -> None:
    """Compare every so many seconds, until the process is interrupted; `keep` is given every attempt.

    A round that takes longer than the interval is followed by the next at once.
    """
    told: tuple[str, ...] = ()
    while True:
        found = attempt(compare)
        keep(found)
        lines = found.lines()
        for line in lines:
            if line not in told:
                tell(line)
        told = lines
        time.sleep(max(0.0, seconds - found.seconds))


def gauged(gauges: "Gauges | None", path: Path | None) -> Callable[[Attempt], None]:
    """Return what tells the gauges of an attempt, and writes them to a file, if there is one."""

    def keep(found: Attempt) -> None:
        if gauges is None:
            return
        outcomes = found.found.outcomes if isinstance(found.found, Round) else ()
        applied = found.found.applied if isinstance(found.found, Round) else ()
        kinds = [type(action).__name__.lower() for action in applied]
        gauges.tell(outcomes, kinds, found.code, found.seconds, time.time())
        if path:
            gauges.write(path)

    return keep
