"""Scores rows with the candidate beside their answers: a bounded queue, and a thread that answers never wait for."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trunkline.serve.asked import Asked
from trunkline.serve.model import Scored
from trunkline.serve.rollout.arms import Arms
from trunkline.serve.rollout.metrics import RolloutMetrics
from trunkline.serve.rollout.parts import tried

ROWS, BYTES = 10_000, 64 * 1024 * 1024  # that may wait; more are dropped, and counted

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shadowed:
    """Rows of a request that was answered, by their numbers; how many bytes it has, and when that was."""

    arms: Arms
    asked: Asked
    numbers: Sequence[int]
    size: int
    at: float
    request: str
    route: str
    principal: str | None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.numbers)


class Shadow:
    """The requests of a worker that a candidate is to score; `log` is given what came of each."""

    def __init__(self, metrics: RolloutMetrics, log: Callable[[Shadowed, Scored], None]) -> None:
        self._metrics, self._log_part = metrics, log
        self._queue: deque[Shadowed] = deque()
        self._rows, self._size = 0, 0  # that wait
        self._changed = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def offer(self, shadowed: Shadowed) -> None:
        """Have the candidate score a request's rows, or drop and count them where too many wait already."""
        with self._changed:
            if self._stopping or self._rows + shadowed.rows > ROWS or self._size + shadowed.size > BYTES:
                self._metrics.dropped.inc(shadowed.rows)
                return
            self._rows, self._size = self._rows + shadowed.rows, self._size + shadowed.size
            self._queue.append(shadowed)
            self._changed.notify()
        if self._thread is None:  # most servers never need one
            self._thread = threading.Thread(target=self._follow, name="shadow", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Score no more; what waits is dropped and counted."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread:
            self._thread.join(1.0)

    def _follow(self) -> None:
        while shadowed := self._next():
            try:
                self._score(shadowed)
            except Exception:  # whatever it is, others are scored
                self._metrics.dropped.inc(shadowed.rows)
                _log.exception("request %s: cannot be scored by the candidate", shadowed.request)

    def _next(self) -> Shadowed | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopping)
            if self._stopping:
                self._metrics.dropped.inc(self._rows)
                return None
            shadowed = self._queue.popleft()
            self._rows, self._size = self._rows - shadowed.rows, self._size - shadowed.size
            return shadowed

    def _score(self, shadowed: Shadowed) -> None:
        arms, asked = shadowed.arms, shadowed.asked
        given = set(shadowed.numbers)
        if numbers := [number for number in arms.shadowed(asked, shadowed.request) if number in given]:
            part = tried(arms.candidate, asked, numbers).logged("shadow", asked.own_id, shadowed.at)
            self._metrics.count([part])
            self._log_part(shadowed, part)
