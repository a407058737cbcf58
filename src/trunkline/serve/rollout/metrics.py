"""What Prometheus is told of a rollout: the rows of each arm, and how long its model took."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from trunkline.serve.model import Scored
from trunkline.serve.rollout.parts import REFUSED

_SECONDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class RolloutMetrics:
    """What became of rows while a rollout runs, by arm: current, canary or shadow."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counted(name: str, words: str) -> Counter:
            return Counter(f"trunkline_arm_{name}", words, ["arm"], registry=registry)

        self._rows = counted("rows", "Rows scored while a rollout runs")
        self._refused = counted("rows_refused", "Rows that the arm's contract refused while a rollout runs")
        self._failed = counted("rows_failed", "Rows that the arm failed on while a rollout runs")
        self._seconds = Histogram(
            "trunkline_arm_scoring_seconds",
            "Time that the arm's model took for the rows of a request",
            ["arm"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.dropped = Counter(
            "trunkline_shadow_rows_dropped",
            "Rows that the candidate was to score beside, and did not",
            registry=registry,
        )
        self.share = Gauge(
            "trunkline_rollout_share",
            "Percentage of rows that the candidate is given; 0 for one that is gone",
            ["kind", "version", "digest"],
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.problem = Gauge(
            "trunkline_rollout_problem",
            "1 if the declared candidate is not loaded",
            registry=registry,
            multiprocess_mode="livemax",
        )

    def count(self, parts: Sequence[Scored]) -> None:
        """Count the rows of a request, of one arm or of two."""
        for part in parts:
            arm = str(part.arm)
            refused = sum(problem.startswith(REFUSED) for problem in part.problems.values())
            self._rows.labels(arm).inc(len(part.scores))
            self._refused.labels(arm).inc(refused)
            self._failed.labels(arm).inc(len(part.problems) - refused)
            if part.scoring is not None:
                self._seconds.labels(arm).observe(part.scoring)
