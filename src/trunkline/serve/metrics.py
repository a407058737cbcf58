"""What Prometheus is told: requests, rows, what is in work, and which model is served; of all workers together."""

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from trunkline.serve.model import Model, Scored
from trunkline.serve.rollout.metrics import RolloutMetrics
from trunkline.serve.swap import Slot

if TYPE_CHECKING:
    from trunkline.serve.tls import Certificates

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SHARED = "PROMETHEUS_MULTIPROC_DIR"  # where workers leave their numbers, so that any of them can tell those of all

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class LogMetrics:
    """What became of the rows of the prediction log."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counted: Callable[[str, str], Counter] = partial(Counter, registry=registry)
        self.written = counted("trunkline_log_rows", "Rows that are in a file of the prediction log")
        self.dropped = counted("trunkline_log_rows_dropped", "Scored rows that the prediction log lacks")
        self.restarts = counted("trunkline_log_writer_restarts", "Times that the log's writer ended and was replaced")
        self.waiting = Gauge(
            "trunkline_log_rows_waiting",
            "Rows that wait to be in a file of the prediction log",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.problem = Gauge(
            "trunkline_log_problem", "1 if the log cannot be written", registry=registry, multiprocess_mode="livemax"
        )


class Metrics:
    """The metrics of a worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._rolled: set[tuple[str, str, str]] = set()  # likewise
        self._shown: set[tuple[str, str, str]] = set()  # of versions long gone, each would stay for ever
        self._requests = Counter("trunkline_requests", "Requests answered", ["route", "status"], registry=self.registry)
        self._seconds = Histogram(
            "trunkline_request_seconds",
            "Time from a request's arrival to its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.rows = Counter("trunkline_rows", "Rows scored", registry=self.registry)
        self._refused = Counter("trunkline_rows_refused", "Rows refused beside others", registry=self.registry)
        self._views = Counter(
            "trunkline_online_views",
            "Views of requests that are joined, by whether they knew the entity, and late or not",
            ["view", "state"],
            registry=self.registry,
        )
        self.log = LogMetrics(self.registry)
        self.rollout = RolloutMetrics(self.registry)
        self.in_work = Gauge(
            "trunkline_requests_in_work",
            "Requests in work or waiting",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.model = Gauge(
            "trunkline_model_info",
            "1 for the model that is served",
            ["name", "version", "digest"],
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        self.problem = Gauge(
            "trunkline_delivery_problem",
            "1 if what is delivered is not served",
            registry=self.registry,
            multiprocess_mode="livemax",
        )

        self._certificate_expiry = Gauge(
            "trunkline_tls_certificate_expiry_timestamp_seconds",
            "When the certificate that is shown to clients expires, in seconds since the epoch",
            ["file"],
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        self._certificate_problem = Gauge(
            "trunkline_tls_problem",
            "1 if the files of the certificate are wrong, and what was read before is used",
            ["file"],
            registry=self.registry,
            multiprocess_mode="livemax",
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request and its time."""
        key = route, status
        if key not in self._children:  # to look them up by their labels takes as long as to count
            self._children[key] = self._requests.labels(route, status), self._seconds.labels(route)
        counter, histogram = self._children[key]
        counter.inc()
        histogram.observe(seconds)

    def scored(self, scored: Scored) -> None:
        """Count the rows of a request that is answered."""
        self.rows.inc(len(scored.scores))
        if scored.rows.refused:
            self._refused.inc(len(scored.rows.refused))
        for view in scored.views:
            self._views.labels(view.view, "missing" if view.missing else "stale" if view.stale else "fresh").inc()

    def show(self, slot: Slot) -> None:
        """Tell which model a slot serves."""
        models = ((slot.previous, 0), (slot.current, 1))
        shown = {_labels(model): value for model, value in models if model}
        for labels, value in shown.items():
            self.model.labels(*labels).set(value)
        if SHARED not in os.environ:  # of workers that count together, nothing can be taken back
            for labels in self._shown - shown.keys():
                self.model.remove(*labels)
        self._shown = set(shown)
        self.problem.set(slot.problem is not None)
        self._show_rollout(slot)

    def _show_rollout(self, slot: Slot) -> None:
        declared = slot.arms and slot.arms.declared
        for labels in self._rolled:
            self.rollout.share.labels(*labels).set(0)
        if declared:
            labels = declared.kind, declared.candidate.version, declared.candidate.digest
            self.rollout.share.labels(*labels).set(declared.share)
            self._rolled.add(labels)
        self.rollout.problem.set(slot.rollout_problem is not None)

    def show_certificate(self, certificates: "Certificates") -> None:
        """Tell when the certificate expires, and whether its files are wrong."""
        self._certificate_expiry.labels(certificates.name).set(certificates.identity.expiry)
        self._certificate_problem.labels(certificates.name).set(certificates.problem is not None)

    def text(self) -> bytes:
        """Return the metrics of all workers in Prometheus' format."""
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _labels(model: Model) -> tuple[str, str, str]:
    return model.version.name, model.version.version or "", model.version.digest
