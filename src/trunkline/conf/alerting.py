"""conf/monitoring, alerting: what Prometheus watches of servers, streams and what runs beside them; who is told."""

import inspect
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from trunkline.core.errors import nearest
from trunkline.core.values import Duration, Name, Strict, Tuple

Severity = Literal["info", "warning", "critical"]
Amount = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]  # a share, from 0 to 1
_Job = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=100)]
_Host = Annotated[str, StringConstraints(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$")]
_Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
_Address = Annotated[str, StringConstraints(pattern=r"^[^@\s,]+@[^@\s,]+$", max_length=200)]

# Such as what Slack and PagerDuty put into the path of a webhook: whoever has it may post.
_TOKEN = re.compile(r"(?=[^/]*\d)(?=[^/]*[A-Za-z])[A-Za-z0-9_~.-]{16,}")


def _lasting(default: str) -> Any:
    return Field(
        default, alias="for", validate_default=True, description="How long it has to be so before anybody is told."
    )


def _severe(default: Severity) -> Any:
    return Field(default, description="How bad it is: `alerting.routes` says who is told.")


def _share(default: float, of: str) -> Any:
    return Field(default, description=f"The largest share of {of} that is in order.")


def _least(of: str) -> Any:
    return Field(100, ge=0, description=f"How many {of} there have to be within `alerting.over`, for a share of them.")


class Watch(Strict):
    """What all rules have: how long something has to be so, and how bad it is."""

    for_: Duration = _lasting("5min")
    severity: Severity = _severe("warning")


class Down(Watch):
    """A server does not answer Prometheus, or Prometheus has no server to ask."""

    for_: Duration = _lasting("1min")
    severity: Severity = _severe("critical")


class Errors(Watch):
    """Requests that are answered with 5xx."""

    above: Amount = _share(0.01, "requests")
    requests: int = _least("requests")
    severity: Severity = _severe("critical")


class Latency(Watch):
    """The time from a request's arrival to its answer."""

    quantile: float = Field(0.99, gt=0, lt=1, description="Which quantile of the times.")
    above: float = Field(1.0, gt=0, le=10, description="The longest that is in order, in seconds.")
    requests: int = _least("requests")
    for_: Duration = _lasting("10min")


class RefusedRequests(Watch):
    """Requests that are answered with 400, 413, 415 or 422: their rows are not as the contract says."""

    above: Amount = _share(0.05, "requests")
    requests: int = _least("requests")
    for_: Duration = _lasting("10min")


class RefusedRows(Watch):
    """Rows that are set aside, where the others of their request are answered."""

    above: Amount = _share(0.05, "rows")
    rows: int = _least("rows")
    for_: Duration = _lasting("10min")


class LogDropped(Watch):
    """Scored rows that the prediction log lacks."""

    above: int = Field(0, ge=0, description="How many within `alerting.over` are in order.")
    for_: Duration = _lasting("0s")


class LogProblem(Watch):
    """The prediction log cannot be written."""

    severity: Severity = _severe("critical")


class DeliveryProblem(Watch):
    """What is delivered is not served: the server goes on with what it had."""

    severity: Severity = _severe("critical")


class RolloutProblem(Watch):
    """The candidate that is declared is not loaded."""


class CertificateExpiry(Watch):
    """A server's certificate is about to expire."""

    before: Duration = Field("14d", validate_default=True, description="How long before that somebody is told.")


class CertificateProblem(Watch):
    """The files of a certificate are wrong, and what was read before is used."""


class FeaturesLate(Watch):
    """Online features that are older than `serving.online` allows, of each view."""

    above: Amount = _share(0.05, "requests")
    requests: int = _least("requests")
    for_: Duration = _lasting("10min")


class FeaturesMissing(Watch):
    """Requests of whose entity a view of online features knows nothing."""

    above: Amount = _share(0.5, "requests")
    requests: int = _least("requests")
    for_: Duration = _lasting("10min")


class StreamLag(Watch):
    """Messages that wait for long in a topic of `trunkline stream`: how many wait, by how many are done a second."""

    above: Duration = Field("1min", validate_default=True, description="The longest that is in order.")


class StreamDeadLetters(Watch):
    """Messages of a topic that are written to its dead letters."""

    above: Amount = _share(0.05, "messages")
    messages: int = _least("messages")
    for_: Duration = _lasting("10min")


class StreamStalled(Watch):
    """A consumer neither finishes a batch nor sees that its topic is empty: it hangs, or waits for what is outside."""

    after: Duration = Field("5min", validate_default=True, description="The longest that is in order.")
    for_: Duration = _lasting("0s")
    severity: Severity = _severe("critical")


class OutOfSync(Watch):
    """An environment does not run what the trunk declares."""

    for_: Duration = _lasting("15min")


class ReconcileFailing(Watch):
    """`trunkline reconcile` ends with an error: a declaration is wrong, or something outside fails."""

    for_: Duration = _lasting("15min")


class ReconcileLate(Watch):
    """`trunkline reconcile` has not run through for long."""

    after: Duration = Field("15min", validate_default=True, description="The longest that is in order.")


class MonitorLate(Watch):
    """`trunkline monitor` has not run through for long."""

    after: Duration = Field("2d", validate_default=True, description="The longest that is in order.")


def _watched(default: Watch) -> Any:
    return Field(default, description=inspect.getdoc(type(default)))


class Watched(Strict):
    """The rules of Prometheus, beside those of `monitoring.rules`; null: that is not watched."""

    down: Down | None = _watched(Down())
    errors: Errors | None = _watched(Errors())
    latency: Latency | None = _watched(Latency())
    refused_requests: RefusedRequests | None = _watched(RefusedRequests())
    refused_rows: RefusedRows | None = _watched(RefusedRows())
    log_dropped: LogDropped | None = _watched(LogDropped())
    log_problem: LogProblem | None = _watched(LogProblem())
    delivery_problem: DeliveryProblem | None = _watched(DeliveryProblem())
    rollout_problem: RolloutProblem | None = _watched(RolloutProblem())
    certificate_expiry: CertificateExpiry | None = _watched(CertificateExpiry())
    certificate_problem: CertificateProblem | None = _watched(CertificateProblem())
    features_late: FeaturesLate | None = _watched(FeaturesLate())
    features_missing: FeaturesMissing | None = _watched(FeaturesMissing())
    stream_lag: StreamLag | None = _watched(StreamLag())
    stream_dead_letters: StreamDeadLetters | None = _watched(StreamDeadLetters())
    stream_stalled: StreamStalled | None = _watched(StreamStalled())
    out_of_sync: OutOfSync | None = _watched(OutOfSync())
    reconcile_failing: ReconcileFailing | None = _watched(ReconcileFailing())
    reconcile_late: ReconcileLate | None = _watched(ReconcileLate())
    monitor_late: MonitorLate | None = _watched(MonitorLate())


def _web(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"'{url}' is not an address of http or https")
    return url


def _public(url: str) -> str:
    """Refuse an address that is, or bears, a secret, without repeating it."""
    parts = urlsplit(_web(url))
    if parts.username is not None or parts.query or any(map(_TOKEN.fullmatch, parts.path.split("/"))):
        raise ValueError(
            "seems to hold a secret, which everybody could read here: leave it out, and name the environment variable "
            "or the file that holds the address: url_env or url_file"
        )
    return url


class Webhook(Strict):
    """An address that Alertmanager posts its notifications to; one of the three says which."""

    url: Annotated[str, AfterValidator(_public)] | None = Field(
        None, description="The address, where it is no secret, such as http://127.0.0.1:9095/alerts."
    )
    url_env: _Variable | None = Field(
        None, description="Environment variable that has the address when `trunkline render monitoring` runs."
    )
    url_file: str | None = Field(
        None,
        min_length=1,
        description="File that has the address where Alertmanager runs, which needs its version 0.26.",
    )
    token_file: str | None = Field(
        None,
        min_length=1,
        description="File with a bearer token where Alertmanager runs, sent with each notification; null: none.",
    )

    @model_validator(mode="after")
    def _has_one_address(self) -> Self:
        given = [name for name in ("url", "url_env", "url_file") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"has {' and '.join(given) or 'no address'}; give one of url, url_env and url_file")
        return self


class Email(Strict):
    """Mails of Alertmanager."""

    to: Annotated[tuple[_Address, ...], Tuple] = Field(min_length=1, description="Whom.")
    from_: _Address = Field(alias="from", description="The address that they come from.")
    server: _Host = Field(description="Host and port of the mail server (SMTP), such as mail.example.org:587.")
    user: str | None = Field(None, min_length=1, description="Who logs in there; null: nobody does.")
    password_file: str | None = Field(
        None, min_length=1, description="File with the password where Alertmanager runs; null: none."
    )
    tls: bool = Field(True, description="Whether the server has to speak TLS.")

    @model_validator(mode="after")
    def _logs_in_with_both(self) -> Self:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file go together; give both or neither")
        return self


class Receiver(Strict):
    """Somebody who is told, by a webhook, by mail or both."""

    webhook: Webhook | None = Field(None, description="An address that is posted to; null: none.")
    email: Email | None = Field(None, description="A mail; null: none.")

    @model_validator(mode="after")
    def _is_told_somehow(self) -> Self:
        if self.webhook is None and self.email is None:
            raise ValueError("is told nothing: give webhook, email or both")
        return self


class Routes(Strict):
    """Who is told of what, by severity: a name of `alerting.receivers`; null: nobody, Alertmanager shows it."""

    critical: Name | None = Field(None, description="Who is told of what is critical.")
    warning: Name | None = Field(None, description="Who is told of warnings.")
    info: Name | None = Field(None, description="Who is told of the rest.")


class Alerting(Strict):
    """What `trunkline render monitoring` writes for Prometheus and Alertmanager (docs/alerting.md)."""

    job: _Job = Field("trunkline", description="The `job_name` by which Prometheus scrapes the servers.")
    over: Duration = Field("5min", validate_default=True, description="Time over which shares and quantiles are taken.")
    rules: Watched = Watched()
    receivers: dict[Name, Receiver] = Field(default_factory=dict, description="Who can be told, by name.")
    routes: Routes = Routes()
    wait: Duration = Field(
        "30s",
        validate_default=True,
        description="How long others of the same cause are waited for, to tell them as one.",
    )
    interval: Duration = Field(
        "5min", validate_default=True, description="How long until what is new of the same cause is told."
    )
    repeat: Duration = Field("1d", validate_default=True, description="How long until what goes on is told once more.")
    runbooks: Annotated[str, AfterValidator(_web)] | None = Field(
        None,
        description="Address of a page with a heading for each rule, which alerts link to; null: alerts name the "
        "heading in docs/alerting.md of the framework.",
    )

    @model_validator(mode="after")
    def _tells_who_exists(self) -> Self:
        for severity in Routes.model_fields:
            name = getattr(self.routes, severity)
            if name is not None and name not in self.receivers:
                hint = nearest(name, self.receivers) or "; declare it: receivers"
                raise ValueError(f"routes.{severity}: no receiver '{name}'{hint}")
        return self

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        for name in ("over", "interval", "repeat"):
            if not getattr(self, name):
                raise ValueError(f"{name}: must be longer than 0s")
        return self
