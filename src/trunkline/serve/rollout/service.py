"""What every protocol answers with while a rollout runs, and the log, the metrics and the shadow of these answers."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from trunkline.serve.asked import Answered, Asked
from trunkline.serve.model import Scored
from trunkline.serve.rollout.answers import Work, answer
from trunkline.serve.rollout.arms import Arms
from trunkline.serve.rollout.metrics import RolloutMetrics
from trunkline.serve.rollout.shadow import Shadow, Shadowed

_Response = TypeVar("_Response")
Append = Callable[[Scored, str, str, str | None, float | None], None]  # as PredictionLog.append


@dataclass(frozen=True)
class Origin:
    """A request: its id, what was called, who asks, and since when, by the monotonic clock."""

    request: str
    route: str
    principal: str | None
    start: float


class Rolling:
    """Answers the requests of a worker while a rollout runs; `count` counts what is answered, as without one."""

    def __init__(self, metrics: RolloutMetrics, count: Callable[[Scored], None]) -> None:
        self.append: Append | None = None
        self._metrics, self._count = metrics, count
        self._shadow = Shadow(metrics, self._append_shadow)

    async def respond(
        self, arms: Arms, asked: Asked, work: Work, origin: Origin, respond: Callable[[Answered], _Response]
    ) -> _Response:
        """Return the response to a request; raises ProblemError as `answers.answer`, and what it failed with."""
        outcome = await answer(arms, asked, work)
        response = await work.run(partial(respond, outcome.answered), waits=False) if outcome.answered else None
        self._account(outcome.parts, origin)
        if arms.declared.kind == "shadow":
            # The candidate is to score the rows that the log says something of.
            numbers = [number for part in outcome.parts for number in (*part.numbers, *part.problems)]
            of = origin.request, origin.route, origin.principal
            self._shadow.offer(Shadowed(arms, asked, numbers, work.size, time.time(), *of))
        if response is None:
            raise outcome.error or AssertionError
        return response

    def stop(self) -> None:
        """Have the candidate score no more beside the answers."""
        self._shadow.stop()

    def _account(self, parts: Sequence[Scored], origin: Origin) -> None:
        self._metrics.count(parts)
        for part in parts:
            self._count(part)
            if self.append and part.logged:
                self.append(part, origin.request, origin.route, origin.principal, time.monotonic() - origin.start)

    def _append_shadow(self, shadowed: Shadowed, part: Scored) -> None:
        if self.append and part.logged:
            self.append(part, shadowed.request, shadowed.route, shadowed.principal, None)
