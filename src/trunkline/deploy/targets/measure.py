"""What a server takes of memory and processors: it is started as conf/serving declares, and asked its golden rows.

A machine's figures are no function of a commit, so nothing measures unless a person asks; what is written of it is a
line of conf/deploy, which a pull request shows.
"""

import math
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import psutil
import urllib3

from trunkline.bundle import golden
from trunkline.conf.serving import Serving
from trunkline.core.errors import OutsideError, UserError
from trunkline.serve import run
from trunkline.serve.source import Source

ROOM = 1.5  # times the memory: a version is loaded beside the one that it follows, and requests may be larger
_START = 60.0  # seconds until it has to answer
_ALONE: dict[str, Any] = {
    "authentication": None,
    "tls": None,
    "log": None,
    "stream": None,
}  # it is asked from here alone


@dataclass(frozen=True)
class Taken:
    """What a server and its workers take: bytes of memory, what they share counted for each; processor seconds."""

    memory: int
    cpu: float  # of one request
    requests: int  # of which that is the mean

    def resources(self, rate: float) -> dict[str, str]:
        """Return what a container has to ask for at so many requests a second, as Kubernetes writes it."""
        cpu = max(10, math.ceil(self.cpu * rate * 100) * 10)
        return {"cpu": f"{cpu}m", "memory": f"{math.ceil(ROOM * self.memory / 2**24) * 16}Mi"}


def measure(bundle: Path, serving: Serving, connections: int, seconds: float) -> Taken:
    """Start a server of a bundle, ask it over so many connections for so many seconds, and end it.

    Raises UserError for a bundle without golden rows or one that refuses them; OutsideError for a server that ends.
    """
    bodies = [msgspec.json.encode(row.request) for row in golden.read(bundle)]
    if not bodies:
        raise UserError(f"{bundle}: has no golden rows to ask; run: dvc repro bundle")
    with _running(bundle, serving) as (process, pool):
        _ask(pool, bodies, connections, seconds / 4)  # what is made at first is no part of the figures
        before = processor_seconds(_all(process))
        requests = _ask(pool, bodies, connections, seconds)
        cpu = (processor_seconds(_all(process)) - before) / requests
        return Taken(sum(each.memory_info().rss for each in _all(process)), cpu, requests)


@contextmanager
def _running(bundle: Path, serving: Serving) -> Iterator[tuple[psutil.Process, urllib3.HTTPConnectionPool]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    own = serving.model_copy(update=_ALONE | {"bind": f"127.0.0.1:{port}"})
    server = get_context("spawn").Process(target=run.run, args=(Source(bundle), own), name="measured")
    server.start()
    try:
        with urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=256, retries=False, timeout=30) as pool:
            _wait(server, pool)
            yield psutil.Process(server.pid), pool
    finally:
        server.terminate()
        server.join()


def _wait(server: Any, pool: urllib3.HTTPConnectionPool) -> None:
    """Wait until it is ready."""
    end = time.monotonic() + _START
    while server.is_alive() and time.monotonic() < end:
        try:
            if pool.request("GET", "/readyz").status == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.1)
    raise OutsideError(f"the server that was to be measured was not ready in {_START:.0f} s; what it said is above")


def _ask(pool: urllib3.HTTPConnectionPool, bodies: Sequence[bytes], connections: int, seconds: float) -> int:
    """Ask over so many connections at once; return how many requests were answered."""
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(connections) as threads:
        return sum(threads.map(lambda first: _alone(pool, bodies, first, end), range(connections)))


def _alone(pool: urllib3.HTTPConnectionPool, bodies: Sequence[bytes], first: int, end: float) -> int:
    """Ask one row after the other until the end; return how many."""
    count = 0
    while time.monotonic() < end or not count:
        body = bodies[(first + count) % len(bodies)]
        answer = pool.request("POST", "/v1/predict", body=body, headers={"Content-Type": "application/json"})
        if answer.status != 200:
            raise UserError(f"/v1/predict refuses a golden row with {answer.status}: {answer.data.decode()[:300]}")
        count += 1
    return count


def _all(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def processor_seconds(processes: Iterable[psutil.Process]) -> float:
    """Return what processes have taken of processors so far, in seconds, of the user and of the system."""
    return sum(sum(each.cpu_times()[:2]) for each in processes)
