"""`trunkline serve` as a process of its own, and requests to it."""

import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

TRUNKLINE = str(Path(sys.executable).with_name("trunkline"))


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A running server: its address, that of gRPC if it speaks it, and its process."""

    process: "subprocess.Popen[str]"
    address: str = ""
    grpc: str = ""
    tls: ssl.SSLContext | None = None  # whom its clients trust, and what they show
    # The log is read as it comes: a pipe that nobody empties would stop the server.
    _log: "SimpleQueue[str]" = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self._log.put(line)
        self._log.put("")  # the end

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask(urllib.request.Request(self.address + path, headers=headers))

    def post(self, path: str, body: Any, media_type: str = "application/json", **headers: str) -> Answer:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": media_type} | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask(urllib.request.Request(self.address + path, content, headers))

    def ask(self, request: urllib.request.Request) -> Answer:
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.tls) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())

    def logged(self, text: str, seconds: float = 60) -> str:
        """Wait for a line of the log that holds a text, and return it."""
        return self.logged_until(text, seconds).splitlines()[-1]

    def logged_until(self, text: str, seconds: float = 60) -> str:
        """Return what is logged next, up to a line that holds a text."""
        seen, end = [], time.monotonic() + seconds
        while True:
            try:
                line = self._log.get(timeout=max(0, end - time.monotonic()))
            except Empty:
                line = ""
            assert line, f"no line of the log holds {text!r}:\n{''.join(seen)}"
            seen.append(line)
            if text in line:
                return "".join(seen)


@contextmanager
def serving(
    *arguments: str, cwd: Path, grpc: bool = False, command: Sequence[str] = (TRUNKLINE,), **env: str
) -> Iterator[Server]:
    """Yield a server on a free port that has started; it is killed in the end if it has not ended by itself."""
    line = [*command, "serve", "--bind", "127.0.0.1:0", *arguments]  # of two addresses, the last counts
    environment = os.environ | env
    with subprocess.Popen(line, cwd=cwd, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            server = Server(process)
            server.address = server.logged("listens on http").split()[-1]
            if grpc:
                server.grpc = server.logged("listens on grpc").split("//")[-1]
            server.logged("startup complete")
            yield server
        finally:
            process.kill()
