"""One real `trunkline stream` on a real NATS, and what it can be made to suffer, each by itself."""

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.brokers import Broker, running
from tests.monitor.render.programs import until
from tests.monitor.render.promtests import samples
from tests.monitor.render.served import COUNT, EVENTS, REQUEST
from tests.serve.online import trips
from tests.servers import free_port
from tests.serving import TRUNKLINE

STALLED = 3  # seconds without a success that are declared to be too long
MANY = 2000  # messages, which take a while by batches of ten
TOPICS = {name: f"trips.{name}" for name in ("requests", "answers", "dead_letters")}
ONE = json.dumps(REQUEST).encode()
WRONG = json.dumps(REQUEST | {"line": 1.5}).encode()


@dataclass
class Streamed:
    """The process, its broker, and where it answers Prometheus."""

    process: "subprocess.Popen[bytes]"
    broker: Broker
    port: int

    def scrape(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
            return text

    def sum(self, metric: str) -> float:
        """Return the sum of a metric's samples of the topic of requests."""
        name, topic = f"trunkline_stream_{metric}", ("topic", TOPICS["requests"])
        shown = samples(self.scrape()).items()
        return sum(value for (each, labels), (_, value) in shown if each == name and topic in labels)

    def send(self, *bodies: bytes) -> None:
        """Send requests; the process reads none before all are there."""
        self.process.send_signal(signal.SIGSTOP)
        self.broker.send(TOPICS["requests"], bodies)
        self.process.send_signal(signal.SIGCONT)

    def finish(self) -> None:
        """Wait until nothing is left to do."""
        until(lambda: self.broker.is_done(TOPICS["requests"], "trunkline"), "not all requests are done")
        until(lambda: self.sum("lag") == 0 and time.time() - self.succeeded < 1, "it does not see that nothing waits")

    @property
    def succeeded(self) -> float:
        return self.sum("last_success_timestamp_seconds")


@contextmanager
def streamed(home: Path) -> Iterator[Streamed]:
    """Yield a process whose store has the events of EVENTS, from its topics."""
    home.mkdir()
    events = {f"events.{table}": {"table": table, "dead_letters": f"refused.{table}"} for table in EVENTS}
    port = free_port()
    with running("nats", home) as broker:
        broker.make(*TOPICS.values(), *events, *(each["dead_letters"] for each in events.values()))
        stream = {"broker": broker.address, **TOPICS, "events": events, "batch": 10, "metrics": f"127.0.0.1:{port}"}
        online = {"store": f"sqlite:///{home}/online.db"}
        packaging = {"tolerance": 1e-9, "card": {"intended_use": "to add up numbers"}}
        params = {"name": "sums", "bundle": packaging, "serving": {"stream": stream, "online": online}}
        (home / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        folder = trips.bundle(home / "bundle", trips.planned())
        for table, rows in EVENTS.items():
            broker.send(f"events.{table}", [json.dumps(row).encode() for row in rows])
        with (home / "log.txt").open("wb") as log:
            process = subprocess.Popen([TRUNKLINE, "stream", str(folder)], cwd=home, stderr=log)
        try:
            for topic in events:
                until(lambda: broker.is_done(topic, "trunkline"), (home / "log.txt").read_text())  # noqa: B023
            yield Streamed(process, broker, port)
        finally:
            process.kill()
            process.wait()


def good(here: Streamed) -> None:
    here.send(*[ONE] * COUNT)
    here.finish()


def refused(here: Streamed) -> None:
    """A part of the messages is not as the contract says."""
    here.send(*[ONE] * COUNT, *[WRONG] * COUNT)
    here.finish()


def late(here: Streamed) -> None:
    """More messages come than are done."""
    before = here.sum("messages_total")
    here.send(*[ONE] * MANY)
    until(lambda: here.sum("lag") > here.sum("messages_total") - before > 0, "nothing waits")


def stalled(here: Streamed) -> None:
    """The broker is gone, and is waited for."""
    here.broker.pause()
    until(lambda: here.sum("problem") and time.time() - here.succeeded > STALLED, "it does not wait for the broker")


@dataclass(frozen=True)
class Act:
    """What a stream suffers, which alert there has to be of it, and how it is mended."""

    alert: str
    suffer: Callable[[Streamed], Any]
    mend: Callable[[Streamed], Any] = lambda here: None


ACTS = {
    "good": Act("", good),
    "refused": Act("StreamDeadLetters", refused),
    "late": Act("StreamLag", late, Streamed.finish),
    "stalled": Act("StreamStalled", stalled),  # the last: nobody mends it
}
