"""conf/monitoring as rules of Prometheus: what is watched of servers and streams, and what the monitor tells.

Keys are those of Prometheus (prometheus.io/docs/prometheus/latest/configuration/alerting_rules).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import yaml

from trunkline.conf import alerting
from trunkline.conf.alerting import Alerting, Severity
from trunkline.conf.monitoring import Monitoring, Rule
from trunkline.monitor.render import promql, texts
from trunkline.monitor.render.promql import SERVER, TOPIC
from trunkline.monitor.render.texts import TEXTS, Text

PREFIX = "Trunkline"
DOWN = f"{PREFIX}Down"
PART, CAUSE = "part", "cause"  # labels by which Alertmanager knows what explains what
WRITTEN = "# Written by `trunkline render monitoring` of conf/monitoring: change that, and write it again.\n"


@dataclass(frozen=True)
class Alert:
    """A rule of Prometheus; `heading` is that of the runbook, and without a severity it is that of the series."""

    name: str
    part: str
    heading: str
    expression: str
    lasts: timedelta
    severity: Severity | None
    text: Text
    cause: str | None = None


def render(monitoring: Monitoring) -> str:
    """Return the text of a file of rules (YAML), which Prometheus' `rule_files` names."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for alert in alerts(monitoring):
        groups.setdefault(f"trunkline-{alert.part}", []).append(_content(alert, monitoring.alerting.runbooks))
    content = {"groups": [{"name": name, "rules": rules} for name, rules in groups.items()]}
    return WRITTEN + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def alerts(monitoring: Monitoring) -> Iterator[Alert]:
    """Yield every alert that is declared: of servers, streams, the reconciler and the monitor, in this order."""
    declared = monitoring.alerting
    for name, (part, expression) in _WATCHED.items():
        rule = getattr(declared.rules, name)
        if rule is not None:
            text, query = TEXTS[name], expression(rule, declared)
            yield Alert(_camel(name), part, name, query, rule.for_, rule.severity, text)
    for name, rule in monitoring.judged.items():
        if rule.then != "record":
            yield _breach(name, rule)


def _content(alert: Alert, runbooks: str | None) -> dict[str, Any]:
    labels = {"severity": alert.severity, PART: alert.part, CAUSE: alert.cause}
    page = {"runbook_url": f"{runbooks}#{alert.heading}"} if runbooks else {"runbook": _heading(alert.heading)}
    return {
        "alert": alert.name,
        "expr": alert.expression,
        **({"for": promql.duration(alert.lasts)} if alert.lasts else {}),
        "labels": {label: value for label, value in labels.items() if value},
        "annotations": {"summary": alert.text.summary, "description": alert.text.description, **page},
    }


def _heading(name: str) -> str:
    return f"docs/alerting.md of the framework, under {name}"


def _camel(name: str) -> str:
    return PREFIX + "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _breach(name: str, rule: Rule) -> Alert:
    """Return the alert that tells a breach of a rule of the monitor, which has judged sample and persistence itself."""
    cause = "upstream" if rule.upstream else None if rule.of == "system" else "drift"
    kind, bound = rule.bound
    meaning = f"The rule {name} ({rule.measure or 'metric'} of {rule.of}, {kind} {bound:g}) is broken."
    advice = texts.UPSTREAM if rule.upstream else texts.FOLLOWS[rule.then]
    description = texts.BREACH.description.format(
        meaning=meaning, advice=advice, environment="{{ or $labels.environment `production` }}"
    )
    query = promql.selector("trunkline_monitor_breach", f"rule={promql.quoted(name)}") + " > 0"
    text = Text(texts.BREACH.summary, description)
    return Alert(_camel(f"monitor_{name}"), "monitor", "monitor", query, timedelta(0), None, text, cause)


def _share(part: str, whole: str, above: float, count: str, least: int) -> str:
    return f"{part} / {whole} > {above:g} and {count} >= {least}"


def _requests(declared: Alerting, part: str, above: float, least: int) -> str:
    over = promql.duration(declared.over)
    count = promql.increase("trunkline_requests_total", over, SERVER, f'route=~"{promql.SCORING}"')
    return _share(promql.requests(over, SERVER, part), promql.requests(over, SERVER), above, count, least)


def _down(rule: alerting.Down, declared: Alerting) -> str:
    up = promql.selector("up", f"job={promql.quoted(declared.job)}")
    return f"{up} == 0 or absent({up})"


def _errors(rule: alerting.Errors, declared: Alerting) -> str:
    return _requests(declared, promql.FAILED, rule.above, rule.requests)


