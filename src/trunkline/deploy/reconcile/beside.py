"""Reconciles beside a server, in a process of its own that is begun again if it ends, and ends with the server."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import connection, get_context, parent_process
from threading import Event, Thread

from trunkline.core.errors import UserError

AGAIN = 5.0  # seconds until a process that has ended is begun again
_LOOK = 0.2  # seconds

_log = logging.getLogger(__name__)


def installed() -> None:
    """Raise UserError, which says what to install, where a package that reconciling needs is missing."""
    for name in ("dvc", "mlflow", "sigstore"):
        if find_spec(name) is None:
            raise UserError(
                f"reconciling needs {name}, which a serving install lacks; install all of Trunkline with "
                "pip install 'trunkline[serve,sign]', or run trunkline reconcile where that is installed"
            )


@contextmanager
def beside(watch: Callable[[], object]) -> Iterator[None]:
    """Keep a process running that calls a function, which has to be one that can be pickled."""
    stop = Event()
    thread = Thread(target=_keep, args=(watch, stop), name="reconcile")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _keep(watch: Callable[[], object], stop: Event) -> None:
    while not stop.is_set():
        process = get_context("spawn").Process(target=_alone, args=(watch,), name="reconcile")
        process.start()
        while not stop.is_set() and not connection.wait([process.sentinel], _LOOK):
            pass
        process.terminate()  # at any point: nothing is ever half done
        process.join()
        if not stop.is_set():
            _log.error("reconcile ended with %s; it is begun again in %g s", process.exitcode, AGAIN)
            stop.wait(AGAIN)


def _alone(watch: Callable[[], object]) -> None:
    """Call a function in a process that a Ctrl-C at the server's terminal does not end, but the server's end does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    watch()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent, "it was begun by another process"  # noqa: S101
    parent.join()
    os._exit(1)
