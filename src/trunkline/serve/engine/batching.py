"""Scores together what waits together: for scorers that take nearly as long for one row as for many.

An idle scorer takes what is there, and what comes meanwhile waits for its next call. Clients that were answered
together ask again together: so where fewer wait than were scored last, those that are missing are waited for, a
fraction of the time that a call takes.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from trunkline.core.arrays import Floats
from trunkline.serve.engine.masks import Texts
from trunkline.serve.threads import Daemons

PATIENCE = 0.1  # of the last call's time, that requests are waited for

Scores = Callable[[Floats, Texts], Floats]


@dataclass(frozen=True)
class _Request:
    numeric: Floats
    texts: Texts
    scores: "Future[Floats]" = field(default_factory=Future)


class Batches:
    """Calls a scorer in one thread, with the rows of all requests that wait, up to `most` rows at once."""

    def __init__(self, scores: Scores, most: int) -> None:
        self._scores, self._most = _contained(scores), most
        self._waiting: deque[_Request] = deque()
        self._thread = Daemons(1, "batches")
        self._last = (0, 0.0)  # requests of the last call, and its seconds

    def scores(self, numeric: Floats, texts: Texts) -> Floats:
        """Return the scores of rows, as soon as they are there; raises what the scorer raises for these rows."""
        return self._asked(numeric, texts).result()

    async def scores_in_turn(self, numeric: Floats, texts: Texts) -> Floats:
        """Return what `scores` does, while the event loop goes on."""
        return await asyncio.wrap_future(self._asked(numeric, texts))

    def _asked(self, numeric: Floats, texts: Texts) -> "Future[Floats]":
        request = _Request(numeric, texts)
        self._waiting.append(request)
        self._thread.submit(self._next)
        return request.scores

    def _next(self) -> None:
        """Score what waits; as often as there are requests, so that none is left."""
        requests, seconds = self._last
        if 0 < len(self._waiting) < requests:
            time.sleep(PATIENCE * seconds)
        start = time.perf_counter()
        batch = self._taken()
        if not batch:
            return
        try:
            numeric = np.concatenate([request.numeric for request in batch])
            texts = np.concatenate([request.texts for request in batch])
            parts = np.split(self._scores(numeric, texts), np.cumsum([len(request.texts) for request in batch])[:-1])
            for request, part in zip(batch, parts, strict=True):
                request.scores.set_result(part)
        except Exception as error:  # whatever the scorer raises is the answer to the request that it is raised for
            self._alone(batch, error)
        self._last = len(batch), time.perf_counter() - start

    def _taken(self) -> list[_Request]:
        """Return the requests of the next call, without those that nobody waits for any more."""
        batch: list[_Request] = []
        rows = 0
        while self._waiting and (not batch or rows + len(self._waiting[0].texts) <= self._most):
            request = self._waiting.popleft()
            if request.scores.set_running_or_notify_cancel():
                batch.append(request)
                rows += len(request.texts)
        return batch

    def _alone(self, batch: list[_Request], error: Exception) -> None:
        """Score requests one by one, after they failed together."""
        if len(batch) == 1:
            batch[0].scores.set_exception(error)
            return
        for request in batch:
            try:
                request.scores.set_result(self._scores(request.numeric, request.texts))
            except Exception as of_its_own:
                request.scores.set_exception(of_its_own)


def _contained(scores: Scores) -> Scores:
    """Return a scorer of which nothing ends the thread that others wait for, or the process: not even SystemExit."""

    def contained(numeric: Floats, texts: Texts) -> Floats:
        try:
            return scores(numeric, texts)
        except Exception:
            raise
        except BaseException as error:
            raise RuntimeError(f"the scorer raised {type(error).__name__}") from error

    return contained
