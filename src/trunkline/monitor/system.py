"""How the service does, by what the log has of it: latency, throughput, refusals, errors, and how old things are."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from trunkline.monitor.buckets import Buckets
from trunkline.monitor.rows import LATENCY
from trunkline.serve.log import TIME
from trunkline.serve.prediction_log.segments import PREDICTION_TIME, PROBLEM, ROW

QUANTILES = {"p50": 0.5, "p99": 0.99}

Row = tuple[str, str, float, int]  # subject, measure, value, rows


@dataclass
class System:
    """A window's rows: all, those that begin a request, those with a problem; and seconds of requests and features."""

    rows: int = 0
    requests: int = 0
    refusals: int = 0
    errors: int = 0
    latency: Buckets = field(default_factory=Buckets)
    feature_age: Buckets = field(default_factory=Buckets)

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows of the window, with or without a problem.

        A request is counted by its row 0, so one that was refused as a whole for another row is not.
        """
        first, problem = pl.col(ROW) == 0, pl.col(PROBLEM)
        refused = problem.str.starts_with("refused")
        counted = rows.select(first.sum().alias("first"), refused.sum().alias("refused"), problem.count())
        requests, refusals, problems = counted.row(0)
        self.rows += rows.height
        self.requests += requests
        self.refusals += refusals
        self.errors += problems - refusals
        seconds = rows[LATENCY] if requests == rows.height else rows.filter(first)[LATENCY]
        self.latency.add(seconds.drop_nulls().to_numpy())
        if rows[PREDICTION_TIME].null_count() < rows.height:
            age = (rows[TIME] - rows[PREDICTION_TIME]).drop_nulls().dt.total_microseconds() / 1e6
            self.feature_age.add(age.clip(0).to_numpy())

    def merge(self, other: "System") -> None:
        """Add what another has of rows of the window."""
        self.rows += other.rows
        self.requests += other.requests
        self.refusals += other.refusals
        self.errors += other.errors
        self.latency.merge(other.latency)
        self.feature_age.merge(other.feature_age)

    def measured(self, start: datetime, end: datetime, released: datetime | None) -> Iterator[Row]:
        """Yield each measure of the window, which ends at `end`: seconds, a second, or shares of rows."""
        seconds = (end - start) / timedelta(seconds=1)
        yield "requests", "rate", self.requests / seconds, self.requests
        yield "rows", "rate", self.rows / seconds, self.rows
        if self.rows:
            yield "refusals", "share", self.refusals / self.rows, self.rows
            yield "errors", "share", self.errors / self.rows, self.rows
        for subject, buckets in (("latency", self.latency), ("feature_age", self.feature_age)):
            if len(buckets.codes):
                values = buckets.quantiles(list(QUANTILES.values())).tolist()
                count = int(buckets.counts.sum())
                yield from ((subject, name, value, count) for name, value in zip(QUANTILES, values, strict=True))
        if released is not None:
            yield "model_age", "seconds", (end - released) / timedelta(seconds=1), self.rows
