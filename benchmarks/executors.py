"""What features take by executor and workers: DuckDBEngine alone, and partitions on a Ray cluster of this machine.

Over a project that benchmarks/scale.py has left, or this one. Each executor has a process of its own; processor seconds
are those of the tasks and of joining, peak memory is that of a worker, and bytes are what tasks leave to each other.
Run: python -m benchmarks.executors [--project FOLDER] [--workers 1 2] [--buckets 2] [--memory 1GB]
"""

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Measured:
    """An executor that adds up what its tasks take: processor seconds, and the largest peak in MB."""

    executor: Any
    processor: float = 0.0
    peak: float = 0.0
    tasks: int = 0

    def run(self, tasks: Sequence[Callable[[], Any]]) -> Iterator[Any]:
        """Run tasks, and keep what they took."""
        results = self.executor.run([partial(measured, task) for task in tasks])
        return map(self._kept, results)

    def _kept(self, result: tuple[Any, float, float]) -> Any:
        value, processor, peak = result
        self.tasks, self.processor, self.peak = self.tasks + 1, self.processor + processor, max(self.peak, peak)
        return value


def measured(task: Callable[[], Any]) -> tuple[Any, float, float]:
    """Run a task; return what it returns, its processor seconds, and the peak of its process so far in MB."""
    before = used()
    value = task()
    return value, used() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def used() -> float:
    """Return the processor seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Run each executor in a process of its own, and print its line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--project", type=Path, default=ROOT)
    options.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="0: DuckDBEngine alone")
    options.add_argument("--buckets", type=int, default=2)
    options.add_argument("--memory", default="1GB")
    options.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one is not None:
        line(given.project, given.one, given.buckets, given.memory)
        return
    sys.stdout.write(f"{'':<16} {'seconds':>8} {'CPU s':>7} {'peak MB':>8} {'tasks':>6} {'MB between':>11}  sha256\n")
    sys.stdout.flush()
    for workers in given.workers:
        more = ["--project", given.project.resolve(), "--one", workers, "--buckets", given.buckets]
        command = [sys.executable, "-m", "benchmarks.executors", *map(str, more), "--memory", given.memory]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
        subprocess.run(command, check=True, cwd=ROOT, env=environment)  # noqa: S603


def line(project: Path, workers: int, buckets: int, memory: str) -> None:
    """Compute all features on one executor, and print what that took."""
    from trunkline.conf.contract import Contract
    from trunkline.conf.data import Data
    from trunkline.conf.engine import Engine
    from trunkline.conf.features import Features
    from trunkline.core.params import Params
    from trunkline.pipeline.features import compiler, split
    from trunkline.pipeline.features.duckdb import DuckDBEngine
    from trunkline.pipeline.features.executors.executor import connect
    from trunkline.pipeline.features.partition import Shared
    from trunkline.pipeline.features.partitioned import PartitionedEngine

    params = Params.read(project)
    data, tables = params.group(Data), project / "data/valid"
    plan = compiler.plan(params.group(Features), data, params.group(Contract))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        between, out = Path(folder, "between"), Path(folder, "out")
        between.mkdir()
        if workers:
            from ray.cluster_utils import Cluster

            cluster = Cluster(True, head_node_args={"num_cpus": workers, "include_dashboard": False})
            stack.callback(cluster.shutdown)
            executor = Measured(stack.enter_context(connect(Engine(executor="ray", address=cluster.address))))
            list(executor.run([os.getpid] * workers))  # so that workers have started
            engine: Any = PartitionedEngine(Shared(plan, tables, between, memory), executor, buckets)
        else:
            engine, executor = stack.enter_context(DuckDBEngine(plan, tables, memory)), Measured(None)
        began, before = time.perf_counter(), used()
        split.materialize(engine, plan, data, out)
        seconds, own = time.perf_counter() - began, used() - before
        peak = executor.peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        moved = sum(path.stat().st_size for path in between.iterdir()) / 1e6
        digest = hashlib.sha256((out / "train.parquet").read_bytes() + (out / "holdout.parquet").read_bytes())
        name = f"ray, {workers} worker{'s' * (workers > 1)}" if workers else "DuckDB alone"
        figures = f"{seconds:>8.1f} {own + executor.processor:>7.1f} {peak:>8,.0f} {executor.tasks:>6} {moved:>11,.1f}"
        sys.stdout.write(f"{name:<16} {figures}  {digest.hexdigest()[:12]}\n")


if __name__ == "__main__":
    main()
