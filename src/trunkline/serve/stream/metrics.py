"""What Prometheus is told of a stream: messages, how many wait, how fresh what is stored is."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)


class StreamMetrics:
    """The metrics of a process; their label is the topic that is read."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.messages = Counter(
            "trunkline_stream_messages",
            "Messages that are done, by what became of them: answered, repeated (it was answered before), stored, dead",
            ["topic", "outcome"],
            registry=registry,
        )
        self.lag = Gauge("trunkline_stream_lag", "Messages that wait in the topic", ["topic"], registry=registry)
        self.problem = Gauge(
            "trunkline_stream_problem", "1 while something outside is waited for", ["topic"], registry=registry
        )
        self.success = Gauge(
            "trunkline_stream_last_success_timestamp_seconds",
            "When the topic was last read, and what was read was done",
            ["topic"],
            registry=registry,
        )
        self.seconds = Histogram(
            "trunkline_stream_batch_seconds",
            "Time from a batch's arrival until it is done",
            ["topic"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.freshness = Histogram(
            "trunkline_stream_freshness_seconds",
            "Time from an event, as its message says, until it can be read",
            ["topic"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.conflicts = Counter(
            "trunkline_stream_conflicts",
            "Rows of events that contradict what is stored",
            ["topic"],
            registry=registry,
        )


@dataclass(frozen=True)
class TopicMetrics:
    """The metrics of one topic."""

    of: StreamMetrics
    topic: str
    lag: Gauge = field(init=False)
    problem: Gauge = field(init=False)
    success: Gauge = field(init=False)
    seconds: Histogram = field(init=False)
    freshness: Histogram = field(init=False)
    conflicts: Counter = field(init=False)

    def __post_init__(self) -> None:
        for name in ("lag", "problem", "success", "seconds", "freshness", "conflicts"):
            object.__setattr__(self, name, getattr(self.of, name).labels(self.topic))
        self.success.set_to_current_time()  # how long it has had none is counted from the start

    def count(self, outcome: str, messages: int) -> None:
        """Count messages by what became of them."""
        if messages:
            self.of.messages.labels(self.topic, outcome).inc(messages)