def _refused_requests(rule: alerting.RefusedRequests, declared: Alerting) -> str:
    return _requests(declared, promql.REFUSED, rule.above, rule.requests)


def _latency(rule: alerting.Latency, declared: Alerting) -> str:
    over = promql.duration(declared.over)
    count = promql.increase("trunkline_requests_total", over, SERVER, f'route=~"{promql.SCORING}"')
    return f"{promql.quantile(f'{rule.quantile:g}', over, SERVER)} > {rule.above:g} and {count} >= {rule.requests}"


def _refused_rows(rule: alerting.RefusedRows, declared: Alerting) -> str:
    over = promql.duration(declared.over)
    refused, scored = (promql.rate(f"trunkline_{name}_total", over, SERVER) for name in ("rows_refused", "rows"))
    counted = (promql.increase(f"trunkline_{name}_total", over, SERVER) for name in ("rows_refused", "rows"))
    return _share(refused, f"({refused} + {scored})", rule.above, f"({' + '.join(counted)})", rule.rows)


def _log_dropped(rule: alerting.LogDropped, declared: Alerting) -> str:
    over = promql.duration(declared.over)
    return f"{promql.increase('trunkline_log_rows_dropped_total', over, SERVER)} > {rule.above}"


def _views(declared: Alerting, state: str, above: float, least: int) -> str:
    over, by, views = promql.duration(declared.over), (*SERVER, "view"), "trunkline_online_views_total"
    part, whole = promql.rate(views, over, by, f"state={promql.quoted(state)}"), promql.rate(views, over, by)
    return _share(part, whole, above, promql.increase(views, over, by), least)


def _features_late(rule: alerting.FeaturesLate, declared: Alerting) -> str:
    return _views(declared, "stale", rule.above, rule.requests)


def _features_missing(rule: alerting.FeaturesMissing, declared: Alerting) -> str:
    return _views(declared, "missing", rule.above, rule.requests)


def _certificate_expiry(rule: alerting.CertificateExpiry, declared: Alerting) -> str:
    return f"trunkline_tls_certificate_expiry_timestamp_seconds - time() < {rule.before.total_seconds():.0f}"


def _stream_lag(rule: alerting.StreamLag, declared: Alerting) -> str:
    waiting = promql.waiting(promql.duration(declared.over), TOPIC)
    return f"{waiting} > {rule.above.total_seconds():.0f} < Inf"  # where none is done, it is stalled


def _stream_dead_letters(rule: alerting.StreamDeadLetters, declared: Alerting) -> str:
    over, messages = promql.duration(declared.over), "trunkline_stream_messages_total"
    dead, done = promql.rate(messages, over, TOPIC, promql.DEAD), promql.rate(messages, over, TOPIC)
    return _share(dead, done, rule.above, promql.increase(messages, over, TOPIC), rule.messages)


def _out_of_sync(rule: alerting.OutOfSync, declared: Alerting) -> str:
    return 'sum by (environment) (trunkline_environment_state{state!="in-sync"}) > 0'


def _later(metric: str) -> Callable[[Any, Alerting], str]:
    return lambda rule, _: f"time() - {metric} > {rule.after.total_seconds():.0f}"


def _problem(gauge: str) -> Callable[[Any, Alerting], str]:
    return lambda *_: f"trunkline_{gauge} > 0"


_WATCHED: dict[str, tuple[str, Callable[[Any, Alerting], str]]] = {
    "down": ("server", _down),
    "errors": ("server", _errors),
    "latency": ("server", _latency),
    "refused_requests": ("server", _refused_requests),
    "refused_rows": ("server", _refused_rows),
    "log_dropped": ("server", _log_dropped),
    "log_problem": ("server", _problem("log_problem")),
    "delivery_problem": ("server", _problem("delivery_problem")),
    "rollout_problem": ("server", _problem("rollout_problem")),
    "certificate_expiry": ("server", _certificate_expiry),
    "certificate_problem": ("server", _problem("tls_problem")),
    "features_late": ("server", _features_late),
    "features_missing": ("server", _features_missing),
    "stream_lag": ("stream", _stream_lag),
    "stream_dead_letters": ("stream", _stream_dead_letters),
    "stream_stalled": ("stream", _later("trunkline_stream_last_success_timestamp_seconds")),
    "out_of_sync": ("reconcile", _out_of_sync),
    "reconcile_failing": ("reconcile", lambda *_: "trunkline_reconcile_exit_code >= 2"),
    "reconcile_late": ("reconcile", _later("trunkline_reconcile_last_success_timestamp_seconds")),
    "monitor_late": ("monitor", _later("trunkline_monitor_timestamp_seconds")),
}
