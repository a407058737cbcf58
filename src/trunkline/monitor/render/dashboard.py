"""A dashboard of Grafana 10 or later over what servers, streams, reconciler and monitor tell Prometheus, as JSON.

A row for each question. The keys are those of the dashboard's JSON model (grafana.com/docs/grafana/latest/dashboards).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trunkline.conf.monitoring import Monitoring
from trunkline.core import files
from trunkline.monitor.render import promql

_SCHEMA = 39  # of Grafana 11, which 10 reads as well
_COLUMNS, _HEIGHT = 24, 8
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_OVER = "$__rate_interval"
_HERE = ('environment=~"$environment"',)
_BY: tuple[str, ...] = ("instance",)


@dataclass(frozen=True)
class Query:
    """What is asked, and how its series are called."""

    expression: str
    legend: str = "{{instance}}"


@dataclass(frozen=True)
class Panel:
    """A picture; a `stat` shows the last value, in red from `red` on."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: str = "timeseries"
    red: float | None = None
    width: int = 8


def render(monitoring: Monitoring) -> str:
    """Return the JSON of the dashboard, as Grafana's import and its provisioning read it."""
    content = {
        "title": "Trunkline",
        "uid": "trunkline",
        "tags": ["trunkline"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": _variables(monitoring.alerting.job)},
        "panels": list(_placed(rows(monitoring))),
    }
    return files.canonical_json(content)


def rows(monitoring: Monitoring) -> dict[str, tuple[Panel, ...]]:
    """Return the panels of each row, by the row's title."""
    return {
        "Is it healthy": _health(monitoring),
        "Traffic and latency": _traffic(monitoring),
        "Model and rollout": _model(),
        "Prediction log": _log(),
        "Features": _features(),
        "Streams": _streams(),
        "Monitor": _monitor(),
    }


def _health(monitoring: Monitoring) -> tuple[Panel, ...]:
    job = f"job={promql.quoted(monitoring.alerting.job)}"
    problems = {"delivery": "delivery_problem", "log": "log_problem", "certificate": "tls_problem"}
    return (
        Panel("Servers that answer", (Query(f"sum({_select('up', job)})", ""),), kind="stat", width=4),
        Panel("Servers that do not", (Query(f"sum(1 - {_select('up', job)})", ""),), kind="stat", red=1, width=4),
        Panel(
            "Alerts",
            (Query('sum by (severity, alertname) (ALERTS{alertname=~"Trunkline.*",alertstate="firing"})',
                   "{{severity}}: {{alertname}}"),),
            width=8,
        ),
        Panel(
            "Problems",
            tuple(Query(f"max({_select(f'trunkline_{gauge}')})", name) for name, gauge in problems.items()),
            kind="stat", red=1,
        ),
        Panel(
            "Environments in sync",
            (Query('max by (environment, state) (trunkline_environment_state{environment=~"$environment"} == 1)',
                   "{{environment}}: {{state}}"),),
        ),
        Panel(
            "Since reconcile ran through",
            (Query("time() - trunkline_reconcile_last_success_timestamp_seconds", "{{instance}}"),), "s",
        ),
        Panel(
            "Until the certificate expires",
            (Query(f"{_select('trunkline_tls_certificate_expiry_timestamp_seconds')} - time()", "{{file}}"),), "s",
        ),
    )  # fmt: skip


def _traffic(monitoring: Monitoring) -> tuple[Panel, ...]:
    quantiles = sorted({0.5, 0.99, *(rule.quantile for rule in [monitoring.alerting.rules.latency] if rule)})
    by_status = promql.requests(_OVER, ("status",), *_HERE)
    failed = promql.requests(_OVER, _BY, *_HERE, promql.FAILED)
    return (
        Panel("Requests a second, by status", (Query(by_status, "{{status}}"),), "reqps"),
        Panel("Answered 5xx", (Query(f"{failed} / {promql.requests(_OVER, _BY, *_HERE)}"),), "percentunit"),
        Panel(
            "Time to the answer",
            tuple(Query(promql.quantile(f"{q:g}", _OVER, (), *_HERE), f"{100 * q:g} %") for q in quantiles),
            "s",
        ),
        Panel("Rows a second", (Query(_rate("trunkline_rows_total")),), "rowsps"),
        Panel("Rows refused a second", (Query(_rate("trunkline_rows_refused_total")),), "rowsps"),
        Panel("Requests in work", (Query(f"sum by (instance) ({_select('trunkline_requests_in_work')})"),)),
    )


def _model() -> tuple[Panel, ...]:
    served = f"sum by (name, version) ({_select('trunkline_model_info')} == 1)"
    took = _rate("trunkline_arm_scoring_seconds_bucket", "arm", "le")
    failed = " + ".join(_rate(f"trunkline_arm_rows_{name}_total", "arm") for name in ("refused", "failed"))
    return (
        Panel("Servers of each version", (Query(served, "{{name}} {{version}}"),)),
        Panel("Candidate's share", (Query(f"max by (kind, version) ({_select('trunkline_rollout_share')})",
                                          "{{kind}} {{version}}"),), "percent"),
        Panel("Candidate not loaded", (Query(f"max({_select('trunkline_rollout_problem')})", ""),), kind="stat", red=1),
        Panel("Rows a second, by arm", (Query(_rate("trunkline_arm_rows_total", "arm"), "{{arm}}"),), "rowsps"),
        Panel("Scoring, 99 %, by arm", (Query(f"histogram_quantile(0.99, {took})", "{{arm}}"),), "s"),
        Panel("Rows refused or failed, by arm", (Query(failed, "{{arm}}"),), "rowsps"),
        Panel("Rows that the candidate missed", (Query(_rate("trunkline_shadow_rows_dropped_total")),), "rowsps"),
    )  # fmt: skip


def _log() -> tuple[Panel, ...]:
    return (
        Panel("Rows written a second", (Query(_rate("trunkline_log_rows_total")),), "rowsps"),
        Panel("Rows that wait", (Query(f"sum by (instance) ({_select('trunkline_log_rows_waiting')})"),)),
        Panel("Rows dropped a second", (Query(_rate("trunkline_log_rows_dropped_total")),), "rowsps"),
        Panel("Writers replaced", (Query(f"increase({_select('trunkline_log_writer_restarts_total')}[{_OVER}])"),)),
    )


def _features() -> tuple[Panel, ...]:
    views = "trunkline_online_views_total"

    def share(state: str) -> Query:
        part = promql.rate(views, _OVER, ("view",), *_HERE, f"state={promql.quoted(state)}")
        return Query(f"{part} / {_rate(views, 'view')}", "{{view}}")

    return (
        Panel("Late", (share("stale"),), "percentunit", width=12),
        Panel("Missing", (share("missing"),), "percentunit", width=12),
    )


def _streams() -> tuple[Panel, ...]:
    messages = "trunkline_stream_messages_total"
    dead = promql.rate(messages, _OVER, ("topic",), *_HERE, promql.DEAD)
    late = f"time() - {_select('trunkline_stream_last_success_timestamp_seconds')}"

    def longest(times: str) -> Query:
        buckets = _rate(f"trunkline_stream_{times}_seconds_bucket", "topic", "le")
        return Query(f"histogram_quantile(0.99, {buckets})", "{{topic}}")

    return (
        Panel("Messages a second", (Query(_rate(messages, "topic", "outcome"), "{{topic}}: {{outcome}}"),), "mps"),
        Panel("Messages that wait", (Query(f"sum by (topic) ({_select('trunkline_stream_lag')})", "{{topic}}"),)),
        Panel("Time that a message waits", (Query(promql.waiting(_OVER, ("topic",), *_HERE), "{{topic}}"),), "s"),
        Panel("Dead letters", (Query(f"{dead} / {_rate(messages, 'topic')}", "{{topic}}"),), "percentunit"),
        Panel("Time for a batch, 99 %", (longest("batch"),), "s"),
        Panel("Age of events when stored, 99 %", (longest("freshness"),), "s"),
        Panel("Since messages were last done", (Query(late, "{{instance}} {{topic}}"),), "s"),
        Panel("Something outside is waited for", (Query(f"max by (topic) ({_select('trunkline_stream_problem')})",
                                                        "{{topic}}"),), kind="stat", red=1),
        Panel("Contradictions a second", (Query(_rate("trunkline_stream_conflicts_total", "topic"), "{{topic}}"),)),
    )  # fmt: skip


def _monitor() -> tuple[Panel, ...]:
    breaches = f"max by (rule, severity, subject) ({_select('trunkline_monitor_breach')} > 0)"
    late = f"time() - {_select('trunkline_monitor_timestamp_seconds')}"
    values = {
        "Drift of features (PSI)": ('kind="feature"', 'measure="psi"'),
        "Drift of scores (PSI)": ('kind="score"', 'measure="psi"'),
        "Performance": ('kind=~"performance|estimate"',),
    }
    return (
        Panel("Broken rules", (Query(breaches, "{{severity}}: {{rule}} {{subject}}"),)),
        Panel("Since it ran through", (Query(late, "{{environment}}"),), "s"),
        *(
            Panel(title, (Query(_select("trunkline_monitor_value", *matchers), "{{kind}} {{subject}}"),))
            for title, matchers in values.items()
        ),
    )


def _select(metric: str, *matchers: str) -> str:
    return promql.selector(metric, *_HERE, *matchers)


def _rate(counter: str, *by: str) -> str:
    return promql.rate(counter, _OVER, by or _BY, *_HERE)


def _variables(job: str) -> list[dict[str, Any]]:
    labels = f"label_values(up{{job={promql.quoted(job)}}}, environment)"
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {
            "name": "environment", "label": "Environment", "type": "query", "datasource": _SOURCE,
            "definition": labels, "query": {"query": labels, "refId": "environment"}, "refresh": 2,
            "includeAll": True, "multi": True, "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
        },
    ]  # fmt: skip


def _placed(titled: Mapping[str, Sequence[Panel]]) -> Iterator[dict[str, Any]]:
    """Yield rows and their panels, from left to right and down, each with an id and its place."""
    number = top = 0
    for title, panels in titled.items():
        number += 1
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": _at(0, top)}
        left, top = 0, top + 1
        for panel in panels:
            if left + panel.width > _COLUMNS:
                left, top = 0, top + _HEIGHT
            number += 1
            yield _panel(panel, number) | {"gridPos": {"x": left, "y": top, "w": panel.width, "h": _HEIGHT}}
            left += panel.width
        top += _HEIGHT


def _at(left: int, top: int) -> dict[str, int]:
    return {"x": left, "y": top, "w": _COLUMNS, "h": 1}


def _panel(panel: Panel, number: int) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red is not None:
        steps.append({"color": "red", "value": panel.red})
    targets = [
        {"refId": chr(ord("A") + i), "datasource": _SOURCE, "expr": query.expression, "legendFormat": query.legend}
        for i, query in enumerate(panel.queries)
    ]
    thresholds = {"mode": "absolute", "steps": steps}
    defaults = {"unit": panel.unit, "custom": {"axisSoftMin": 0}, "thresholds": thresholds}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
    }
