"""What the reconciler and the monitor tell Prometheus, by their own code, in good days and bad."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tests.monitor import tables
from trunkline.conf.monitoring import OF_METRICS, Monitoring, Rule
from trunkline.deploy.reconcile.gauges import Gauges
from trunkline.deploy.reconcile.state import Outcome, State
from trunkline.monitor import gauges, table
from trunkline.monitor.measure import Measured
from trunkline.monitor.report import Report, Watched

METRIC = "roc_auc"
DAYS = 8


def reconciled(folder: Path, *rounds: tuple[State, int], ago: float = 0) -> str:
    """Return what the reconciler tells after rounds, each with the state of production and its exit code."""
    here = Gauges()
    for state, code in rounds:
        outcome = Outcome("production", "v2", "v2", "v1", state, (), code)
        here.tell([outcome], ["deliver"], code, 0.5, time.time() - ago)
    here.write(folder / "reconcile.prom")
    return (folder / "reconcile.prom").read_text(encoding="utf-8")


def monitored(*rows: Any, ago: timedelta = timedelta(0), monitoring: Monitoring | None = None) -> str:
    """Return what the monitor tells of measured windows."""
    measured = Measured(
        tables.of(*rows), pl.DataFrame(schema=table.COUNTS), pl.DataFrame(schema=table.REFERENCE_COUNTS), ()
    )
    watched = Watched("production", "v1", "0" * 64, tables.day(0), datetime.now(UTC) - ago)
    return gauges.text(Report(watched, monitoring or Monitoring.parse({}), measured, METRIC))


def quiet(ago: timedelta = timedelta(0)) -> str:
    """Return what it tells where nothing is wrong."""
    scores = {"kind": "score", "subject": "score"}
    return monitored(
        tables.days([0.01] * DAYS), tables.days([0.01] * DAYS, **scores), tables.performance([0.70] * DAYS), ago=ago
    )


def broken(rule: Rule) -> str:
    """Return what it tells where one rule is broken, of one subject, after days that were in order."""
    metric = rule.of in OF_METRICS
    kind, bound = rule.bound
    usual = 0.7 if metric else 1.0 if kind in ("off_reference", "below_share") else 0.0
    value = 0.3 if metric else 0.0 if kind == "below_share" else usual + bound + 0.3
    measured = {
        "kind": rule.of,
        "subject": METRIC if metric else rule.subject or "score",
        "measure": "value" if metric else rule.measure,
        "reference": usual,
        "coverage": 1.0,
    }
    rows = tables.days([usual] * DAYS + [value] * rule.windows, **measured)
    return monitored([each | {"low": each["value"] - 0.01, "high": each["value"] + 0.01} for each in rows])
