"""What was watched of a model in production as one HTML file, for a browser without a network: as a review's page."""

from typing import Any

from trunkline.monitor.alerts import Alert, Streak
from trunkline.monitor.judge import BEYOND, WITHIN
from trunkline.monitor.report import Report, Standing, consequences, named, sentence
from trunkline.review import page
from trunkline.review.monitor import pictures

TEMPLATE = "monitor/page.html.j2"

_LOOKS = {"critical": "bad", "warning": "warn", "info": "none"}


def render(report: Report) -> str:
    """Return the page; equal reports give equal text."""
    active = report.active
    past = [each for each in reversed(report.alerts) if each not in active]
    moved = [each for alert in report.alerts for each in alert.streaks if each.slice]
    return page.filled(
        TEMPLATE,
        {
            "report": report,
            "watched": report.watched,
            "headline": headline(report),
            "state": "free" if not active else "blocked" if active[0].severity == "critical" else "stale",
            "sentences": [sentence(each) for each in active],
            "alerts": [_row(each) for each in (*active, *past)],
            "rules": [_standing(each) for each in report.standings],
            "metrics": [*pictures.metrics(report), *pictures.means(report)],
            "heat": [*pictures.heat(report)],
            "distributions": [*pictures.distributions(report)],
            "slices": [*pictures.slices(report)],
            "movers": [_mover(each) for each in sorted(moved, key=lambda each: (each.since, each.key))],
        },
    )


def headline(report: Report) -> str:
    """Say whether something is wrong, and what first."""
    if not report.active:
        return "nothing that lasts is beyond its bound"
    first, others = report.active[0], len(report.active) - 1
    words = f"{first.cause.name} of {named(first.cause.subject, first.cause.slice, first.cause.label)}"
    return f"{words}, and {others} more" if others else words


def _row(alert: Alert) -> dict[str, Any]:
    cause = alert.cause
    return {
        "look": _LOOKS[alert.severity] if alert.active else "none",
        "severity": alert.severity if alert.active else f"ended ({alert.severity})",
        "rule": cause.name,
        "of": named(cause.subject, cause.slice, cause.label),
        "since": f"{alert.since:%Y-%m-%d %H:%M} to {alert.until:%Y-%m-%d %H:%M}",
        "value": number(cause.value),
        "limit": number(cause.limit),
        "rows": f"{cause.rows:,}",
        "then": f"{alert.then}, instead of {alert.wanted}" if alert.blocked else alert.then,
        "consequences": consequences(alert),
    }


def _standing(standing: Standing) -> dict[str, str]:
    finding = standing.finding or {}
    look = {BEYOND: "bad", WITHIN: "good"}.get(standing.verdict, "none")
    return {
        "look": look,
        "verdict": standing.verdict,
        "rule": standing.rule,
        "of": standing.where,
        "value": number(finding.get("value")),
        "limit": number(finding.get("limit")),
        "rows": f"{finding['rows']:,}" if finding else "",
        "beyond": f"{standing.beyond} of {standing.series}" if standing.series else "",
    }


def _mover(streak: Streak) -> dict[str, str]:
    return {
        "slice": streak.where,
        "rule": streak.name,
        "since": f"{streak.since:%Y-%m-%d %H:%M}",
        "until": "" if not streak.ended else f"{streak.until:%Y-%m-%d %H:%M}",
        "value": number(streak.value),
        "limit": number(streak.limit),
        "rows": f"{streak.rows:,}",
    }


def number(value: float | None) -> str:
    """Return a number as people read it, nothing for None."""
    return "" if value is None else f"{value:.4g}"
