"""Why a model is to learn from newer rows, and what forbids it: nothing is learnt from rows that are broken. Pure."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from trunkline.conf.data import Windows
from trunkline.core.values import duration_text
from trunkline.monitor import notice
from trunkline.monitor import report as monitor_report
from trunkline.monitor.alerts import Alert
from trunkline.monitor.report import Report
from trunkline.show.markdown import plain, text

REASON = 2_000  # characters of a person's


@dataclass(frozen=True)
class Cause:
    """A cause: what it is known by when it is seen again, a sentence in Markdown, and the same for a commit."""

    key: str
    words: str
    plain: str


def broken(report: Report | None) -> str | None:
    """Return why nothing must be learnt now, and what to mend; None where what the model is given is in order."""
    alert = next((each for each in report.active if each.upstream), None) if report else None
    if alert is None:
        return None
    cause = next(each for each in alert.streaks if each.rule.upstream)
    size = alert.words or f"{alert.cause.measure} is {alert.cause.value:.3g}, limit {alert.cause.limit:.3g}"
    where = monitor_report.named(cause.subject, cause.slice, cause.label)
    return (
        f"no retraining: what the model is given is broken: {cause.name} of {where} since "
        f"{cause.since:%Y-%m-%d %H:%M} UTC: {size}; mend what feeds {cause.subject} first, and the pipeline's "
        "sources too if it has reached them; the alert then ends by itself"
    )


def asking(report: Report | None) -> tuple[Alert, ...]:
    """Return the alerts that go on and that ask for a retraining."""
    return tuple(alert for alert in report.active if alert.then == "retrain") if report else ()


def of_alerts(alerts: Iterable[Alert]) -> tuple[Cause, ...]:
    """Return what alerts say."""
    return tuple(Cause(each.id, _sentence(each), _short(each)) for each in alerts)


def of_schedule(every: timedelta | None, declared: Windows | None, newest: Windows | None) -> tuple[Cause, ...]:
    """Return that a schedule has come; nothing where there is none, or it has not."""
    if every is None or declared is None or newest is None:
        return ()
    later = newest.holdout.end - declared.holdout.end
    if later < every:
        return ()
    words = (
        f"By schedule, every {duration_text(every)}: all outcomes are known of {later.days} days after the declared "
        "holdout."
    )
    return (Cause(_key("schedule"), words, words),)


def of_person(because: str | None) -> tuple[Cause, ...]:
    """Return what a person says."""
    if because is None:
        return ()
    return (
        Cause(_key("person", because), f"Asked for: {text(because, REASON)}", f"Asked for: {plain(because, REASON)}"),
    )


def listed(causes: tuple[Cause, ...], before: str = "") -> str:
    """Return causes as a list in Markdown, with those that an earlier text of the same pull request has."""
    now = {cause.key: f"- {cause.words} <!-- trunkline:cause {cause.key} -->" for cause in causes}
    return "\n".join((dict(_earlier(before)) | now).values())


def _earlier(body: str) -> Iterator[tuple[str, str]]:
    """Yield the causes that a text lists, by their keys."""
    for line in body.replace("\r\n", "\n").split("\n"):
        _, begin, key = line.partition("<!-- trunkline:cause ")
        if line.startswith("- ") and begin and key.endswith(" -->"):
            yield key.removesuffix(" -->"), line


def _sentence(alert: Alert) -> str:
    """Say an alert as its issue does: no value of a row, such as an airport, is in a pull request either."""
    interval = alert.cause.interval
    span = "" if interval is None else f" ({interval[0]:.3g} to {interval[1]:.3g})"
    effects = notice.consequences(alert)
    with_it = f"; with it: {effects}" if effects else ""
    return f"{notice.what(alert)}{span}; since {notice.since(alert)}{with_it}."


def _short(alert: Alert) -> str:
    return plain(f"{alert.cause.name} of {alert.cause.subject} since {alert.since:%Y-%m-%d %H:%M} UTC.", REASON)


def _key(*words: str) -> str:
    return hashlib.sha256("\x1f".join(words).encode()).hexdigest()[:12]
