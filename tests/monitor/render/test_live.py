"""Rules, routes and dashboard on what a real server, the reconciler and the monitor told a real Prometheus.

Everything is rendered of conf/monitoring; the server suffers one thing after the other while Prometheus looks on.
"""

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitor.render import streamed, told
from tests.monitor.render.programs import Listener, Mailbox, checked, get, post, program, query, running, until
from tests.monitor.render.promtests import SERVER, Happened, case, samples
from tests.monitor.render.served import ACTS, Served, errors, served
from trunkline.conf.monitoring import Monitoring
from trunkline.monitor.render import alertmanager, dashboard, rules

# As declared by nobody, but for times that pass in a test, and others that requests do not take on a busy machine.
STALLED = {"after": f"{streamed.STALLED}s"}
DEFAULT = Monitoring.parse({"alerting": {"rules": {"latency": {"above": 2.5}, "stream_stalled": STALLED}}})
OTHERS = {"job": "node", "instance": "host:9100"}
STREAM = SERVER | {"instance": "flights:9464"}
SOON = {"for": "1s"}
MAIL = {"to": ["ops@example.org"], "from": "trunkline@example.org", "tls": False}
ERRORS = "TrunklineErrors"


@dataclass(frozen=True)
class Rig:
    """A server, Prometheus on it, and Alertmanager, which posts and mails; and what happened to the server."""

    served: Served
    prometheus: str
    alertmanager: str
    listener: Listener
    mailbox: Mailbox
    happened: dict[str, Happened]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    for name in ("prometheus", "promtool", "prometheus-alertmanager", "amtool"):
        program(name)
    folder = tmp_path_factory.mktemp("monitoring")
    with ExitStack() as stack:
        listener, mailbox = stack.enter_context(Listener().listening()), stack.enter_context(Mailbox().listening())
        declared = quick(mailbox.address)
        listener.texts |= {"/reconcile": told.reconciled(folder, ("in-sync", 0)), "/monitor": told.quiet()}
        here = stack.enter_context(served(folder / "home"))
        alerting = stack.enter_context(_alertmanager(folder, declared, listener))
        prometheus = stack.enter_context(_prometheus(folder, declared, here, listener, alerting))
        until(lambda: query(prometheus, "trunkline_rows_total"), "Prometheus does not see the server")
        yield Rig(here, prometheus, alerting, listener, mailbox, dict(_suffered(here)))


def quick(mail_server: str) -> Monitoring:
    """Return rules that tell soon, by a webhook and by mail."""
    return Monitoring.parse(
        {
            "alerting": {
                "over": "10s", "wait": "0s", "interval": "1s",
                "rules": {"errors": SOON | {"requests": 5, "above": 0.2}, "down": SOON},
                "receivers": {"oncall": {"webhook": {"url_env": "ALERTS"}, "email": MAIL | {"server": mail_server}}},
                "routes": {"critical": "oncall"},
            }
        }
    )  # fmt: skip


def _alertmanager(folder: Path, declared: Monitoring, listener: Listener) -> Any:
    path = folder / "alertmanager.yml"
    path.write_text(alertmanager.render(declared.alerting, {"ALERTS": f"http://{listener.address}/alerts"}))
    checked("amtool", "check-config", str(path))
    options = [f"--config.file={path}", f"--storage.path={folder / 'alerts'}", "--cluster.listen-address="]
    return running("prometheus-alertmanager", folder, *options)


def _prometheus(folder: Path, declared: Monitoring, here: Served, listener: Listener, alerting: str) -> Any:
    (folder / "rules.yml").write_text(rules.render(declared))
    server = {"targets": [here.server.address.removeprefix("https://")], "labels": {"environment": "production"}}
    others = [{"targets": [listener.address]}]
    content = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alerting]}]}]},
        "scrape_configs": [
            {"job_name": "trunkline", "scheme": "https", "tls_config": {"insecure_skip_verify": True},
             "static_configs": [server]},
            {"job_name": "reconcile", "metrics_path": "/reconcile", "static_configs": others, "honor_labels": True},
            {"job_name": "stream", "metrics_path": "/stream", "static_configs": others},
            {"job_name": "monitor", "metrics_path": "/monitor", "static_configs": others, "honor_labels": True},
        ],
    }  # fmt: skip
    (folder / "prometheus.yml").write_text(yaml.safe_dump(content))
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    return running("prometheus", folder, *options, "--log.level=warn")


