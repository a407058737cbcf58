"""Scores rows with the candidate beside their answers: a bounded queue, and a thread that answers never wait for."""

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trunkline.serve.asked import Asked
from trunkline.serve.model import Scored
from trunkline.serve.rollout.arms import Arms
from trunkline.serve.rollout.metrics import RolloutMetrics
from trunkline.serve.rollout.parts import tried

_PAUSE = 0.02  # seconds between two looks at the queue
_LAST = 1.0  # seconds that what is being scored may take at the end
_GIVES_WAY = 10  # of the priority: answers come first
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


@dataclass
class _Amount:
    """How many rows and bytes there were so far."""

    rows: int = 0
    size: int = 0

    def add(self, shadowed: Shadowed) -> None:
        self.rows += shadowed.rows
        self.size += shadowed.size


class Shadow:
    """The requests of a worker that a candidate is to score; `log` is given what came of each.

    `offer` is for the event loop, which takes no lock and wakes nobody; all else is done by a thread.
    """

    def __init__(self, metrics: RolloutMetrics, log: Callable[[Shadowed, Scored], None]) -> None:
        self._metrics, self._log_part = metrics, log
        self._queue: deque[Shadowed] = deque()
        self._offered, self._taken = _Amount(), _Amount()  # each is counted by one thread alone
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def offer(self, shadowed: Shadowed) -> None:
        """Have the candidate score a request's rows, or drop and count them where too many wait already."""
        rows = self._offered.rows - self._taken.rows
        size = self._offered.size - self._taken.size
        full = rows + shadowed.rows > ROWS or size + shadowed.size > BYTES
        if self._stop.is_set() or (full and rows):  # one request alone may be larger
            self._metrics.dropped.inc(shadowed.rows)
            return
        self._offered.add(shadowed)
        self._queue.append(shadowed)
        if self._thread is None:  # most servers never need one
            self._thread = threading.Thread(target=self._follow, name="shadow", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Score no more; what waits is dropped and counted."""
        self._stop.set()
        if self._thread:
            self._thread.join(_LAST)
        self._metrics.dropped.inc(self._offered.rows - self._taken.rows)

    def _follow(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _GIVES_WAY)
        while not self._stop.wait(_PAUSE):
            while self._queue and not self._stop.is_set():
                shadowed = self._queue.popleft()
                self._taken.add(shadowed)
                self._try(shadowed)

    def _try(self, shadowed: Shadowed) -> None:
        try:
            self._score(shadowed)
        except Exception:  # whatever it is, others are scored
            self._metrics.dropped.inc(shadowed.rows)
            _log.exception("request %s: cannot be scored by the candidate", shadowed.request)

    def _score(self, shadowed: Shadowed) -> None:
        arms, asked = shadowed.arms, shadowed.asked
        given = set(shadowed.numbers)
        if numbers := [number for number in arms.shadowed(asked, shadowed.request) if number in given]:
            part = tried(arms.candidate, asked, numbers).logged("shadow", asked.own_id, shadowed.at)
            self._metrics.count([part])
            self._log_part(shadowed, part)
