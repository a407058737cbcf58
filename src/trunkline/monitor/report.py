"""All that a look at a model in production has found: what was measured, what the rules say of it, and the alerts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

import polars as pl

from trunkline.conf.monitoring import Monitoring
from trunkline.monitor import alerts, judge, rows
from trunkline.monitor.alerts import Alert, Streak
from trunkline.monitor.judge import BEYOND, EXCESS, RULE, SERIES, VERDICT, WITHIN
from trunkline.monitor.measure import Measured
from trunkline.monitor.table import LABEL, ROWS, SLICE, SUBJECT, VALUE, WINDOW

Answer = Literal["quiet", "breach"]

_MOST = 6  # consequences that a sentence lists
NOT_MEASURED = "not measured"
_WHY = {
    judge.OPEN: "its windows are not complete",
    judge.FEW: "too few rows or outcomes",
    judge.UNKNOWN: "no value, or no reference to compare with",
}


@dataclass(frozen=True)
class Watched:
    """What is looked at: an environment's version, None where a bundle was named instead, and as of which moment.

    `released`: when the version was.
    """

    environment: str
    version: str | None
    digest: str
    since: datetime
    as_of: datetime
    released: datetime | None = None


@dataclass(frozen=True)
class Standing:
    """How a rule stands in the last window that can be judged of each of its series.

    `verdict` is beyond, within, or why neither; `finding` the one that is farthest beyond, or nearest to the limit.
    """

    rule: str
    verdict: str
    beyond: int
    series: int
    finding: Mapping[str, Any] | None = None

    @property
    def where(self) -> str:
        """What the finding is of, as people say it."""
        return "" if self.finding is None else named(self.finding[SUBJECT], self.finding[SLICE], self.finding[LABEL])


@dataclass(frozen=True)
class Rival:
    """Whether the version that ran before is better, in words how, and which it is, None where it is not known."""

    better: bool
    words: str
    version: str | None = None


@dataclass(frozen=True)
class Report:
    """What was watched, measured and judged; all else follows from these. `metric` is that of rules without one.

    `rivals` says of alerts that ask for a rollback, by their ids, how the previous version compares.
    """

    watched: Watched
    monitoring: Monitoring
    measured: Measured
    metric: str | None = None
    rivals: Mapping[str, Rival] = field(default_factory=dict)

    @cached_property
    def findings(self) -> pl.DataFrame:
        """What each rule says of each window."""
        return judge.findings(self.measured.table, self.monitoring.judged, self.metric)

    @cached_property
    def alerts(self) -> tuple[Alert, ...]:
        """All alerts of the windows that were read; without a row, the one that says so."""
        if not self.windows:
            return (self._silent(),)
        return tuple(map(self._with_rival, alerts.alerts(self.findings, self.monitoring)))

    def _with_rival(self, alert: Alert) -> Alert:
        rival = self.rivals.get(alert.id)
        if rival is None:
            return alert
        return replace(alert, previous_is_better=rival.better, evidence=rival.words, previous=rival.version)

    def _silent(self) -> Alert:
        window, looked_at = self.monitoring.window, self.watched
        last = rows.begin(looked_at.as_of, window) - window  # the last one that is over
        since = rows.begin(looked_at.released or looked_at.since, window)
        return alerts.silent(self.monitoring, self._nothing, min(since, last), last)

    @property
    def _nothing(self) -> str:
        looked_at = self.watched
        others = (
            "the log has rows of other bundles or environments only" if self.measured.logged else "nothing is logged"
        )
        return (
            f"{looked_at.environment} has logged no row of {looked_at.digest[:12]} since {looked_at.since:%Y-%m-%d}: "
            f"{others}; is it the bundle that serves?"
        )

    @property
    def active(self) -> tuple[Alert, ...]:
        """The alerts that still go on, the worst first."""
        active = (each for each in self.alerts if each.active and each.wanted != "record")
        return tuple(sorted(active, key=lambda each: -alerts.SEVERITIES.index(each.severity)))

    @property
    def windows(self) -> int:
        """How many windows have rows."""
        return self.measured.table.filter(pl.col(ROWS) > 0)[WINDOW].n_unique()

    @property
    def answer(self) -> Answer:
        """`breach` where something goes on that somebody has to be told of, and where there is nothing to look at."""
        return "breach" if self.active or not self.windows else "quiet"

    @cached_property
    def standings(self) -> tuple[Standing, ...]:
        """How each rule stands: those beyond their bounds first, those that cannot be judged last."""
        of = self.findings.partition_by(RULE, as_dict=True)
        standings = (_standing(name, of.get((name,))) for name in self.monitoring.judged)
        return tuple(sorted(standings, key=lambda each: (each.verdict != BEYOND, each.verdict != WITHIN)))

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """What could not be measured, a line each, and why."""
        if self.windows:
            return self.measured.unmeasured
        return (f"anything: {self._nothing}",)


def named(subject: str, slice_: str, label: str) -> str:
    """Return what something is of, as people say it."""
    return f"{subject} where {slice_} is {label}" if slice_ else subject


def _standing(rule: str, findings: pl.DataFrame | None) -> Standing:
    if findings is None:
        return Standing(rule, NOT_MEASURED, 0, 0)
    judged = findings.filter(pl.col(VERDICT).is_in([BEYOND, WITHIN]))
    if judged.is_empty():
        last = findings.sort(WINDOW)[VERDICT].to_list()
        reason = next((each for each in reversed(last) if each != judge.OPEN), judge.OPEN)
        return Standing(rule, _WHY[reason], 0, findings.select(SERIES).n_unique())
    last_of_each = judged.sort(WINDOW).group_by(SERIES, maintain_order=True).last()
    beyond = last_of_each.filter(pl.col(VERDICT) == BEYOND).sort([EXCESS, *SERIES], descending=[True] + [False] * 6)
    nearest = last_of_each.sort([EXCESS, *SERIES])
    first = (beyond if beyond.height else nearest).row(0, named=True)
    return Standing(rule, BEYOND if beyond.height else WITHIN, beyond.height, last_of_each.height, first)


def sentence(alert: Alert) -> str:
    """Say an alert in one line: what, since when, how large, and what follows."""
    cause = alert.cause
    goes_on = "goes on" if alert.active else f"until {cause.until:%Y-%m-%d %H:%M}"
    size = alert.words or f"{cause.measure} is {cause.value:.3g}, limit {cause.limit:.3g}"
    parts = [
        f"{cause.name} of {named(cause.subject, cause.slice, cause.label)}: {size}",
        f"since {cause.since:%Y-%m-%d %H:%M} UTC, {goes_on}, {cause.windows} windows, {cause.rows:,} rows in the last",
    ]
    with_it = consequences(alert)
    if with_it:
        more = f" and {len(with_it) - _MOST} more" if len(with_it) > _MOST else ""
        parts.append(f"with it: {', '.join(with_it[:_MOST])}{more}")
    evidence = f": {alert.evidence}" if alert.evidence else ""
    parts.append(alert.blocked or f"then: {alert.then}{evidence}")
    return f"{alert.severity}: {'; '.join(parts)}"


def consequences(alert: Alert) -> list[str]:
    """Return what is seen with a cause, each once: the rule, and what it is of."""
    of = (f"{each.name} of {named(each.subject, each.slice, each.label)}" for each in alert.consequences)
    cause = alert.cause
    own = f"{cause.name} of {named(cause.subject, cause.slice, cause.label)}"
    return [each for each in dict.fromkeys(of) if each != own]


def content(report: Report) -> dict[str, Any]:
    """Return the report as JSON has it: monitoring.json."""
    watched = report.watched
    return {
        "alerts": [_alert(each) for each in report.alerts],
        "answer": report.answer,
        "as_of": watched.as_of.isoformat(),
        "digest": watched.digest,
        "environment": watched.environment,
        "rules": [_rule(each) for each in report.standings],
        "since": watched.since.isoformat(),
        "table": _plain(report.measured.table),
        "unmeasured": list(report.unmeasured),
        "version": watched.version,
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "active": alert.active,
        "blocked": alert.blocked,
        "cause": _streak(alert.cause),
        "consequences": [_streak(each) for each in alert.consequences],
        "evidence": alert.evidence or None,
        "id": alert.id,
        "severity": alert.severity,
        "since": alert.since.isoformat(),
        "then": alert.then,
        "notices": [moment.isoformat() for moment in alert.notices],
        "until": alert.until.isoformat(),
        "upstream": alert.upstream,
    }


def _streak(streak: Streak) -> dict[str, Any]:
    return {
        "ended": streak.ended,
        "interval": streak.interval,
        "kind": streak.kind,
        "label": streak.label or None,
        "limit": streak.limit,
        "measure": streak.measure,
        "reference": streak.reference,
        "rows": streak.rows,
        "rule": streak.name,
        "since": streak.since.isoformat(),
        "slice": streak.slice or None,
        "subject": streak.subject,
        "until": streak.until.isoformat(),
        "value": streak.value,
        "windows": streak.windows,
        "worst": streak.worst,
    }


def _rule(standing: Standing) -> dict[str, Any]:
    finding = standing.finding or {}
    return {
        "beyond": standing.beyond,
        "limit": finding.get(judge.LIMIT),
        "nearest": standing.where or None,
        "rule": standing.rule,
        "series": standing.series,
        "value": finding.get(VALUE),
        "verdict": standing.verdict,
    }


def _plain(table: pl.DataFrame) -> list[dict[str, Any]]:
    return table.with_columns(pl.col(WINDOW).dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_dicts()
