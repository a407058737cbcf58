"""Runs `trunkline stream`: a loop for requests, and one for each topic of events, until told to stop."""

import contextlib
import logging
import os
from collections.abc import Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from functools import partial
from threading import Event

from prometheus_client import CollectorRegistry, start_http_server

from trunkline.conf.serving import Serving, Stream
from trunkline.core.errors import OutsideError
from trunkline.serve.metrics import Metrics
from trunkline.serve.model import Scored
from trunkline.serve.prediction_log.privacy import Privacy
from trunkline.serve.prediction_log.sealed import Keys
from trunkline.serve.prediction_log.sender import PredictionLog
from trunkline.serve.prediction_log.sender import check as check_log
from trunkline.serve.source import Source
from trunkline.serve.stream.events import StoredEvents
from trunkline.serve.stream.loop import Loop
from trunkline.serve.stream.metrics import StreamMetrics, TopicMetrics
from trunkline.serve.stream.open import open_channel
from trunkline.serve.stream.requests import ROUTE, Requests
from trunkline.serve.swap import Slot

_log = logging.getLogger(__name__)


def run(source: Source, serving: Serving, declared: Stream, stop: Event, partitions: Collection[int] | None) -> None:
    """Answer requests of a broker's topic, and store events, until `stop` is set; batches that have begun are finished.

    `partitions` are those of each topic of Kafka whose messages are read, None for all. Raises UserError for a bundle
    that cannot be used and topics that do not fit, OutsideError for a broker that refuses what is written.
    """
    metrics = Metrics()
    slot = Slot(on_change=metrics.show)
    follower = source.fill(slot, source.loader(serving))
    try:
        with _logged(source, serving, metrics) as log, _scraped(declared.metrics, metrics.registry):
            _work(_loops(serving, declared, slot, metrics, log, stop, partitions), stop)
    finally:
        if follower:
            follower.stop()


def _loops(  # noqa: PLR0913, PLR0917  what the loops share
    serving: Serving,
    declared: Stream,
    slot: Slot,
    metrics: Metrics,
    log: PredictionLog | None,
    stop: Event,
    partitions: Collection[int] | None,
) -> list[Loop]:
    def settle(scored: Scored, request: str) -> None:
        metrics.scored(scored)
        if log:
            log.append(scored, request, ROUTE, None, None)

    streams = StreamMetrics(metrics.registry)
    opened = partial(open_channel, declared, os.environ, partitions, stop)
    requests = Requests(lambda: slot.current, serving.limits.body, settle)
    open_requests = partial(opened, declared.requests, declared.answers, declared.dead_letters)
    loops = [Loop(declared.requests, open_requests, requests.outcome, TopicMetrics(streams, declared.requests), stop)]
    for topic, each in declared.events.items():
        of_topic = TopicMetrics(streams, topic)
        stored = StoredEvents(slot, each, serving.limits.body, of_topic)
        loops.append(Loop(topic, partial(opened, topic, None, each.dead_letters), stored.outcome, of_topic, stop))
    return loops


def _work(loops: list[Loop], stop: Event) -> None:
    """Run loops side by side; when one ends, so do all. Raises what the first raised that failed."""
    with ThreadPoolExecutor(len(loops)) as threads:
        running = [threads.submit(loop.run) for loop in loops]
        try:
            wait(running, return_when=FIRST_COMPLETED)
        finally:
            stop.set()
    for each in running:
        each.result()


@contextlib.contextmanager
def _logged(source: Source, serving: Serving, metrics: Metrics) -> Iterator[PredictionLog | None]:
    if serving.log is None:
        yield None
        return
    check_log(serving.log)
    Keys.of(serving.log, reads=False)
    log = PredictionLog(serving.log, Privacy.of(serving.log, source.personal), metrics.log, source.environment)
    log.start()
    try:
        yield log
    finally:
        log.stop(serving.drain.total_seconds())


@contextlib.contextmanager
def _scraped(address: str | None, registry: CollectorRegistry) -> Iterator[None]:
    """Answer Prometheus at an address, if one is declared."""
    if address is None:
        yield
        return
    host, _, port = address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry)
    except (OSError, OverflowError) as error:
        raise OutsideError(f"{address}: cannot listen there: {error}; name another in serving.stream.metrics") from None
    _log.info("metrics on http://%s:%d", host, server.server_port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
