"""The seam: what runs tasks, wherever; `connect` opens the one that conf/engine declares."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, TypeVar

from trunkline.conf.engine import Engine
from trunkline.core.errors import UserError

_Result = TypeVar("_Result")


class Executor(Protocol):
    """Runs tasks that need nothing of each other.

    A task is a function of a module with its arguments, as `functools.partial` has them. It may be run again where a
    machine was lost, also while the first is still at it; so it writes files, atomically, and returns little.
    """

    def run(self, tasks: Sequence[Callable[[], _Result]]) -> Iterator[_Result]:
        """Begin all tasks, and yield what each returns, in their order.

        Raises what a task raised, or OutsideError where it cannot be run.
        """


class Local:
    """Runs tasks in this process, one after the other as their results are asked for."""

    def run(self, tasks: Sequence[Callable[[], _Result]]) -> Iterator[_Result]:
        """Yield what each task returns."""
        return (task() for task in tasks)


@contextmanager
def connect(engine: Engine) -> Iterator[Executor]:
    """Open the executor that is declared; raises UserError where its extra is missing, OutsideError as it does.

    What its library writes to this process's environment, such as another debugger, is taken back at the end.
    """
    environment = dict(os.environ)
    try:
        with _connected(engine) as executor:
            yield executor
    finally:
        os.environ.clear()
        os.environ.update(environment)


def _connected(engine: Engine) -> AbstractContextManager[Executor]:
    if engine.executor == "local":
        return nullcontext(Local())
    try:  # each is in an extra of its own
        if engine.executor == "ray":
            from trunkline.pipeline.features.executors import ray  # noqa: PLC0415

            return ray.connected(engine)
        from trunkline.pipeline.features.executors import spark  # noqa: PLC0415

        return spark.connected(engine)
    except ModuleNotFoundError as error:
        name = engine.executor
        raise UserError(f"engine.executor: {name} needs {error.name}: pip install 'trunkline[{name}]'") from None
