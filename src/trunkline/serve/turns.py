"""Scores together what arrives together: the requests that one turn of the event loop has read.

A call of a graph takes nearly as long for one row as for sixteen. No request waits for others to come: those of which
the loop has read the bodies are scored before it looks for more.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import chain

from trunkline.core.arrays import Floats
from trunkline.serve.decode import Rows
from trunkline.serve.engine.masks import Texts

_Waiting = tuple[Rows, "asyncio.Future[Floats]"]


class Turns:
    """Calls a scorer, in the loop's own thread, once for all requests of a turn."""

    def __init__(self, scores: Callable[[Floats, Texts], Floats]) -> None:
        self._scores = scores
        self._waiting: list[_Waiting] = []

    async def scores(self, rows: Rows) -> Floats:
        """Return the scores of rows; raises what the scorer raises for these rows."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._score)
        scores: asyncio.Future[Floats] = loop.create_future()
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
        rows = Rows(list(chain.from_iterable(each.values for each, _ in waiting)), waiting[0][0].widths)
        scores = self._scores(*rows.matrices)
        start = 0
        for each, future in waiting:
            end = start + len(each.values)
            if not future.done():  # it is, where the client went away
                future.set_result(scores[start:end])
            start = end
