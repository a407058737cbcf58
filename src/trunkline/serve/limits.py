"""How much is done at once, and until when: a bounded queue, and the time that a client gives a request."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from typing import TypeVar

from trunkline.serve.problems import ProblemError
from trunkline.serve.threads import Daemons

TIMEOUT = "request-timeout"  # a client's header: the seconds after which it needs no answer any more
SMALL = 16 * 1024  # bytes of a body that is read and scored at once; a larger one would make others wait

WAITERS = 256  # requests at most that wait for one batch

_Result = TypeVar("_Result")


def allowed_seconds(header: str | None, most: float) -> float:
    """Return how long a request may take; raises ProblemError for a header that is not a number of seconds."""
    if header is None:
        return most
    try:
        seconds = float(header)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"header {TIMEOUT}: must be a number of seconds above 0")
    return min(seconds, most)


class Queue:
    """The requests that a worker has in work, or that wait for its one thread, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.length = 0
        self._thread = ThreadPoolExecutor(1, "scores")
        self._waiters = ThreadPoolExecutor(min(limit, WAITERS), "waits")
        self._tries = Daemons(min(limit, WAITERS), "tries")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Take a place; raises ProblemError, 503 with Retry-After, where none is left."""
        if self.length >= self._limit:
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests wait already", {"retry-after": "1"})
        self.length += 1
        try:
            yield
        finally:
            self.length -= 1

    async def run(self, work: Callable[[], _Result], size: float, deadline: float, *, waits: bool = False) -> _Result:
        """Return what `work` returns of a body of a size, before the deadline, which is of the monotonic clock.

        Work that waits for another thread has a thread of its own, so that others can wait beside it.

        Raises ProblemError, 504, where it is later.
        """
        if size <= SMALL and not waits:
            result = work()
        else:
            threads = self._waiters if waits else self._thread
            return await before(deadline, asyncio.get_running_loop().run_in_executor(threads, work))
        check_deadline(deadline)
        return result

    async def tried(self, work: Callable[[], _Result], deadline: float) -> _Result:
        """Return what a candidate's work returns, before the deadline, as `run` does, in threads of its own.

        One that hangs keeps its threads, of which what is served must never be short, and which no end waits for.
        """
        return await before(deadline, asyncio.get_running_loop().run_in_executor(self._tries, work))


async def before(deadline: float, result: Awaitable[_Result], *, waits: bool = True) -> _Result:
    """Return a result that is there before a deadline, which is of the monotonic clock.

    One that does not wait for anything is looked at afterwards alone, which costs less. Raises ProblemError, 504,
    where it is later.
    """
    if not waits:
        done = await result
        check_deadline(deadline)
        return done
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await result
    except TimeoutError:
        raise late() from None


def check_deadline(deadline: float) -> None:
    """Raise ProblemError, 504, where it is past a deadline, which is of the monotonic clock."""
    if time.monotonic() > deadline:
        raise late()


def late() -> ProblemError:
    """Return the refusal of a request whose time is over."""
    return ProblemError(HTTPStatus.GATEWAY_TIMEOUT, "the time of the request is over before its answer")
