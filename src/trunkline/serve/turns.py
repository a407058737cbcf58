"""Scores together what arrives together: the requests that one turn of the event loop has read.

A call of a graph takes nearly as long for one row as for sixteen. No request waits for others to come: those of which
the loop has read the bodies are scored before it looks for more.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import chain

from trunkline.core.arrays import Floats
from trunkline.serve.decode import Rows
from trunkline.serve.engine.masks import Texts

Timed = tuple[Floats, float | None]  # scores, and how many seconds of its thread a call took, if that is known

_ALONE = 16
_Waiting = tuple[Rows, "asyncio.Future[Timed]"]


class Turns:
    """Calls a scorer, in the loop's own thread, once for all requests of a turn."""

    def __init__(self, scores: Callable[[Floats, Texts], Floats]) -> None:
        self._scores = scores
        self._waiting: list[_Waiting] = []
        self._asked = 0  # how often a call is to be timed

    async def scores(self, rows: Rows) -> Floats:
        """Return the scores of rows; raises what the scorer raises for these rows."""
        return (await self._in_turn(rows))[0]

    async def timed(self, rows: Rows) -> Timed:
        """Return the scores of rows, and the seconds of the call, where it scored nothing else; raises as `scores`.

        One request of sixteen is scored by itself, so that some are timed however many come together.
        """
        self._asked += 1
        return self._alone(rows) if self._asked % _ALONE == 0 else await self._in_turn(rows)

    def _alone(self, rows: Rows) -> Timed:
        start = time.thread_time()
        scores = self._scores(*rows.matrices)
        return scores, time.thread_time() - start

    async def _in_turn(self, rows: Rows) -> Timed:
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._score)
        scores: asyncio.Future[Timed] = loop.create_future()
        self._waiting.append((rows, scores))
        return await scores

    def _score(self) -> None:
        """Score what waits: together, or if that fails, each request by itself."""
        waiting, self._waiting = self._waiting, []
        try:
            self._answer(waiting)
        except Exception:  # of whichever request it is: those beside it are answered all the same
            for rows, scores in waiting:
                try:
                    self._answer([(rows, scores)])
                except Exception as error:
                    if not scores.done():
                        scores.set_exception(error)

    def _answer(self, waiting: Sequence[_Waiting]) -> None:
        if len(waiting) == 1:
            ((alone, of_one),) = waiting
            scored = self._alone(alone)
            if not of_one.done():
                of_one.set_result(scored)
            return
        rows = Rows(list(chain.from_iterable(each.values for each, _ in waiting)), waiting[0][0].widths)
        scores = self._scores(*rows.matrices)
        start = 0
        for each, future in waiting:
            end = start + len(each.values)
            if not future.done():  # it is, where the client went away
                future.set_result((scores[start:end], None))
            start = end
