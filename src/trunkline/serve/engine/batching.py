"""Scores together what waits together: for scorers that take nearly as long for one row as for many.

No request waits for others to come: an idle scorer takes what is there, and what comes meanwhile waits for its next
call.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from trunkline.core.arrays import Floats
from trunkline.serve.engine.masks import Texts

Scores = Callable[[Floats, Texts], Floats]


@dataclass(frozen=True)
class _Request:
    numeric: Floats
    texts: Texts
    scores: "Future[Floats]" = field(default_factory=Future)


class Batches:
    """Calls a scorer in one thread, with the rows of all requests that wait, up to `most` rows at once."""

    def __init__(self, scores: Scores, most: int) -> None:
        self._scores, self._most = scores, most
        self._waiting: deque[_Request] = deque()
        self._thread = ThreadPoolExecutor(1, "batches")

    def scores(self, numeric: Floats, texts: Texts) -> Floats:
        """Return the scores of rows, as soon as they are there; raises what the scorer raises for these rows."""
        request = _Request(numeric, texts)
        self._waiting.append(request)
        self._thread.submit(self._next)
        return request.scores.result()

    def _next(self) -> None:
        """Score what waits; as often as there are requests, so that none is left."""
        batch: list[_Request] = []
        rows = 0
        while self._waiting and (not batch or rows + len(self._waiting[0].texts) <= self._most):
            batch.append(self._waiting.popleft())
            rows += len(batch[-1].texts)
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
