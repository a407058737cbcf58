"""What each alert says: in a line what is so, and then what to do and where to look; as Prometheus' templates."""

from dataclasses import dataclass

_WHERE = "{{ $labels.instance }}{{ with $labels.environment }} ({{ . }}){{ end }}"
_TOPIC = f"{{{{ $labels.topic }}}} at {_WHERE}"
_ENVIRONMENT = "{{ or $labels.environment `the environment` }}"
_SHARE = "{{ $value | humanizePercentage }}"


@dataclass(frozen=True)
class Text:
    """The annotations of an alert."""

    summary: str
    description: str


TEXTS = {
    "down": Text(
        "{{ with $labels.instance }}{{ . }} does not answer{{ else }}No server answers{{ end }} Prometheus",
        "Nothing is known of it, and clients are probably not answered either. Ask its /healthz and /readyz, and read "
        "the log of `trunkline serve`. Without an instance, Prometheus has no target of job {{ $labels.job }}.",
    ),
    "errors": Text(
        f"{_SHARE} of the requests to {_WHERE} are answered 5xx",
        "The log of `trunkline serve` has each with its request id. 500 is a bug or a model that fails, 503 a full "
        "queue or a store that does not answer, 504 a request whose time is over. If they began with a version: "
        "trunkline rollback --to ENVIRONMENT.",
    ),
    "latency": Text(
        f"Requests to {_WHERE} take {{{{ $value | humanizeDuration }}}}",
        "Look at the dashboard's row of traffic: are there more requests, larger ones, or a new version? More servers "
        "or serving.workers help against the first, serving.limits against the second, a rollback against the third.",
    ),
    "refused_requests": Text(
        f"{_SHARE} of the requests to {_WHERE} are refused",
        "Their rows are not as the contract says, so a client or what it reads has changed. The answers name the row "
        "and the field; /openapi.json has the contract. Tell whoever sends them.",
    ),
    "refused_rows": Text(
        f"{_SHARE} of the rows sent to {_WHERE} are refused",
        "They are not as the contract says, so a client or what it reads has changed. The answers name each row and "
        "its field; /openapi.json has the contract. Tell whoever sends them.",
    ),
    "log_dropped": Text(
        f"The prediction log of {_WHERE} lacks {{{{ $value | humanize }}}} rows",
        "They were answered, but nobody can trace or replay them, and the monitor does not see them. Its place is too "
        "slow or does not answer: look at the log of `trunkline serve`; serving.log.queue says how many rows may wait.",
    ),
    "log_problem": Text(
        f"The prediction log of {_WHERE} cannot be written",
        "Rows wait, and are dropped once serving.log.queue is full. The log of `trunkline serve` says why: a full "
        "disk, a right that is missing, a store that does not answer.",
    ),
    "delivery_problem": Text(
        f"{_WHERE} does not serve what is delivered",
        "It goes on with the version that it had. /version says why in `problem`; `trunkline status` shows what is "
        "declared and what is served. Correct it, or: trunkline rollback --to ENVIRONMENT.",
    ),
    "rollout_problem": Text(
        f"{_WHERE} has not loaded the candidate that is declared",
        "The rollout does not go on meanwhile. /version says why, in `rollout`; `trunkline rollout` shows what becomes "
        "of it.",
    ),
    "certificate_expiry": Text(
        f"The certificate of {_WHERE} expires in {{{{ $value | humanizeDuration }}}}",
        "Renew it, and put it where serving.tls names it: the server follows its files, and need not be started again.",
    ),
    "certificate_problem": Text(
        f"The files of the certificate of {_WHERE} are wrong",
        "The server goes on with the one that it read before, until that expires. Its log says what is wrong: mostly "
        "a key that does not belong to the certificate, or only one of the two was replaced.",
    ),
    "features_late": Text(
        f"{_SHARE} of the requests to {_WHERE} have late features of {{{{ $labels.view }}}}",
        "Events do not arrive in time. Look at what pushes them (`trunkline push`, POST /v1/events) or materializes "
        "them, and at the limit in serving.online.views.",
    ),
    "features_missing": Text(
        f"{{{{ $labels.view }}}} knows nothing of {_SHARE} of the requests to {_WHERE}",
        "Entities are new, or the store was emptied or never filled. Fill it: trunkline materialize; and look at what "
        "pushes events, and whether its keys are written as those of requests are.",
    ),
    "stream_lag": Text(
        f"Messages of {_TOPIC} wait {{{{ $value | humanizeDuration }}}}",
        "More come than are done, or there was a pause that is not made up for yet. More processes help: of Kafka each "
        "takes its --partitions; and a larger serving.stream.batch. The dashboard's row of streams shows which it is.",
    ),
    "stream_dead_letters": Text(
        f"{_SHARE} of the messages of {_TOPIC} are dead letters",
        "They are not as the contract says, so whoever writes them has changed. The header trunkline-problem of each "
        "dead letter names its field; with status 500 the model itself failed.",
    ),
    "stream_stalled": Text(
        f"Nothing has become of messages of {_TOPIC} for {{{{ $value | humanizeDuration }}}}",
        "Where trunkline_stream_problem is 1, the broker, the store or a delivery is waited for, and the log of "
        "`trunkline stream` says which; it goes on by itself. Else it hangs: start it again, no answer is lost or "
        "doubled.",
    ),
    "out_of_sync": Text(
        f"{_ENVIRONMENT} does not run what the trunk declares",
        "`trunkline status` says what differs and why, and so does the log of `trunkline reconcile`.",
    ),
    "reconcile_failing": Text(
        "trunkline reconcile ends with {{ $value }}",
        "2: a declaration on the trunk is wrong, and nothing is changed until it is corrected. 3: something outside "
        "fails, such as the remote, MLflow or a server. Its log names the file or the address: "
        "trunkline reconcile --dry-run.",
    ),
    "reconcile_late": Text(
        "trunkline reconcile has not run through for {{ $value | humanizeDuration }}",
        "What is merged does not reach production. See that it runs (its unit, job or container), and what its log "
        "says.",
    ),
    "monitor_late": Text(
        f"trunkline monitor has not run through for {{{{ $value | humanizeDuration }}}} in {_ENVIRONMENT}",
        "Nobody sees drift or a model that gets worse. See that its job runs, and what its log says; by hand: "
        "trunkline monitor.",
    ),
}

_SUBJECT = "{{ with $labels.subject }} of {{ . }}{{ end }}{{ with $labels.label }} ({{ . }}){{ end }}"
BREACH = Text(
    f"Monitoring of {_ENVIRONMENT}: {{{{ $labels.rule }}}}{_SUBJECT}",
    "{meaning} See it with: trunkline monitor --env {environment} --html monitor.html; {advice}",
)
UPSTREAM = "what the model is given is broken: mend that first, and train nothing on these rows."
FOLLOWS = {
    "alert": "what follows is up to you.",
    "issue": "say in an issue what became of it.",
    "retrain": "if nothing upstream is broken, train on newer rows and let the gates judge.",
    "rollback": "if the version before is measurably better on the same rows: trunkline rollback --to ENVIRONMENT.",
}