def _suffered(here: Served) -> Iterator[tuple[str, Happened]]:
    for name, act in ACTS.items():
        before = here.scrape()
        act.suffer(here)
        yield name, Happened(before, here.scrape(), act.alerts, SERVER)
        act.mend(here)


@pytest.fixture(scope="module")
def stream(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Happened]:
    """What happened to a stream, which Prometheus is shown as it was in the end."""
    happened = {}
    with streamed.streamed(tmp_path_factory.mktemp("stream") / "home") as here:
        for name, act in streamed.ACTS.items():
            before = here.scrape()
            act.suffer(here)
            happened[name] = Happened(before, here.scrape(), frozenset(act.alert.split()), STREAM)
            act.mend(here)
        rig.listener.texts["/stream"] = here.scrape()
    until(lambda: query(rig.prometheus, "rate(trunkline_stream_messages_total[5m])"), "Prometheus sees no stream")
    return happened


def test_every_rule_of_servers_fires_on_what_it_is_of_and_on_nothing_else(rig, tmp_path):
    healthy = rig.happened["good"]
    down = Happened(healthy.after, healthy.after, frozenset({"Down"}), SERVER, up=0)
    gone = Happened("", "", frozenset({"Down"}), SERVER, up=None)
    _tested(tmp_path, [*rig.happened.values(), down, gone])
    fired = {name for each in (*rig.happened.values(), down) for name in each.alerts}
    assert {f"Trunkline{name}" for name in fired} == {a.name for a in rules.alerts(DEFAULT) if a.part == "server"}


def test_every_rule_of_streams_fires_on_what_it_is_of_and_on_nothing_else(stream, tmp_path):
    _tested(tmp_path, [*stream.values()])
    fired = {name for each in stream.values() for name in each.alerts}
    assert {f"Trunkline{name}" for name in fired} == {a.name for a in rules.alerts(DEFAULT) if a.part == "stream"}


def test_every_rule_of_the_reconciler_fires_on_what_it_is_of_and_on_nothing_else(rig, tmp_path):
    told_by = {
        told.reconciled(tmp_path, ("in-sync", 0)): "",
        told.reconciled(tmp_path, ("in-sync", 0), ("degraded", 1)): "OutOfSync",
        told.reconciled(tmp_path, ("in-sync", 0), ("in-sync", 3)): "ReconcileFailing",
        told.reconciled(tmp_path, ("in-sync", 0), ago=3600): "ReconcileLate",
    }
    _tested(tmp_path, [Happened(text, text, frozenset(name.split()), OTHERS) for text, name in told_by.items()])
    assert {f"Trunkline{n}" for n in told_by.values() if n} == {
        alert.name for alert in rules.alerts(DEFAULT) if alert.part == "reconcile"
    }


def test_every_rule_of_the_monitor_is_an_alert_on_its_breach_and_on_nothing_else(rig, tmp_path):
    told_by = {told.quiet(): "", told.quiet(ago=timedelta(days=3)): "MonitorLate"}
    told_by |= {told.broken(rule): f"Monitor{_camel(name)}" for name, rule in DEFAULT.judged.items()}
    _tested(tmp_path, [Happened(text, text, frozenset(name.split()), OTHERS) for text, name in told_by.items()])
    assert {f"Trunkline{n}" for n in told_by.values() if n} == {
        alert.name for alert in rules.alerts(DEFAULT) if alert.part == "monitor"
    }


def _camel(name: str) -> str:
    return "".join(map(str.capitalize, name.split("_")))


def _tested(folder: Path, happened: Sequence[Happened]) -> None:
    (folder / "rules.yml").write_text(rules.render(DEFAULT))
    checked("promtool", "check", "rules", str(folder / "rules.yml"))
    content = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [case(each) for each in happened]}
    (folder / "tests.yml").write_text(yaml.safe_dump(content))
    checked("promtool", "test", "rules", str(folder / "tests.yml"))


def test_every_query_of_the_dashboard_has_an_answer(rig, stream):
    rig.listener.texts["/monitor"] = told.quiet() + _only(told.broken(DEFAULT.judged["input_drift"]), "_breach")
    until(lambda: query(rig.prometheus, "trunkline_monitor_breach"), "the breach is not seen")
    until(lambda: query(rig.prometheus, 'ALERTS{alertstate="firing"}'), "no alert fires")
    empty = {}
    for panel in json.loads(dashboard.render(DEFAULT))["panels"]:
        for target in panel.get("targets", []):
            asked = target["expr"].replace("$__rate_interval", "5m").replace("$environment", ".*")
            if not query(rig.prometheus, asked):
                empty[panel["title"]] = asked
    assert empty == {}


