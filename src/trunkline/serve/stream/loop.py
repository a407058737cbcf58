"""The loop of a topic: a batch is read, worked on, written, and then done; whatever does not answer is waited for."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import TypeVar

from trunkline.serve.stream.channel import Channel, Open
from trunkline.serve.stream.message import Message, OutageError, Outcome
from trunkline.serve.stream.metrics import TopicMetrics

_Result = TypeVar("_Result")

_FIRST, _LONGEST = 0.1, 5.0  # seconds until something is tried again

_log = logging.getLogger(__name__)


class StoppedError(Exception):
    """It is to stop while something does not answer: what is in work comes again."""


@dataclass(frozen=True)
class Loop:
    """What works on the messages of a topic until `stop` is set; a batch that has begun is finished."""

    topic: str
    open: Open
    handle: Callable[[Sequence[Message]], Outcome]
    metrics: TopicMetrics
    stop: Event

    def run(self) -> None:
        """Work until told to stop. Raises TrunklineError for what waiting does not help against."""
        try:
            with closing(self._patiently(self.open)) as channel:
                _log.info("reads %s", self.topic)
                while not self.stop.is_set():
                    messages = self._patiently(channel.fetch)
                    self.metrics.lag.set(channel.lag)
                    if messages:
                        self._work(channel, messages)
                    self.metrics.success.set_to_current_time()
        except StoppedError:
            _log.warning("%s: stops without an answer of what it waited for; what was in work comes again", self.topic)

    def _work(self, channel: Channel, messages: list[Message]) -> None:
        start = time.monotonic()
        outcome = self._patiently(partial(self.handle, messages))
        new = self._patiently(partial(channel.write, outcome.answers, outcome.dead))
        self._patiently(partial(channel.finish, messages))
        outcome.settle(new)
        self.metrics.count("answered", sum(new))
        self.metrics.count("repeated", len(new) - sum(new))
        self.metrics.count("dead", len(outcome.dead))
        self.metrics.seconds.observe(time.monotonic() - start)

    def _patiently(self, step: Callable[[], _Result]) -> _Result:
        """Return what a step returns, once nothing outside hinders it any more."""
        pause, waited = _FIRST, False
        while True:
            try:
                result = step()
            except OutageError as outage:
                if not waited:
                    _log.error("%s: waits: %s", self.topic, outage)
                    self.metrics.problem.set(1)
                waited = True
                if self.stop.wait(pause):
                    raise StoppedError from None
                pause = min(2 * pause, _LONGEST)
            else:
                if waited:
                    _log.info("%s: goes on", self.topic)
                    self.metrics.problem.set(0)
                return result
