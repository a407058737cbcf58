"""A server as a process: when it answers first, what its processes take of CPU and memory, and its end."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from benchmarks.peers.environment import MissingError

_START_SECONDS = 120.0
_STEP = 0.02  # seconds between two looks at whether it answers
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Question:
    """A request to a server: its path, its body and the headers besides the body's type.

    `others` are bodies that load asks for after it, in turn; none of them has a line break.
    """

    path: str
    body: bytes
    headers: Mapping[str, str]
    others: Sequence[bytes] = ()


@dataclass(frozen=True)
class Running:
    """A server that answers; `cold_start` is the seconds from its process to its first answer."""

    process: psutil.Process
    port: int
    cold_start: float
    answer: Any

    def cpu_seconds(self) -> float:
        """Return what its processes have taken of CPUs so far."""
        return sum(sum(each.cpu_times()[:2]) for each in self._processes())

    def resident(self) -> int:
        """Return the bytes of memory that its processes hold, counting what they share once for each."""
        return sum(each.memory_info().rss for each in self._processes())

    def _processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextlib.contextmanager
def running(
    command: Sequence[str], port: int, question: Question, folder: Path, environ: Mapping[str, str]
) -> Iterator[Running]:
    """Yield a server that has answered the question; it and its children are ended at the end.

    Raises MissingError, with the end of its log, for one that ends before or does not answer in time.
    """
    log = folder / f"{port}.log"
    start = time.monotonic()
    with log.open("wb") as output:
        process = psutil.Popen(
            command, cwd=folder, env=os.environ | _ONE_THREAD | environ, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        answer = _first_answer(process, port, question, log, start)
        yield Running(psutil.Process(process.pid), port, time.monotonic() - start, answer)
    finally:
        _end(process)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _first_answer(process: psutil.Popen, port: int, question: Question, log: Path, start: float) -> Any:
    refusal = "nothing listened"
    while time.monotonic() - start < _START_SECONDS and process.poll() is None:
        try:
            status, body = once(port, question)
        except OSError:
            time.sleep(_STEP)
            continue
        if status == http.client.OK:
            return json.loads(body)
        refusal = f"{status} {body.decode(errors='replace')[:200]}"
        time.sleep(_STEP)
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise MissingError(f"did not answer: {refusal}; the end of its log: {' '.join(last)}")


def once(port: int, question: Question) -> tuple[int, bytes]:
    """Ask once, and return the answer's status and body."""
    headers = {"Content-Type": "application/json", **question.headers}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST", question.path, question.body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def _end(process: psutil.Popen) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        processes = [*process.children(recursive=True), process]
        process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=10)
        for each in alive:
            each.kill()
        psutil.wait_procs(alive, timeout=10)
    process.wait()
