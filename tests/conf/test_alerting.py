"""conf/monitoring, alerting: partly declared rules keep the rest of their defaults; a secret is refused, unrepeated."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from trunkline.conf.alerting import Alerting, Errors, Watched

SECRET = "x8Kd02mPq7Rt5Vw1"
MAIL = {"to": ["ops@example.org"], "from": "trunkline@example.org", "server": "mail.example.org:587"}


def parse(**content: object) -> Alerting:
    return Alerting.model_validate(content, strict=True)


def test_what_is_declared_of_a_rule_leaves_the_rest_as_it_was():
    declared = parse(rules={"errors": {"above": 0.5, "for": "1min"}, "down": None}).rules
    assert declared.down is None
    assert declared.errors == Errors.model_validate({"above": 0.5, "for": timedelta(minutes=1)})
    assert (declared.errors.severity, declared.errors.requests) == ("critical", 100)
    assert declared.latency == Watched().latency


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"receivers": {"a": {}}}, "receivers.a\n.*is told nothing: give webhook, email or both"),
        ({"receivers": {"a": {"webhook": {}}}}, "has no address; give one of url, url_env and url_file"),
        ({"receivers": {"a": {"webhook": {"url": "http://h", "url_env": "X"}}}}, "has url and url_env; give one"),
        ({"receivers": {"a": {"webhook": {"url": "hooks.example.org"}}}}, "is not an address of http or https"),
        ({"receivers": {"a": {"email": MAIL | {"user": "me"}}}}, "user and password_file go together"),
        ({"receivers": {"a": {"email": MAIL | {"to": ["ops"]}}}}, "String should match pattern"),
        ({"routes": {"info": "a"}}, "routes.info: no receiver 'a'; declare it: receivers"),
        ({"rules": {"latency": {"quantile": 1.0}}}, "less than 1"),
        ({"rules": {"errors": None, "error": None}}, "Extra inputs"),
        ({"over": "0s"}, "over: must be longer than 0s"),
    ],
)
def test_what_nobody_could_be_told_by_is_refused(content, words):
    with pytest.raises(ValidationError, match=words):
        parse(**content)


@pytest.mark.parametrize(
    "url",
    [f"https://hooks.example.org/services/{SECRET}", f"https://h/x?key={SECRET}", f"https://{SECRET}@h", f"https://a:{SECRET}@h"],
)  # fmt: skip
def test_an_address_that_holds_a_secret_is_refused_and_one_that_does_not_is_taken(url):
    with pytest.raises(ValidationError, match="seems to hold a secret") as refused:
        parse(receivers={"a": {"webhook": {"url": url}}})
    assert SECRET not in refused.value.errors()[0]["msg"]
    parse(receivers={"a": {"webhook": {"url": "http://alerts.internal:9095/trunkline/notifications-of-models"}}})
