"""How long each stage, and each slow verb, took when it last ran on this machine."""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from trunkline.core import paths

WORTH_SAYING = 5.0  # seconds


def read(root: Path) -> dict[str, float]:
    """Return the seconds of each run that has ended here, by name; what cannot be read is left out."""
    seconds = {}
    for path in sorted((paths.home(root) / paths.DURATIONS).glob("*")):
        try:
            seconds[path.name] = float(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
    return seconds


def write(root: Path, name: str, seconds: float) -> None:
    """Keep how long a run took, for the next one and for `trunkline plan`; where that fails, nobody misses it."""
    folder = paths.home(root) / paths.DURATIONS
    with contextlib.suppress(OSError):
        folder.parent.mkdir(exist_ok=True)  # in a DVC repository only
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"{seconds:.2f}\n", encoding="utf-8")


def in_words(seconds: float) -> str:
    """Return a duration as people say it, in its two largest units: 40 s, 3 min 20 s, 1 h 5 min."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


@contextlib.contextmanager
def measured(root: Path, name: str) -> Iterator[None]:
    """Keep how long what is done inside takes, if it ends well; tell who waits at a terminal how long it last took."""
    seconds = read(root).get(name, 0.0)
    if seconds >= WORTH_SAYING and sys.stderr.isatty():  # elsewhere, what is printed would depend on the machine
        print(f"{name}: took {in_words(seconds)} when it last ran here", file=sys.stderr)  # noqa: T201  light: no library is imported yet
    started = time.perf_counter()
    yield
    write(root, name, time.perf_counter() - started)
