"""Killed at any moment, `dvc repro` completes to the bytes of a run that nothing disturbed."""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Checkout

pytestmark = pytest.mark.crash

KILLS = 30
PATIENCE = 600  # seconds: a stage ends long before, however slow the machine
RESULTS = ("data", "models", "reports", "dvc.lock", "params.yaml")


def results(project: Checkout) -> dict[str, str]:
    """Return the sha256 of every file that the pipeline makes."""
    found = [path for name in RESULTS for path in [project.root / name, *(project.root / name).rglob("*")]]
    return {
        str(path.relative_to(project.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
        if path.is_file()
    }


def forget(project: Checkout) -> None:
    """Delete all that the pipeline made, and all that DVC knows of it."""
    kept = project.read("models/registry.yaml")
    for name in (*RESULTS, ".dvc/cache", ".dvc/tmp", "mlflow.db"):
        path = project.root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    (project.root / "models").mkdir()
    (project.root / "models/registry.yaml").write_text(kept, encoding="utf-8")


class Attempt:
    """A `dvc repro` in a process group of its own."""

    def __init__(self, project: Checkout) -> None:
        self.root, self.printed = project.root, ""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.process = subprocess.Popen(
            ["dvc", "repro"],
            cwd=self.root,
            env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.printed += line

    def until(self, happened: Callable[[], object]) -> None:
        """Wait for something, or for the end."""
        begun = time.monotonic()
        while self.process.poll() is None and not happened():
            assert time.monotonic() < begun + PATIENCE, self.printed
            time.sleep(0.002)

    def kill(self) -> int:
        """Kill the group, if it still runs; return the exit code."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        self.reader.join()
        return code


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
    yield "DVC writes dvc.lock", changed(attempt.root / "dvc.lock"), 0.1


def mend(attempt: Attempt) -> bool:
    """Do what docs/recovery.md says where DVC cannot read a file that it was killed in; False if that is not it."""
    if "RWLock-file" in attempt.printed:
        (attempt.root / ".dvc/tmp/rwlock").unlink()
    elif re.search(r"dvc\.lock.*(validation failed|is invalid|corrupted)", attempt.printed):
        (attempt.root / "dvc.lock").unlink()  # no commit has it here, so there is none to restore
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
    assert project.run("git", "status", "--porcelain") == ""
    assert project.repro() == []
