"""Debian's prometheus and alertmanager as processes of tests, and who listens to what they scrape, tell and mail."""

import email
import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseServer, StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import pytest

from tests.servers import free_port

SECONDS = 120  # that anything is waited for


def program(name: str) -> str:
    """Return the path of a program of Debian's packages; without it the test is skipped, or fails where required."""
    path = shutil.which(name)
    if path is None:
        missing = f"no {name} on this machine, as Debian's packages prometheus and prometheus-alertmanager have it"
        (pytest.fail if os.environ.get("TRUNKLINE_REQUIRE_PROMETHEUS") else pytest.skip)(missing)
    return str(path)


def checked(*command: str) -> str:
    """Run a program and return what it prints; fails where it says no."""
    done = subprocess.run([program(command[0]), *command[1:]], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition and return it; fails where it does not come."""
    end = time.monotonic() + SECONDS
    while not (held := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return held


class Listener:
    """An HTTP server on this machine: shows texts to Prometheus by path, and keeps what Alertmanager posts."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.posted: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(outer.texts.get(self.path, "").encode())

            def do_POST(self) -> None:
                outer.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._answer(b"")

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"

    @contextmanager
    def listening(self) -> Iterator["Listener"]:
        with _serving(self._server):
            yield self

    def told(self, alert: str, status: str) -> list[dict[str, Any]]:
        """Return the notifications of an alert in a status: firing or resolved."""
        return [each for each in self.posted if each["status"] == status and each["groupLabels"]["alertname"] == alert]


class Mailbox:
    """A mail server (SMTP) on this machine that takes every mail, and keeps it."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        outer = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 ready\r\n")
                for line in self.rfile:
                    word = line.strip().upper()
                    if word == b"DATA":
                        self.wfile.write(b"354 go on\r\n")
                        outer.mails.append(email.message_from_bytes(b"".join(iter(self.rfile.readline, b".\r\n"))))
                    self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 yes\r\n")

        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def listening(self) -> Iterator["Mailbox"]:
        with _serving(self._server):
            yield self

    def told(self, alert: str, status: str) -> list[Message]:
        """Return the mails of an alert in a status: firing or resolved."""
        subjects = [(str(mail["Subject"]), mail) for mail in self.mails]
        return [mail for subject, mail in subjects if subject.startswith(f"[{status.upper()}") and alert in subject]


@contextmanager
def _serving(server: BaseServer) -> Iterator[None]:
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def running(name: str, folder: Path, *options: str) -> Iterator[str]:
    """Yield the address of a program that says at /-/ready that it is."""
    address = f"127.0.0.1:{free_port()}"
    log = folder / f"{name}.log"
    command = [program(name), f"--web.listen-address={address}", *options]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)
        try:
            until(lambda: process.poll() is not None or _ready(address), f"{name} does not start")
            assert process.poll() is None, log.read_text()
            yield address
        finally:
            process.kill()
            process.wait()


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def get(address: str, path: str) -> Any:
    """Return the JSON at a path."""
    with urllib.request.urlopen(f"http://{address}{path}", timeout=30) as answer:
        return json.load(answer)


def post(address: str, path: str, content: Any) -> None:
    """Post JSON to a path."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{address}{path}", json.dumps(content).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def query(address: str, expression: str) -> list[Any]:
    """Return what Prometheus answers to a query now; fails where it refuses it."""
    parameters = urllib.parse.urlencode({"query": expression})
    content = get(address, f"/api/v1/query?{parameters}")
    assert content["status"] == "success", content
    result: list[Any] = content["data"]["result"]
    return result
