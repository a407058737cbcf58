"""What is rendered of a declaration: the rules that are declared, each with a runbook that exists."""

import yaml

from tests.test_house import anchors
from trunkline.conf.monitoring import Monitoring
from trunkline.monitor.render import rules

RULE = {"of": "feature", "measure": "psi", "above": 0.25}
PAGE = "https://ops.example.org/models"


def rendered(**monitoring: object) -> dict[str, dict[str, object]]:
    groups = yaml.safe_load(rules.render(Monitoring.parse(monitoring)))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_each_rule_says_what_to_do_and_its_runbook_has_a_heading(root):
    headings = anchors(root / "docs/alerting.md")
    for alert in rules.alerts(Monitoring.parse({})):
        assert alert.heading in headings
        assert min(len(alert.text.summary), len(alert.text.description)) > 20
    linked = rendered(alerting={"runbooks": PAGE})["TrunklineErrors"]["annotations"]
    assert linked["runbook_url"] == f"{PAGE}#errors"


def test_what_is_declared_is_rendered_and_what_is_null_or_only_recorded_is_not():
    given = {"drift": RULE | {"severity": "critical", "upstream": True}, "noted": RULE | {"then": "record"}}
    alerts = rendered(rules=given, alerting={"rules": {"down": None, "errors": {"above": 0.125, "for": "90s"}}})
    assert "TrunklineDown" not in alerts
    assert [name for name in alerts if name.startswith("TrunklineMonitor")] == [
        "TrunklineMonitorLate",
        "TrunklineMonitorDrift",
    ]
    assert alerts["TrunklineMonitorDrift"]["labels"] == {"part": "monitor", "cause": "upstream"}
    assert (" > 0.125 and " in alerts["TrunklineErrors"]["expr"], alerts["TrunklineErrors"]["for"]) == (True, "90s")
