"""How far a run is and how much time is left: on a terminal a bar, elsewhere a line now and then; always on stderr.

It counts and shows, and decides nothing: no result depends on it.
"""

import sys
import time
from collections.abc import Callable, Collection, Iterator
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from trunkline.core import durations

Item = TypeVar("Item")

EVERY = 30.0  # seconds from a line to the next, where nobody watches a terminal
CONSOLE = Console(stderr=True, highlight=False, soft_wrap=True)  # one for all, so that a bar within a bar has its row


class Bar:
    """The progress of one act, counted in `unit`; without a `total` it only shows that time passes.

    A context manager; what it shows on a terminal is gone when it ends.
    """

    def __init__(
        self, what: str, total: float | None = None, unit: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        terminal = sys.stderr.isatty()
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _ProgressColumn(),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=CONSOLE, transient=True, get_time=clock, disable=not terminal)
        self._id = self._progress.add_task(what, total=total, unit=unit, note="")
        self._clock = clock
        self._next_line = float("inf") if terminal else clock() + EVERY

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def advance(self, steps: float = 1) -> None:
        """Count steps that are done."""
        self._progress.advance(self._id, steps)
        self._print_now_and_then()

    def update(self, completed: float, *, total: float | None = None, note: str = "") -> None:
        """Set how much is done, of how much, where that was not known before, and what to say of it."""
        self._progress.update(self._id, completed=completed, total=total, note=note)
        self._print_now_and_then()

    def rename(self, what: str) -> None:
        """Say what is done now."""
        self._progress.update(self._id, description=what)

    def _print_now_and_then(self) -> None:
        if self._clock() >= self._next_line:
            self._next_line = self._clock() + EVERY
            [task] = self._progress.tasks
            CONSOLE.print(f"{task.description}: {in_words(task)}", markup=False)


def track(
    items: Collection[Item], what: str, unit: str = "", size: Callable[[Item], float] = lambda _: 1
) -> Iterator[Item]:
    """Yield items, and show how far that is; `size` is how much of the whole work an item is."""
    with Bar(what, sum(map(size, items)), unit) as bar:
        for item in items:
            yield item
            bar.advance(size(item))


def in_words(task: Task) -> str:
    """Return how far a task is, how long the rest takes at the speed so far, and its note, as far as they are known."""
    done = f"{task.completed:,.0f}" if task.completed or task.total else ""
    of = f" of {task.total:,.0f}" if task.total else ""
    unit = f" {task.fields['unit']}" if done and task.fields["unit"] else ""
    left = ""
    if task.total and task.completed and task.elapsed and not task.finished:
        left = f"about {durations.in_words(task.elapsed / task.completed * (task.total - task.completed))} left"
    return ", ".join(filter(None, (f"{done}{of}{unit}", left, task.fields["note"])))


class _ProgressColumn(ProgressColumn):
    """How far the task is, in words."""

    def render(self, task: Task) -> Text:
        return Text(in_words(task), style="progress.remaining")
