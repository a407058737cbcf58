"""conf/monitoring as a configuration of Alertmanager: who is told of what, once for each cause.

Keys are those of Alertmanager 0.25 and later (prometheus.io/docs/alerting/latest/configuration).
"""

from collections.abc import Mapping
from typing import Any

import yaml

from trunkline.conf.alerting import Alerting, Email, Receiver, Routes, Webhook
from trunkline.core.errors import UserError
from trunkline.monitor.render import promql
from trunkline.monitor.render.rules import CAUSE, DOWN, PART, WRITTEN

_NOBODY = "nobody"  # an alert for which nobody is declared: Alertmanager shows it, and tells it to nobody


def render(declared: Alerting, environ: Mapping[str, str]) -> str:
    """Return the text of Alertmanager's configuration (YAML).

    Addresses that `url_env` names are taken from the environment. Raises UserError for one that it lacks.
    """
    content = {
        "route": {
            "receiver": _NOBODY,
            "group_by": ["alertname", "environment"],
            "group_wait": promql.duration(declared.wait),
            "group_interval": promql.duration(declared.interval),
            "repeat_interval": promql.duration(declared.repeat),
            "routes": _routes(declared.routes),
        },
        "inhibit_rules": _INHIBITED,
        "receivers": [
            {"name": _NOBODY},
            *(_receiver(name, receiver, environ) for name, receiver in declared.receivers.items()),
        ],
    }
    return WRITTEN + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


# What explains the others is told, and they are not: a server that is down, what is given to the model that is broken.
_INHIBITED = [
    {
        "source_matchers": [f"alertname={promql.quoted(DOWN)}"],
        "target_matchers": [f"alertname!={promql.quoted(DOWN)}", f'{PART}=~"server|stream"'],
        "equal": ["environment", "instance"],
    },
    {
        "source_matchers": [f'{CAUSE}="upstream"'],
        "target_matchers": [f'{CAUSE}="drift"'],
        "equal": ["environment"],
    },
]


def _routes(routes: Routes) -> list[dict[str, Any]]:
    receivers = {severity: getattr(routes, severity) for severity in Routes.model_fields}
    return [
        {"receiver": name, "matchers": [f"severity={promql.quoted(severity)}"]}
        for severity, name in receivers.items()
        if name is not None
    ]


def _receiver(name: str, receiver: Receiver, environ: Mapping[str, str]) -> dict[str, Any]:
    where = f"monitoring.alerting.receivers.{name}.webhook.url_env"
    content: dict[str, Any] = {"name": name}
    if receiver.webhook:
        content["webhook_configs"] = [_webhook(receiver.webhook, environ, where)]
    if receiver.email:
        content["email_configs"] = [_email(receiver.email)]
    return content


def _webhook(webhook: Webhook, environ: Mapping[str, str], where: str) -> dict[str, Any]:
    content: dict[str, Any] = {"send_resolved": True}
    if webhook.url_file is not None:
        content["url_file"] = webhook.url_file
    else:
        content["url"] = webhook.url or _address(webhook.url_env or "", environ, where)
    if webhook.token_file is not None:
        content["http_config"] = {"authorization": {"type": "Bearer", "credentials_file": webhook.token_file}}
    return content


def _address(variable: str, environ: Mapping[str, str], where: str) -> str:
    address = environ.get(variable, "").strip()
    if not address.startswith(("http://", "https://")):
        state = "is no address of http or https" if address else "is not set"
        raise UserError(f"{where}: the environment variable {variable} {state}; set it to the address of the webhook")
    return address


def _email(email: Email) -> dict[str, Any]:
    login = {"auth_username": email.user, "auth_password_file": email.password_file} if email.user else {}
    return {
        "to": ", ".join(email.to),
        "from": email.from_,
        "smarthost": email.server,
        **login,
        "require_tls": email.tls,
        "send_resolved": True,
    }
