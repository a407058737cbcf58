"""What somebody is told: rules that stay broken for long enough, those of one cause as one alert, and not too often.

A function of the findings alone, over all windows that were read: no state is kept, so that the same log gives the same
alerts whenever it is asked.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import polars as pl

from trunkline.conf.alerting import Severity
from trunkline.conf.monitoring import RULES, Action, Monitoring, Rule
from trunkline.monitor.judge import BEYOND, EXCESS, LIMIT, SERIES, VERDICT, WITHIN
from trunkline.monitor.table import HIGH, LOW, REFERENCE, ROWS, SYSTEM, VALUE, WINDOW

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
ACTIONS: tuple[Action, ...] = ("record", "alert", "issue", "retrain", "rollback")
SILENCE = "silence"  # the rule of rows that are not logged
SLACK = 2  # windows that a consequence may be seen before its cause: their bounds are different ones
BROKEN = "no retraining: what the model is given is broken; mend that first, nothing is to be learnt from it"
NOT_BETTER = "no rollback: the previous version is not known to be better on the same labelled rows"

_RANKS = {"feature": 1, "skew": 1, "system": 1, "score": 2, "estimate": 3, "outcome": 3, "calibration": 4}
_LAST = 5  # performance


@dataclass(frozen=True)
class Streak:
    """Windows in a row in which a rule is broken, of one subject and slice, as many as it asks for or more.

    `since` and `until` are the starts of the first and the last of them, `reached` that of the one from which on there
    are enough. `value` with its interval, `limit`, `reference` and `rows` are of the last one, `worst` is the value
    farthest beyond its limit. `ended`: a window without a breach has followed.
    """

    name: str
    rule: Rule
    kind: str
    subject: str
    measure: str
    slice: str
    label: str
    since: datetime
    reached: datetime
    until: datetime
    windows: int
    value: float
    limit: float
    worst: float
    excess: float
    rows: int
    ended: bool
    reference: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def where(self) -> str:
        """The rows that it is about, as people say it; nothing for all."""
        return f"{self.slice} {self.label}" if self.slice else ""

    @property
    def key(self) -> tuple[str, ...]:
        """What stays the same when it is seen again."""
        return self.name, self.subject, self.slice, self.label

    @property
    def order(self) -> tuple[Any, ...]:
        """Causes first: a broken upstream, features, scores, outcomes; the whole before slices; the earliest."""
        rank = _RANKS.get(self.kind, _LAST)
        return not self.rule.upstream, rank, bool(self.slice), self.since, -self.excess, self.key


@dataclass(frozen=True)
class Alert:
    """One cause: the streak that explains the others, its `consequences`, and when somebody is to be told of it.

    `notices` are the ends of windows after which somebody is told: the first time, when it becomes worse or more
    follows, and again after each cooldown. Without any, it was told under an earlier alert of the same cause.
    `previous_is_better` than this version, measurably and on the same labelled rows; None: that was not measured.
    `words` say what is seen where a value and its limit do not, `evidence` how the `previous` version compares, or why
    it could not be compared.
    """

    cause: Streak
    consequences: tuple[Streak, ...] = ()
    notices: tuple[datetime, ...] = field(default=())
    previous_is_better: bool | None = None
    words: str = ""
    evidence: str = ""
    previous: str | None = None

    @property
    def streaks(self) -> tuple[Streak, ...]:
        """The cause and its consequences."""
        return self.cause, *self.consequences

    @property
    def since(self) -> datetime:
        """Start of the first window of the cause."""
        return self.cause.since

    @property
    def until(self) -> datetime:
        """Start of the last window in which something of it is seen."""
        return max(each.until for each in self.streaks)

    @property
    def active(self) -> bool:
        """Whether something of it still goes on."""
        return any(not each.ended for each in self.streaks)

    @property
    def upstream(self) -> bool:
        """Whether what the model is given is broken."""
        return any(each.rule.upstream for each in self.streaks)

    @property
    def severity(self) -> Severity:
        """The worst of its streaks."""
        return max((each.rule.severity for each in self.streaks), key=SEVERITIES.index)

    @property
    def wanted(self) -> Action:
        """What follows by the rules alone."""
        return max((each.rule.then for each in self.streaks), key=ACTIONS.index)

    @property
    def then(self) -> Action:
        """What follows; an issue where it is a retraining or a rollback that is blocked."""
        return "issue" if self.blocked else self.wanted

    @property
    def blocked(self) -> str | None:
        """Why what the rules ask for is not done; None where it is."""
        if self.wanted == "retrain" and self.upstream:
            return BROKEN
        if self.wanted == "rollback" and not self.previous_is_better:
            return f"{NOT_BETTER}: {self.evidence}" if self.evidence else NOT_BETTER
        return None

    @property
    def id(self) -> str:
        """A name that stays the same while the alert goes on, for whoever keeps a list of them."""
        words = (*self.cause.key, self.since.isoformat())
        return hashlib.sha256("\x1f".join(words).encode()).hexdigest()[:12]


def alerts(findings: pl.DataFrame, monitoring: Monitoring) -> tuple[Alert, ...]:
    """Return all alerts of the windows that were read, in the order of their beginnings, causes first."""
    grouped = _grouped(streaks(findings, monitoring.judged), monitoring)
    ordered = sorted(grouped, key=lambda each: (each.since, each.cause.order))
    return tuple(_noticed(ordered, monitoring))


def silent(monitoring: Monitoring, words: str, since: datetime, until: datetime) -> Alert:
    """Return the alert of a log that has no row at all, which no window can show; `until` as of a streak."""
    rule = monitoring.judged.get(SILENCE) or Rule.model_validate(RULES[SILENCE])
    cause = Streak(
        SILENCE, rule, SYSTEM, "rows", "rate", "", "", since=since, reached=since, until=until,
        windows=(until - since) // monitoring.window + 1, rows=0, ended=False,
        value=0.0, limit=0.0, worst=0.0, excess=1.0,
    )  # fmt: skip
    return Alert(cause, notices=(until + monitoring.window,), words=words)


def streaks(findings: pl.DataFrame, rules: Mapping[str, Rule]) -> tuple[Streak, ...]:
    """Return what stays broken as long as its rule asks; windows that cannot be judged are passed over."""
    judged = findings.filter(pl.col(VERDICT).is_in([BEYOND, WITHIN]))
    broken = judged.filter(pl.col(VERDICT) == BEYOND).select(SERIES).unique()
    concerned = judged.join(broken, on=SERIES, how="semi").sort([*SERIES, WINDOW])
    series = groupby(concerned.iter_rows(named=True), key=lambda row: tuple(row[name] for name in SERIES))
    return tuple(each for key, rows in series for each in _of_series(key, list(rows), rules[key[0]]))


def _of_series(key: Sequence[str], rows: Sequence[Mapping[str, Any]], rule: Rule) -> Iterator[Streak]:
    runs = [(verdict, list(run)) for verdict, run in groupby(rows, key=lambda row: row[VERDICT])]
    for number, (verdict, run) in enumerate(runs):
        if verdict == BEYOND and len(run) >= rule.windows:
            last, worst = run[-1], max(run, key=lambda row: row[EXCESS])
            name, kind, subject, measure, slice_, label = key
            yield Streak(
                name, rule, kind, subject, measure, slice_, label,
                since=run[0][WINDOW], reached=run[rule.windows - 1][WINDOW], until=last[WINDOW], windows=len(run),
                value=last[VALUE], limit=last[LIMIT], worst=worst[VALUE], excess=worst[EXCESS], rows=last[ROWS],
                ended=number + 1 < len(runs), reference=last[REFERENCE],
                interval=None if last[LOW] is None or last[HIGH] is None else (last[LOW], last[HIGH]),
            )  # fmt: skip


def _grouped(streaks: Sequence[Streak], monitoring: Monitoring) -> Iterator[Alert]:
    """Yield an alert for each cause. What begins in its cooldown, while it lasts, is its effect."""
    left = sorted(streaks, key=lambda each: each.order)
    while left:
        cause, *others = left
        effects = [each for each in others if _explains(cause, each, monitoring)]
        yield Alert(cause, tuple(effects))
        left = [each for each in others if each not in effects]


def _explains(cause: Streak, other: Streak, monitoring: Monitoring) -> bool:
    if _family(cause) != _family(other):
        return False
    slack = SLACK * monitoring.window
    if cause.rule.upstream and cause.ended and other.until > cause.until + slack:
        return False  # what goes on once the upstream is mended was not its doing
    last = min(cause.until + slack, cause.since + max(monitoring.cooldown, slack))
    return cause.since - slack <= other.since <= last


def _family(streak: Streak) -> str:
    """Return what an effect has in common with its cause: how the server runs explains no drift, nor the other way."""
    return streak.subject if streak.kind == "system" and not streak.rule.upstream else "rows"


def _noticed(ordered: Sequence[Alert], monitoring: Monitoring) -> Iterator[Alert]:
    """Yield the alerts with the moments at which somebody is told; what comes back within the cooldown is not new."""
    last: dict[tuple[str, ...], tuple[datetime, int]] = {}
    for alert in ordered:
        notices = []
        for moment in _moments(alert, monitoring.window):
            strength = _strength(alert, moment - monitoring.window)
            before, known = last.get(alert.cause.key, (None, -1))
            if before is None or moment - before >= monitoring.cooldown or strength > known:
                notices.append(moment)
                last[alert.cause.key] = moment, strength
        yield replace(alert, notices=tuple(notices))


def _moments(alert: Alert, window: timedelta) -> Iterator[datetime]:
    """Yield the end of each window in which something of an alert is known."""
    moment = min(each.reached for each in alert.streaks)
    while moment <= alert.until:
        if _strength(alert, moment) >= 0:
            yield moment + window
        moment += window


def _strength(alert: Alert, window: datetime) -> int:
    """Return how much is known to be wrong by a window: what follows, and how bad it is; -1 for nothing."""
    known = [each.rule for each in alert.streaks if each.reached <= window <= each.until]
    return max(
        (len(SEVERITIES) * ACTIONS.index(rule.then) + SEVERITIES.index(rule.severity) for rule in known), default=-1
    )
