"""Runs tasks on a Spark cluster: each in an executor of its own size, and again where a machine is lost.

A call of `run` is a job of Spark, whose partitions are the tasks; what they return comes back as Arrow's bytes.
"""

import os
import pickle
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark import SparkConf
from pyspark.errors import PySparkException, PythonException
from pyspark.sql import DataFrame, SparkSession

from trunkline.conf.engine import Engine
from trunkline.core.errors import OutsideError, TrunklineError, one_line
from trunkline.pipeline.features.executors import cluster

_Result = TypeVar("_Result")

JOBS = 32  # that are sent at once; their tasks wait in Spark


@dataclass(frozen=True)
class _Refusal:
    """What a task returns in place of raising a mistake of the user: Spark would run it again, and lose its type."""

    error: TrunklineError


@dataclass(frozen=True)
class Spark:
    """Runs tasks in a session."""

    session: SparkSession
    waiting: ThreadPoolExecutor
    where: str

    def run(self, tasks: Sequence[Callable[[], _Result]]) -> Iterator[_Result]:
        """Send all tasks as one job, and yield what each returns, in their order, once all have returned."""
        return self._results(self.waiting.submit(_collect, self._job(tuple(tasks)))) if tasks else iter(())

    def _job(self, tasks: Sequence[Callable[[], Any]]) -> DataFrame:
        with _quiet():
            numbers = self.session.range(0, len(tasks), 1, len(tasks))  # a partition each
            return numbers.mapInArrow(_runner(tasks), "result binary")

    def _results(self, job: "Future[list[bytes]]") -> Iterator[Any]:
        try:
            results = job.result()
        except PythonException:  # a task's own, with its traceback
            raise
        except (PySparkException, Py4JError) as error:
            raise OutsideError(
                f"engine: Spark at {self.where} lost a task {cluster.TRIES + 1} times ({one_line(error)[:200]}); "
                "look at its machines, or give tasks more: engine.memory"
            ) from error
        for each in map(pickle.loads, results):
            if isinstance(each, _Refusal):
                raise each.error
            yield each


def _runner(tasks: Sequence[Callable[[], Any]]) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what Spark runs for a partition: the tasks whose numbers are in it."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            results = [_pickled(tasks[number]) for number in batch.column("id").to_pylist()]
            yield pa.record_batch([pa.array(results, pa.binary())], ["result"])

    return run


def _pickled(task: Callable[[], Any]) -> bytes:
    try:
        return pickle.dumps(task())
    except TrunklineError as error:
        return pickle.dumps(_Refusal(error))


def _collect(job: DataFrame) -> list[bytes]:
    return [bytes(row.result) for row in job.collect()]


@contextmanager
def connected(engine: Engine) -> Iterator[Spark]:
    """Join a cluster, or start one of this machine; raises OutsideError where none answers, or Java is missing."""
    where = engine.address or "this machine"
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # of the workers, which have the same environment
    try:
        if engine.address:
            cluster.reach(engine.address)  # Spark itself would wait for minutes
        with _quiet():
            session = SparkSession.builder.config(conf=_conf(engine)).getOrCreate()
    except (OSError, PySparkException, Py4JError) as error:
        reason = f"no Spark at {where} ({one_line(error)[:200]}); start it, correct the address, or install Java 17"
        raise OutsideError(f"engine.address: {reason}") from error
    with ThreadPoolExecutor(JOBS) as waiting:
        try:
            yield Spark(session, waiting, where)
        finally:
            session.stop()  # ends the jobs that threads wait for


def _conf(engine: Engine) -> SparkConf:
    """Return what a session is started with; without an address, Spark's own files or `spark-submit` name the master.

    An executor has the processors and the memory of one task, so that Spark gives no machine more than it has room for.
    """
    declared = {
        "spark.app.name": "trunkline",
        "spark.task.cpus": engine.cpus,
        "spark.executor.cores": engine.cpus,
        "spark.executor.memory": f"{(engine.bytes + cluster.PROCESS) // 2**20}m",
        "spark.task.maxFailures": cluster.TRIES + 1,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **{f"spark.executorEnv.{name}": value for name, value in cluster.environment(engine).items()},
        **({"spark.master": f"spark://{engine.address}"} if engine.address else {}),
    }
    return SparkConf().setAll([(key, str(value)) for key, value in declared.items()])


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence that PySpark warns of the newest pandas, which nothing here uses."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        yield
