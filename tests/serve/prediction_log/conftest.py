"""Projects that log predictions, their servers, and what their logs hold."""

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from tests.serve.conftest import GOOD, golden_bundle
from tests.serving import Server, serving

ROWS = [GOOD | {"hour": hour, "delay": hour / 7} for hour in range(24)]
SECONDS = 60  # that anything is waited for


@pytest.fixture(scope="session")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that sets bad rows aside."""
    return golden_bundle(tmp_path_factory.mktemp("logged") / "sums", on_bad_row="quarantine")


@contextmanager
def logging(
    bundle: Path, home: Path, *arguments: str, log: Mapping[str, Any] = {}, serves: Mapping[str, Any] = {}, **env: str
) -> Iterator[Server]:
    """Yield a server that logs into the folder `log` of its project."""
    declare(home, log, serves)
    with serving(str(bundle), *arguments, cwd=home, grpc="protocols" in serves, **env) as server:
        yield server


def declare(home: Path, log: Mapping[str, Any], serves: Mapping[str, Any] = {}) -> None:
    """Write the params.yaml of a project that logs."""
    card = {"on_bad_row": "stop", "tolerance": 1e-9, "golden_rows": 20, "card": {"intended_use": "to add up numbers"}}
    declared = {"to": "log", "interval": "1s"} | log
    params = {"bundle": card, "serving": {"bind": "127.0.0.1:0", "log": declared} | serves}
    (home / "params.yaml").write_text(json.dumps(params), encoding="utf-8")


def drained(server: Server) -> None:
    """End a server by SIGTERM, and wait for that."""
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(SECONDS) == 0


def logged(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of all segments; what cannot be read fails."""
    return [row for path in sorted(folder.rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def places(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return whose rows they are, sorted: request ids and numbers of rows."""
    return sorted((row["request_id"], row["row"]) for row in rows)


def metric(server: Server, name: str) -> float:
    """Return a metric without labels."""
    text = server.get("/metrics").body.decode()
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")))


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition and return it; fails where it does not come."""
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, what
    return found


def writer(server: Server) -> psutil.Process:
    """Return the process that writes a server's log, once there is one."""

    def found() -> psutil.Process | None:
        children = psutil.Process(server.process.pid).children(recursive=True)
        return next((child for child in children if is_writer(child)), None)

    return until(found, "no process writes the log")


def is_writer(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:  # it has ended
        return False
