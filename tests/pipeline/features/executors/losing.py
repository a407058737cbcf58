"""A machine that is lost while tasks run, whatever cluster it is of."""

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.monitor.logs import measured
from tests.monitor.test_counting import assert_same, logged
from tests.pipeline.features.test_duckdb import START
from tests.pipeline.features.test_partitioned import planned, write_tables, written
from trunkline.core.errors import UserError
from trunkline.monitor import counting
from trunkline.pipeline.features.duckdb import DuckDBEngine
from trunkline.pipeline.features.executors.executor import Executor
from trunkline.pipeline.features.partition import Shared
from trunkline.pipeline.features.partitioned import PartitionedEngine

VIEWS = [("latest", ["station"], None), ("rolling", ["station", "line"], "1d"), ("rolling", ["line"], "3h")]
TRIPS = [
    {"number": n, "station": "abc"[n % 3], "line": n % 4, "starts": START + timedelta(hours=n % 30), "delay": n % 70}
    for n in range(60)
]


def held(folder: Path, task: Callable[[], Any]) -> Any:
    """Say that a task has begun, and wait for the machine to be killed."""
    (folder / f"began-{os.getpid()}-{uuid.uuid4()}").touch()
    until((folder / "killed").exists)
    return task()


def process(began: Path) -> int:
    """Return the process that began a task."""
    return int(began.name.split("-")[1])


def ended(began: Path) -> bool:
    """Tell whether the process that began a task is gone."""
    try:
        return psutil.Process(process(began)).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.05)


@dataclass
class Losing:
    """An executor that loses one of two machines, by `kill`, as soon as both have begun one of several tasks."""

    executor: Executor
    kill: Callable[[Path], None]
    folder: Path
    tasks: int = 0

    def run(self, tasks: Sequence[Callable[[], Any]]) -> Iterator[Any]:
        if self.tasks or len(tasks) < 4:
            return self.executor.run(tasks)
        self.tasks = len(tasks)
        results = self.executor.run([partial(held, self.folder, task) for task in tasks])
        until(lambda: len(self.begun) == 2)
        self.kill(self.begun[0])
        until(lambda: any(map(ended, self.begun)))  # a worker outlives its machine for a moment
        (self.folder / "killed").touch()
        return results

    @property
    def begun(self) -> list[Path]:
        return list(self.folder.glob("began-*"))


def assert_same_bytes(executor: Executor, kill: Callable[[Path], None], folder: Path) -> None:
    """Compute a plan while one of the executor's two machines is killed, and compare it with one process's."""
    write_tables(folder, TRIPS)
    plan = planned(VIEWS)
    with DuckDBEngine(plan, folder, size=16) as alone:
        expected = written(alone, plan, folder / "alone.parquet")
    losing = Losing(executor, kill, folder)
    shared = Shared(plan, folder, folder, "200MB", size=16)
    assert written(PartitionedEngine(shared, losing, 2), plan, folder / "cut.parquet") == expected
    assert len(losing.begun) == losing.tasks + 1  # one was lost half-way, and run again


def assert_same_measures(executor: Executor, kill: Callable[[Path], None], folder: Path) -> None:
    """Measure a log while one of the executor's two machines is killed, and compare it with what one process says."""
    folder.mkdir()
    log = logged(folder)
    losing = Losing(executor, kill, folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(counting, "TASK", 4)
        assert_same(measured(*log, executor=losing), measured(*log))
    assert len(losing.begun) == losing.tasks + 1


def refuse(message: str) -> None:
    raise UserError(message)
