"""Runs of `dvc repro` that are stopped from outside, and what the pipeline has made by then."""

import hashlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import yaml

from tests.e2e.conftest import Checkout, environment

PATIENCE = 600  # seconds: a stage ends long before, however slow the machine
LOCK = "dvc.lock"
WRITTEN = ("models/registry.yaml", "reports/dvc.yaml")  # by people
RESULTS = ("data", "models", "reports", "params.yaml", LOCK)


def results(project: Checkout) -> dict[str, Any]:
    """Return the sha256 of every file that the pipeline makes; of dvc.lock what it says, whatever the order."""
    found = [path for name in RESULTS for path in [project.root / name, *(project.root / name).rglob("*")]]
    made = {
        str(path.relative_to(project.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
        if path.is_file()
    }
    return made | {LOCK: yaml.safe_load(project.read(LOCK))}


def forget(project: Checkout) -> None:
    """Delete all that the pipeline made, and all that DVC knows of it."""
    project.run("git", "clean", "-dffXq")
    shutil.rmtree(project.root / ".dvc/cache", ignore_errors=True)
    for path in (project.root / name for name in results(project)):
        if path.relative_to(project.root).as_posix() not in WRITTEN and path.name != ".gitignore":
            path.unlink()


class Attempt:
    """A `dvc repro` in a process group of its own; the forks of one that is `forked` are killed with it."""

    def __init__(self, project: Checkout, *, forked: bool = True) -> None:
        self.root, self.printed = project.root, ""
        self.process = subprocess.Popen(
            ["dvc", "repro"],
            cwd=self.root,
            env=environment(forked=forked) | {"PYTHONUNBUFFERED": "1"},
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
            time.sleep(0.005)

    def kill(self) -> int:
        """Kill the group, if it still runs; return the exit code when nothing is left that could print."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        self.reader.join()
        assert self.process.stdout
        self.process.stdout.close()
        return code
