"""What the executors of clusters have in common: an address that has to answer, and what a task's process has."""

import os
import socket

from trunkline.conf.engine import Engine
from trunkline.core import machine

TRIES = 3  # after the first, where a machine or its worker is lost
PATIENCE = 10  # seconds until a head that does not answer is given up
PROCESS = 512 * 10**6  # bytes of a task besides DuckDB's: Python and its libraries


def reach(address: str) -> None:
    """Raise OSError where nothing answers at HOST:PORT; clusters' own libraries would wait for minutes."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()


def environment(engine: Engine) -> dict[str, str]:
    """Return what workers are started with: what pins results, and the tree that this process has its code from."""
    pinned = machine.settings({machine.THREADS: str(engine.cpus)}, machine.cpu_flags())
    return pinned | {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
