"""`trunkline stream` in a process that is killed, as by kill -9, at a point of its so-many-th batch.

Run as: python -m tests.serve.stream.killed POINT BATCH ARGUMENTS…
"""

import os
import signal
import sys
from typing import Any

from trunkline.cli import main
from trunkline.serve.stream import run

POINTS = ("before the dead letters", "before the answers", "between answers", "before the commit", "after the commit")


class Killed:
    """A channel at which the process dies."""

    def __init__(self, channel: Any, point: str, batch: int) -> None:
        self._channel, self._point, self._left = channel, point, batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def write(self, answers: Any, dead: Any) -> Any:
        self._left -= 1
        self._die_at("before the dead letters")
        self._channel.write([], dead)
        self._die_at("before the answers")
        half = len(answers) // 2
        new = self._channel.write(answers[:half], [])
        self._die_at("between answers")
        return [*new, *self._channel.write(answers[half:], [])]

    def finish(self, messages: Any) -> None:
        self._die_at("before the commit")
        self._channel.finish(messages)
        self._die_at("after the commit")

    def _die_at(self, point: str) -> None:
        if self._left == 0 and point == self._point:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    point, batch = sys.argv[1], int(sys.argv[2])
    opened = run.open_channel
    run.open_channel = lambda *given: Killed(opened(*given), point, batch)  # type: ignore[assignment]
    sys.argv = ["trunkline", "stream", *sys.argv[3:]]
    main()
