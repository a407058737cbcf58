"""One real server with all that a server can have, and what it can be made to suffer, each by itself."""

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from tests import bundles
from tests.authority import Authority
from tests.monitor.render.programs import until
from tests.releases import declare_trust, released
from tests.serve.online import trips
from tests.serving import Server, serving
from trunkline.bundle.manifest import digest
from trunkline.core import files
from trunkline.deploy.reconcile.store import BundleStore
from trunkline.serve.model import Pointer

COUNT = 30  # requests, of which a rule needs fewer
QUEUE = 400  # rows that may wait for the log: more than all but `log_is_lost` ask for
SERVES = {
    "tls": {"certificate": "server.crt", "key": "server.key"},
    "log": {"to": "log", "interval": "1s", "queue": QUEUE},
    "online": {"store": "sqlite:///online.db", "views": {"last": {"limit": "1h"}}},
}
REQUEST = {"number": 9, "station": "A", "line": 1, "starts": "2013-03-09T19:00:00+02:00"}
NOON = "2013-03-09T12:00:00Z"
COMPLETE = {each["name"]: None if each["nullable"] else 0 for each in trips.declared_inputs()}
WRONG = COMPLETE | {"trips_6h": "many"}
# Of station A all is known and new, of B it is late, and of C there is nothing.
EVENTS = {
    "trips": [
        {"number": 1, "station": "A", "line": 1, "starts": "2013-03-09T17:30:00Z", "delay": 7, "load": 0.5},
        {"number": 2, "station": "B", "line": 1, "starts": "2013-03-09T13:30:00Z", "delay": 7, "load": 0.5},
    ],
    "alerts": [
        {"place": place, "code": "x", "station": station, "line": 1, "weight": 1.0}
        | dict.fromkeys(("at", "told"), NOON)
        for place, station in enumerate("AB")
    ],
    "stations": [{"station": station, "platforms": 2, "opened": NOON} for station in "AB"],
}


@dataclass
class Served:
    """The server, its project, and the versions of its store: v1 runs, v2 is a candidate, v3 is broken."""

    home: Path
    server: Server
    store: BundleStore
    digests: list[str]
    authority: Authority

    def scrape(self) -> str:
        return self.server.get("/metrics").body.decode()

    def value(self, metric: str) -> float:
        """Return the sum of a metric's samples."""
        families = text_string_to_metric_families(self.scrape())
        return sum(sample.value for family in families for sample in family.samples if sample.name == metric)

    def until(self, metric: str, above: float) -> None:
        until(lambda: self.value(metric) > above, f"{metric} stays")

    def deliver(self, number: int, candidate: int | None = None) -> None:
        """Deliver a version, with another one in shadow."""
        content = self._pointer(number)
        if candidate:
            content["rollout"] = {
                "kind": "shadow",
                "share": 100,
                "key": ["line"],
                "candidate": self._pointer(candidate),
            }
        files.write_json(self.store.folder / "production.json", content)

    def _pointer(self, number: int) -> dict[str, Any]:
        name = self.digests[number - 1]
        signed = released(name, number, "sums").provenance
        pointer = Pointer("sums", f"v{number}", name, f"bundles/{name}", "0" * 40, signed)
        return dict(msgspec.to_builtins(pointer))

    def certificate(self, days: int) -> None:
        self.authority.sign(ends=timedelta(days=days)).write(self.home, "server")

    def ask(self, body: Any, status: int = 200, **headers: str) -> None:
        """Ask as often as a rule needs it."""
        for _ in range(COUNT):
            assert self.server.post("/v1/predict", body, **headers).status == status


@contextmanager
def served(home: Path) -> Iterator[Served]:
    """Yield a server of everything, which serves v1."""
    declare_trust(home, "sums", **SERVES)
    authority, store = Authority(), BundleStore(home / "store")
    authority.sign(ends=timedelta(days=90)).write(home, "server")
    digests = [_bundle(home / f"v{number}", number, store) for number in (1, 2, 3)]
    (store.bundle(digests[2]) / "model.onnx").write_bytes(b"broken")
    with serving("--env", "production", "--store", str(store.folder), cwd=home) as server:
        server.tls = authority.client(home)
        here = Served(home, server, store, digests, authority)
        here.deliver(1)
        server.logged("serves sums v1")
        yield here


