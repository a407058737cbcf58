"""Brokers of both kinds, and what works on their topics, in a thread of the test."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.brokers import Broker, running
from trunkline.conf.serving import Serving, Stream
from trunkline.serve.source import Source
from trunkline.serve.stream import run

_numbers = count()


@pytest.fixture(scope="session", params=["kafka", "nats"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(request.param, tmp_path_factory.mktemp("broker")) as started:
        yield started


@pytest.fixture
def declared(broker: Broker) -> dict[str, Any]:
    """What conf/serving declares of topics that are there, and empty."""
    name = f"t{next(_numbers)}"
    topics = {key: f"{name}.{key}" for key in ("requests", "answers", "dead_letters")}
    broker.make(*topics.values())
    return {"broker": broker.address, **topics, "batch": 10, "redelivery": "1s", "group": name}


@contextmanager
def streaming(source: Source | Path, stream: dict[str, Any], partitions: Any = None, **serving: Any) -> Iterator[None]:
    """Work on a stream in a thread, until the end; what it fails with is raised there."""
    source = source if isinstance(source, Source) else Source(source)
    stop = Event()
    given = Serving.parse({"stream": stream, **serving})
    assert isinstance(given.stream, Stream)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(run.run, source, given, given.stream, stop, partitions)
        try:
            yield
        finally:
            stop.set()
        running.result(60)
