"""Runs tasks on a Ray cluster: each is given its processors and memory, and is run again where a machine is lost."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray import exceptions

from trunkline.conf.engine import Engine
from trunkline.core.errors import OutsideError, TrunklineError, one_line
from trunkline.pipeline.features.executors import cluster

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Ray:
    """Runs tasks on a cluster that is connected."""

    options: Mapping[str, Any]
    where: str

    def run(self, tasks: Sequence[Callable[[], _Result]]) -> Iterator[_Result]:
        """Send all tasks, and yield what each returns, in their order."""
        remote: Any = ray.remote(_call).options(**self.options)
        return self._results([remote.remote(task) for task in tasks])

    def _results(self, sent: Sequence[Any]) -> Iterator[Any]:
        for each in sent:
            try:
                yield ray.get(each)
            except exceptions.RayTaskError as error:
                if isinstance(error.cause, TrunklineError):
                    raise error.cause from None
                raise
            except exceptions.RayError as error:
                raise OutsideError(
                    f"engine: Ray at {self.where} lost a task {cluster.TRIES + 1} times ({one_line(error)[:200]}); "
                    "look at its machines, or give tasks more: engine.memory"
                ) from error


def _call(task: Callable[[], _Result]) -> _Result:
    return task()


@contextmanager
def connected(engine: Engine) -> Iterator[Ray]:
    """Join a cluster, or start one of this machine; raises OutsideError where none answers."""
    where = engine.address or "this machine"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would report to its makers
    own: dict[str, Any] = {} if engine.address else {"include_dashboard": False}
    try:
        if engine.address:
            cluster.reach(engine.address)  # Ray itself would wait for minutes
        ray.init(
            engine.address or "local",
            runtime_env={"env_vars": cluster.environment(engine)},
            log_to_driver=False,
            configure_logging=False,
            **own,
        )
    except (OSError, ValueError, RuntimeError, exceptions.RayError) as error:
        reason = f"no Ray at {where} ({one_line(error)[:200]}); start it, or correct the address"
        raise OutsideError(f"engine.address: {reason}") from error
    try:
        memory = engine.bytes + cluster.PROCESS
        yield Ray({"num_cpus": engine.cpus, "memory": memory, "max_retries": cluster.TRIES}, where)
    finally:
        ray.shutdown()