def _bundle(folder: Path, number: int, store: BundleStore) -> str:
    trips.bundle(folder, trips.planned())
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    contract |= {"on_bad_row": "quarantine"}
    (folder / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
    (folder / "card.md").write_text(f"# Sums {number}\n", encoding="utf-8")
    bundles.seal(folder)
    store.put(digest(folder), partial(shutil.copytree, folder))
    return digest(folder)


def good(here: Served) -> None:
    """Events arrive in time, and requests are answered; also while a candidate is tried."""
    for table, rows in EVENTS.items():
        assert here.server.post("/v1/events", {"table": table, "rows": rows}).status == 200
    here.ask(REQUEST)


def rolled(here: Served) -> None:
    here.deliver(1, candidate=2)
    here.until("trunkline_rollout_share", 0)
    here.ask(REQUEST)
    here.server.post("/v1/predict", [COMPLETE, WRONG])
    here.until("trunkline_arm_rows_total", 2 * COUNT)
    here.deliver(1)
    until(lambda: here.value("trunkline_rollout_share") == 0, "the rollout goes on")


def errors(here: Served) -> None:
    """Requests whose time is over; they come in one piece, or their body would be late (408)."""
    for _ in range(COUNT):
        assert _sent(here, "Request-Timeout: 0.0000001\r\n").startswith(b"HTTP/1.1 504")


def latency(here: Served) -> None:
    """Requests whose bodies are long in coming."""
    with ThreadPoolExecutor(COUNT) as pool:
        for answer in pool.map(lambda _: _sent(here, wait=2.7), range(COUNT)):
            assert answer.startswith(b"HTTP/1.1 200")


def _sent(here: Served, headers: str = "", wait: float = 0) -> bytes:
    """Send a request of one packet, or of two with a time between them, and return how its answer begins."""
    body = json.dumps(COMPLETE)
    head = f"POST /v1/predict HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
    host, port = here.server.address.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), 30) as plain,
        here.authority.client(here.home).wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        if wait:
            connection.sendall(head.encode())
            time.sleep(wait)
            connection.sendall(body.encode())
        else:
            connection.sendall((head + body).encode())
        return connection.recv(64)


def log_is_lost(here: Served) -> None:
    """The folder of the log is a file: it cannot be written, and rows are dropped."""
    until(lambda: here.value("trunkline_log_rows_waiting") == 0, "the log does not write")
    shutil.move(here.home / "log", here.home / "kept")
    (here.home / "log").touch()
    here.server.post("/v1/predict", COMPLETE)
    here.until("trunkline_log_problem", 0)
    here.ask([COMPLETE] * 20)
    here.until("trunkline_log_rows_dropped_total", 0)


def log_is_back(here: Served) -> None:
    (here.home / "log").unlink()
    shutil.move(here.home / "kept", here.home / "log")
    until(lambda: here.value("trunkline_log_problem") == 0, "the log is not written again")


def certificate_expires(here: Served) -> None:
    before = here.value("trunkline_tls_certificate_expiry_timestamp_seconds")
    here.certificate(1)
    until(lambda: here.value("trunkline_tls_certificate_expiry_timestamp_seconds") < before, "it is not read")


def certificate_is_wrong(here: Served) -> None:
    (here.home / "server.key").write_text("none")
    here.until("trunkline_tls_problem", 0)


def certificate_is_back(here: Served) -> None:
    here.certificate(90)
    until(lambda: here.value("trunkline_tls_problem") == 0, "it is not read again")


def delivered(problem: str, number: int, candidate: int | None = None) -> Callable[[Served], None]:
    def act(here: Served) -> None:
        here.deliver(number, candidate)
        here.until(f"trunkline_{problem}_problem", 0)

    return act


def delivery_is_back(here: Served) -> None:
    here.deliver(1)
    problems = ("trunkline_delivery_problem", "trunkline_rollout_problem")
    until(lambda: not any(map(here.value, problems)), "a problem stays")


@dataclass(frozen=True)
class Act:
    """What a server suffers, which alerts there have to be of it, and how it is mended."""

    alerts: frozenset[str]
    suffer: Callable[[Served], Any]
    mend: Callable[[Served], Any] = lambda here: None


def _act(alerts: str, suffer: Callable[[Served], Any], mend: Callable[[Served], Any] = lambda here: None) -> Act:
    return Act(frozenset(alerts.split()), suffer, mend)


ACTS = {
    "good": _act("", good),
    "rollout": _act("", rolled),
    "errors": _act("Errors", errors),
    "latency": _act("Latency", latency),
    "refused requests": _act("RefusedRequests", lambda here: here.ask(WRONG, 422)),
    "refused rows": _act("RefusedRows", lambda here: here.ask([COMPLETE, WRONG])),
    "late features": _act("FeaturesLate", lambda here: here.ask(REQUEST | {"station": "B"})),
    "missing features": _act("FeaturesMissing", lambda here: here.ask(REQUEST | {"station": "C"})),
    "wrong certificate": _act("CertificateProblem", certificate_is_wrong, certificate_is_back),
    "broken delivery": _act("DeliveryProblem", delivered("delivery", 3), delivery_is_back),
    "broken candidate": _act("RolloutProblem", delivered("rollout", 1, candidate=3), delivery_is_back),
    "lost log": _act("LogProblem LogDropped", log_is_lost, log_is_back),
    "old certificate": _act("CertificateExpiry", certificate_expires),
}
