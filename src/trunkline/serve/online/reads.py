"""Reads a store once for all requests that wait: those of one turn of the event loop, or that came while it was read.

So a store beyond this machine is asked by one thread, and all else is done in the loop: threads that compute beside
each other would only wait for each other.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from trunkline.serve.online.store.protocol import Contents

_Waiting = tuple[Collection[bytes], "asyncio.Future[Contents]"]


class Reads:
    """Calls `get` of a store; `afar`, in a thread of its own."""

    def __init__(self, get: Callable[[Collection[bytes]], Contents], *, afar: bool) -> None:
        self._get = get
        self._thread = ThreadPoolExecutor(1, "store") if afar else None
        self._waiting: list[_Waiting] = []
        self._reading = False

    async def get(self, keys: Collection[bytes]) -> Contents:
        """Return what the store has under some keys, and perhaps others; raises what the store raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Contents] = loop.create_future()
        self._waiting.append((keys, answer))
        if not self._reading:
            self._reading = True
            loop.call_soon(self._read, loop)
        return await answer

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting, self._waiting = self._waiting, []
        keys = set().union(*(keys for keys, answer in waiting if not answer.done()))
        if self._thread is not None:
            reading = loop.run_in_executor(self._thread, self._get, keys)
            reading.add_done_callback(partial(self._settle, loop, waiting))
            return
        result: asyncio.Future[Contents] = loop.create_future()
        try:
            result.set_result(self._get(keys))
        except Exception as error:
            result.set_exception(error)
        self._settle(loop, waiting, result)

    def _settle(
        self, loop: asyncio.AbstractEventLoop, waiting: Sequence[_Waiting], result: "asyncio.Future[Contents]"
    ) -> None:
        """Give all that waited what was read, or what went wrong, and read for those that came meanwhile."""
        error = result.exception()
        for _, answer in waiting:
            if answer.done():  # its client went away, or its time is over
                continue
            if error is None:
                answer.set_result(result.result())
            else:
                answer.set_exception(error)
        if self._waiting:
            loop.call_soon(self._read, loop)
        else:
            self._reading = False
