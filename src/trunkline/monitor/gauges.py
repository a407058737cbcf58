"""What was watched, for Prometheus: a text file that the node exporter reads, with a fixed list of names."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from trunkline.core import files
from trunkline.monitor import alerts
from trunkline.monitor.report import Report
from trunkline.monitor.table import COMPLETE, COVERAGE, HIGH, KIND, LABEL, LOW, MEASURE, ROWS, SLICE, SUBJECT, WINDOW

NAMES = {
    "trunkline_monitor_value": "What was measured of the last complete window",
    "trunkline_monitor_low": "Lower end of its interval, where it has one",
    "trunkline_monitor_high": "Upper end of its interval, where it has one",
    "trunkline_monitor_rows": "Rows, or outcomes, that it is of",
    "trunkline_monitor_coverage": "Share of the window's rows that have an outcome",
    "trunkline_monitor_rule_beyond": "Series of a rule that are beyond its bound in their last window",
    "trunkline_monitor_alert": "Alerts that go on, by severity and what follows",
    "trunkline_monitor_breach": "1 for each alert that goes on, of what explains the rest of it",
    "trunkline_monitor_window_timestamp_seconds": "Start of the last complete window",
    "trunkline_monitor_timestamp_seconds": "As of when this was measured",
}
_SERIES = [KIND, SUBJECT, MEASURE, SLICE, LABEL]
_COLUMNS = {"value": "value", LOW: LOW, HIGH: HIGH, ROWS: ROWS, COVERAGE: COVERAGE}


def write(path: Path, report: Report) -> None:
    """Replace a text file with the gauges of a report."""
    files.write_text(path, text(report))


def text(report: Report) -> str:
    """Return the gauges of a report in Prometheus' text format; equal reports give equal text."""
    registry, environment = CollectorRegistry(), report.watched.environment

    def gauge(name: str, *labels: str) -> Gauge:
        full = f"trunkline_monitor_{name}"
        return Gauge(full, NAMES[full], ("environment", *labels), registry=registry)

    complete = report.measured.table.filter(pl.col(COMPLETE) & pl.col("value").is_not_nan())
    last = complete.sort(WINDOW).group_by(_SERIES, maintain_order=True).last().sort(_SERIES)
    for name, column in _COLUMNS.items():
        each = gauge(name, *_SERIES)
        for row in last.filter(pl.col(column).is_not_null()).iter_rows(named=True):
            each.labels(environment, *(row[label] for label in _SERIES)).set(row[column])
    beyond = gauge("rule_beyond", "rule")
    for standing in report.standings:
        beyond.labels(environment, standing.rule).set(standing.beyond)
    alerts = gauge("alert", "severity", "then")
    for severity, then, count in _alerts(report):
        alerts.labels(environment, severity, then).set(count)
    breach = gauge("breach", "rule", "severity", SUBJECT, SLICE, LABEL)
    for alert in report.active:
        cause = alert.cause
        breach.labels(environment, cause.name, alert.severity, cause.subject, cause.slice, cause.label).set(1)
    if last.height:
        gauge("window_timestamp_seconds").labels(environment).set(last[WINDOW].max().timestamp())  # type: ignore[union-attr]
    gauge("timestamp_seconds").labels(environment).set(report.watched.as_of.timestamp())
    return generate_latest(registry).decode()


def _alerts(report: Report) -> Iterator[tuple[str, str, int]]:
    """Yield every severity and action with the number of alerts that go on, zeros too, so that none goes stale."""
    for severity in alerts.SEVERITIES:
        for then in alerts.ACTIONS:
            yield severity, then, sum((each.severity, each.then) == (severity, then) for each in report.active)
