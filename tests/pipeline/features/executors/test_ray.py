"""A real Ray cluster of two machines, one of which is killed while it computes: the bytes are those of one process."""

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.pipeline.features.test_duckdb import START
from tests.pipeline.features.test_partitioned import planned, write_tables, written
from trunkline.conf.engine import Engine
from trunkline.core.errors import OutsideError, UserError
from trunkline.pipeline.features.duckdb import DuckDBEngine
from trunkline.pipeline.features.executors.executor import Executor, connect
from trunkline.pipeline.features.partition import Shared
from trunkline.pipeline.features.partitioned import PartitionedEngine

pytest.importorskip("ray", reason="needs the extra `ray`: locks/install dev")
pytestmark = pytest.mark.filterwarnings("default")  # Ray's own

VIEWS = [("latest", ["station"], None), ("rolling", ["station", "line"], "1d"), ("rolling", ["line"], "3h")]
TRIPS = [
    {"number": n, "station": "abc"[n % 3], "line": n % 4, "starts": START + timedelta(hours=n % 30), "delay": n % 70}
    for n in range(60)
]
MEMORY = 4 * 10**9


@contextmanager
def two_machines() -> Iterator[Any]:
    """Ray's head and two machines with a processor each, as processes of this one."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, memory=MEMORY, object_store_memory=80 * 10**6)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()


def held(folder: Path, task: Callable[[], Any]) -> Any:
    """Say that a task has begun, and wait for the machine to be killed."""
    (folder / f"began-{os.getpid()}-{uuid.uuid4()}").touch()
    until((folder / "killed").exists)
    return task()


def ended(began: Path) -> bool:
    """Tell whether the process that began a task is gone."""
    try:
        return psutil.Process(int(began.name.split("-")[1])).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.05)


@dataclass
class Killing:
    """An executor that loses a machine as soon as both have begun one of several tasks."""

    executor: Executor
    cluster: Any
    folder: Path
    tasks: int = 0

    def run(self, tasks: Sequence[Callable[[], Any]]) -> Iterator[Any]:
        if self.tasks or len(tasks) < 4:
            return self.executor.run(tasks)
        self.tasks = len(tasks)
        results = self.executor.run([partial(held, self.folder, task) for task in tasks])
        until(lambda: len(self.begun) == 2)
        self.cluster.remove_node(self.cluster.list_all_nodes()[-1], allow_graceful=False)
        until(lambda: any(map(ended, self.begun)))  # a worker outlives its machine's raylet for a moment
        (self.folder / "killed").touch()
        return results

    @property
    def begun(self) -> list[Path]:
        return list(self.folder.glob("began-*"))


def test_a_machine_that_is_killed_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[4]))
    write_tables(tmp_path, TRIPS)
    plan = planned(VIEWS)
    with DuckDBEngine(plan, tmp_path, size=16) as alone:
        expected = written(alone, plan, tmp_path / "alone.parquet")
    shared = Shared(plan, tmp_path, tmp_path, "200MB", size=16)
    with two_machines() as cluster, connect(Engine(executor="ray", address=cluster.address)) as executor:
        killing = Killing(executor, cluster, tmp_path)
        assert written(PartitionedEngine(shared, killing, 2), plan, tmp_path / "cut.parquet") == expected
        assert len(killing.begun) == killing.tasks + 1  # one was lost half-way, and run again
        with pytest.raises(UserError, match=r"^a mistake of the user$"):
            list(executor.run([partial(refuse, "a mistake of the user")]))


def refuse(message: str) -> None:
    raise UserError(message)


def test_an_address_where_no_ray_is_is_named() -> None:
    before = dict(os.environ)
    with pytest.raises(OutsideError, match=r"^engine\.address: no Ray at 127\.0\.0\.1:1 "):
        connect(Engine(executor="ray", address="127.0.0.1:1")).__enter__()
    assert os.environ == before, "what Ray writes there is taken back"
