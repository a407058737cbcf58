"""Who is told, as Alertmanager reads it: every kind of receiver, and no secret but what the environment has."""

import pytest
import yaml

from tests.monitor.render.programs import checked
from trunkline.conf.alerting import Alerting
from trunkline.core.errors import UserError
from trunkline.monitor.render import alertmanager

MAIL = {"to": ["ops@example.org", "b@example.org"], "from": "trunkline@example.org", "server": "mail.example.org:587"}
RECEIVERS = {
    "oncall": {"webhook": {"url_env": "ONCALL", "token_file": "/run/secrets/token"}},
    "team": {"email": MAIL | {"user": "trunkline", "password_file": "/run/secrets/mail"}},
    "both": {"webhook": {"url": "http://127.0.0.1:9095/alerts"}, "email": MAIL | {"tls": False}},
}
SECRET = "https://hooks.example.org/services/T0AB12CD/x8Kd02mPq7Rt5Vw1"


def declared(**content: object) -> Alerting:
    return Alerting.model_validate({"receivers": RECEIVERS} | content, strict=True)


def test_each_severity_goes_to_whom_it_is_declared_for(tmp_path):
    path = tmp_path / "alertmanager.yml"
    routes = {"critical": "oncall", "warning": "team"}
    path.write_text(alertmanager.render(declared(routes=routes), {"ONCALL": SECRET}))
    checked("amtool", "check-config", str(path))
    option = f"--config.file={path}"
    told = [checked("amtool", "config", "routes", "test", option, f"severity={each}") for each in (*routes, "info")]
    assert [each.strip() for each in told] == ["oncall", "team", "nobody"]


def test_nobody_has_to_be_declared(tmp_path):
    path = tmp_path / "alertmanager.yml"
    path.write_text(alertmanager.render(Alerting(), {}))
    checked("amtool", "check-config", str(path))


@pytest.mark.parametrize(("value", "state"), [(None, "is not set"), ("ops", "is no address of http or https")])
def test_an_address_that_the_environment_lacks_is_asked_for(value, state):
    with pytest.raises(UserError, match=rf"receivers\.oncall\.webhook\.url_env: .* ONCALL {state}; set it to"):
        alertmanager.render(declared(), {} if value is None else {"ONCALL": value})


def test_files_hold_secrets_where_alertmanager_runs_and_are_named_alone():
    receivers = declared(receivers={"a": {"webhook": {"url_file": "/run/secrets/a"}}, "b": RECEIVERS["team"]})
    _, webhook, mail = yaml.safe_load(alertmanager.render(receivers, {}))["receivers"]
    assert webhook["webhook_configs"] == [{"send_resolved": True, "url_file": "/run/secrets/a"}]
    (content,) = mail["email_configs"]
    assert (content["to"], content["auth_password_file"]) == ("ops@example.org, b@example.org", "/run/secrets/mail")
