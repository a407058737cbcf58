"""How often a principal may ask: the generic cell rate algorithm, which keeps one number for each principal."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus

from trunkline.serve.problems import ProblemError


class RateLimit:
    """Lets a principal ask so many times a second, and as many at once."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval, self._burst, self._clock = 1 / rate, max(rate, 1.0), clock
        self._due: OrderedDict[str, float] = OrderedDict()  # when a principal will have used up nothing again

    def enter(self, principal: str) -> None:
        """Count a request; raises ProblemError, 429 with Retry-After, for one too many."""
        now = self._clock()
        due = max(self._due.get(principal, now), now) + self._interval
        wait = due - now - self._interval * self._burst
        if wait > 1e-9:
            detail = "this principal asks more often than it may"
            raise ProblemError(HTTPStatus.TOO_MANY_REQUESTS, detail, {"retry-after": str(math.ceil(wait))})
        self._due[principal] = due
        self._due.move_to_end(principal)
        while next(iter(self._due.values())) <= now:  # it has used up nothing, and is as good as unknown
            self._due.popitem(last=False)
