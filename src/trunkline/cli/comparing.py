"""What `trunkline monitor` finds of the version before, where an alert asks for a rollback."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trunkline.monitor.alerts import Alert
    from trunkline.monitor.measure import Plan, Source
    from trunkline.monitor.report import Report, Rival
    from trunkline.monitor.rival import Previous


def compared(report: "Report", source: "Source", plan: "Plan", previous: "Callable[[Path], Previous]") -> "Report":
    """Return the report with the comparison of each alert that goes on and asks for a rollback, or why there is none.

    `previous` brings the version before into a folder; it raises UserError or OutsideError where it cannot.
    """
    import tempfile

    from trunkline.core.errors import OutsideError, UserError
    from trunkline.monitor.report import Rival

    wanted = [alert for alert in report.active if alert.wanted == "rollback"]
    if not wanted:
        return report
    with tempfile.TemporaryDirectory(prefix="trunkline-") as aside:
        try:
            before = previous(Path(aside))
        except (UserError, OutsideError) as error:
            unknown = Rival(better=False, words=f"it cannot be compared: {error}")
            return replace(report, rivals={alert.id: unknown for alert in wanted})
        return replace(report, rivals={alert.id: _rival(report, alert, source, plan, before) for alert in wanted})


def _rival(report: "Report", alert: "Alert", source: "Source", plan: "Plan", before: "Previous") -> "Rival":
    from trunkline.conf.monitoring import OF_METRICS
    from trunkline.core.errors import UserError
    from trunkline.monitor import rival
    from trunkline.monitor.report import Rival

    rule = next(each.rule for each in alert.streaks if each.rule.then == "rollback")
    metric = (rule.measure if rule.of in OF_METRICS else None) or report.metric or ""
    try:
        measured = rival.compared(source, replace(plan, since=alert.since), before, rule, metric)
    except UserError as error:
        return Rival(better=False, words=f"{before.version} cannot be compared: {error}", version=before.version)
    return Rival(measured.better, measured.words, before.version)
