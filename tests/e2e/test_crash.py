"""Killed at any moment, `dvc repro` completes to the bytes of a run that nothing disturbed."""

import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.attempts import LOCK, Attempt, forget, results
from tests.e2e.conftest import Checkout

pytestmark = pytest.mark.long

KILLS = 30


def changed(path: Path) -> Callable[[], bool]:
    """Return a function that tells whether a file is another one than now."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    return lambda: path.exists() and path.stat().st_mtime_ns != before


def moments(attempt: Attempt, chance: random.Random) -> Iterator[tuple[str, Callable[[], object], float]]:
    """Yield kinds of moments: what to wait for, and how many seconds more at most."""
    ended = attempt.root / ".dvc/tmp/trunkline"
    stages = chance.choice((1, 1, 2))
    yield "DVC starts", lambda: True, 3
    yield "a stage runs", lambda: len(re.findall("^Running stage", attempt.printed, re.MULTILINE)) >= stages, 1.5
    yield "DVC commits a stage", changed(ended), 0.5
    yield "DVC writes dvc.lock", changed(attempt.root / LOCK), 0.1


def mend(attempt: Attempt) -> bool:
    """Do what docs/recovery.md says where DVC cannot read a file that it was killed in; False if that is not it."""
    if "RWLock-file" in attempt.printed:
        (attempt.root / ".dvc/tmp/rwlock").unlink()
    elif re.search(r"dvc\.lock.*(validation failed|is invalid|corrupted)", attempt.printed):
        (attempt.root / LOCK).unlink()  # no commit has it here, so there is none to restore
    else:
        return False
    return True


def test_a_run_that_is_killed_again_and_again_completes_to_the_same_bytes(project: Checkout) -> None:
    expected, chance = results(project), random.Random(20130701)
    forget(project)
    kills: Counter[str] = Counter()
    while kills.total() < KILLS:
        attempt = Attempt(project)
        kind, happened, at_most = chance.choice(list(moments(attempt, chance)))
        attempt.until(happened)
        time.sleep(chance.uniform(0, at_most))
        code = attempt.kill()
        assert code in (0, -signal.SIGKILL) or mend(attempt), attempt.printed
        kills.update([kind] if code < 0 else [])
        if code == 0:
            assert results(project) == expected
            forget(project)
    attempt = Attempt(project)
    attempt.until(lambda: False)
    assert attempt.kill() == 0 or mend(attempt), attempt.printed
    project.repro()
    assert len(kills) == 4, kills
    assert results(project) == expected
    assert project.run("git", "status", "--porcelain").split() in ([], ["M", LOCK])
    assert project.repro() == []