def _only(text: str, name: str) -> str:
    return "".join(line + "\n" for line in text.splitlines() if f"{name}{{" in line)


def test_rules_and_queries_use_only_names_that_are_exported(rig, stream, tmp_path):
    texts = [rig.served.scrape(), stream["good"].after, told.reconciled(tmp_path, ("in-sync", 0)), told.quiet()]
    texts.append(told.broken(DEFAULT.judged["missing"]))
    exported = {name for text in texts for name, _ in samples(text)}
    expressions = [alert.expression for alert in rules.alerts(DEFAULT)]
    expressions += [
        query.expression for row in dashboard.rows(DEFAULT).values() for panel in row for query in panel.queries
    ]
    used = {name for each in expressions for name in re.findall(r"\btrunkline_\w+", each)}
    assert used - exported == set()


def test_what_explains_others_is_told_in_their_place(rig):
    here, elsewhere = SERVER | {"instance": "a:1", "part": "server"}, SERVER | {"instance": "b:1", "part": "server"}
    posted = {
        "down": here | {"alertname": "TrunklineDown"},
        "late": here | {"alertname": "TrunklineLatency"},
        "stream": here | {"alertname": "TrunklineStreamStalled", "part": "stream"},
        "late elsewhere": elsewhere | {"alertname": "TrunklineLatency"},
        "missing": {"alertname": "TrunklineMonitorMissing", "environment": "staging", "cause": "upstream"},
        "drift": {"alertname": "TrunklineMonitorInputDrift", "environment": "staging", "cause": "drift"},
        "drift elsewhere": {"alertname": "TrunklineMonitorInputDrift", "environment": "test", "cause": "drift"},
    }
    post(rig.alertmanager, "/api/v2/alerts", [{"labels": labels} for labels in posted.values()])
    alerts = {tuple(sorted(each["labels"].items())): each for each in get(rig.alertmanager, "/api/v2/alerts")}
    states = {name: bool(alerts[tuple(sorted(of.items()))]["status"]["inhibitedBy"]) for name, of in posted.items()}
    assert {name for name, inhibited in states.items() if inhibited} == {"late", "stream", "drift"}
    late = {"alertname": "TrunklineLatency", "environment": "production"}

    def notified() -> list[int]:
        groups = get(rig.alertmanager, "/api/v2/alerts/groups")
        return [len(group["alerts"]) for group in groups if group["labels"] == late]

    until(lambda: notified() == [2], "the latency of two servers is not one notification")


def test_an_alert_is_told_once_while_it_lasts_and_again_when_it_is_over(rig):
    def told_so_far() -> list[int]:
        return [len(rig.listener.told(ERRORS, status)) for status in ("firing", "resolved")]

    alert = f'ALERTS{{alertname="{ERRORS}"}}'
    until(lambda: not query(rig.prometheus, alert) and len({*told_so_far()}) == 1, "the errors of before go on")
    before, _ = told_so_far()
    until(lambda: errors(rig.served) or told_so_far() != [before, before], "nobody is told")
    end = time.monotonic() + 4  # evaluations and flushes of Alertmanager
    while time.monotonic() < end:
        errors(rig.served)
        time.sleep(0.2)
    assert told_so_far() == [before + 1, before]
    until(lambda: told_so_far() != [before + 1, before], "nobody is told that it is over")
    assert told_so_far() == [before + 1, before + 1]
    (over,) = rig.listener.told(ERRORS, "resolved")[-1]["alerts"]
    assert (over["labels"]["environment"], over["labels"]["severity"]) == ("production", "critical")
    assert "of the requests to 127.0.0.1" in over["annotations"]["summary"]
    assert over["annotations"]["runbook"].endswith("under errors")

    def mailed() -> list[int]:
        return [len(rig.mailbox.told(ERRORS, status)) for status in ("firing", "resolved")]

    until(lambda: mailed() == told_so_far(), "not each notification is a mail as well")
    mail = rig.mailbox.told(ERRORS, "resolved")[-1]
    assert (mail["From"], mail["To"]) == ("trunkline@example.org", "ops@example.org")
    assert f"[RESOLVED] {ERRORS} production" in str(mail["Subject"])
