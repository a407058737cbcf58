"""conf/serving: what `trunkline serve` accepts, on which addresses, and how much of it at once."""

import ipaddress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from trunkline.core.values import Column, Duration, Group, Name, Strict, Tuple

Bind = Annotated[str, StringConstraints(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$")]
# Of key pairs only: with HS256 a server that checks tokens could make them, and a public key pass for a secret.
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]  # fmt: skip

_SQLITE = "sqlite:///"
Treatment = Literal["keep", "hash", "leave_out"]


class Limits(Strict):
    """What one request may be, and how many may wait; what is beyond is refused with its own status."""

    body: int = Field(4_194_304, ge=1024, le=2**30, description="Bytes of a request's body; more is answered 413.")
    rows: int = Field(10_000, ge=1, le=1_000_000, description="Rows of a request; more is answered 413.")
    depth: int = Field(
        32, ge=8, le=200, description="Arrays and objects of a JSON body that may stand in one another; more: 400."
    )
    time: Duration = Field(
        "30s",
        validate_default=True,
        description="Time that a request may take to arrive (408) and to be answered (504); a client may ask for less.",
    )
    headers: Duration = Field(
        "10s",
        validate_default=True,
        description="Time that a connection may take to its first request, TLS included, and to the end of each "
        "request's headers; then it is closed.",
    )
    connections: int = Field(
        900,
        ge=1,
        le=1_000_000,
        description="Connections of a worker over HTTP; more are answered 503. Each is an open file, of which many "
        "systems allow a process 1024.",
    )
    queue: int = Field(
        256, ge=1, le=100_000, description="Requests of a worker that may be in work or wait; more are answered 503."
    )


class Protocols(Strict):
    """Which protocols are spoken besides Trunkline's own."""

    mlflow: bool = Field(True, description="POST /invocations, as MLflow's scoring server answers it.")
    open_inference: bool = Field(True, description="The Open Inference Protocol (V2) over REST, below /v2.")
    arrow: bool = Field(
        False, description="Streams of Arrow IPC as bodies of /v1/predict, for many rows; needs the extra serve-arrow."
    )
    grpc: Bind | None = Field(None, description="Address of the Open Inference Protocol over gRPC; null: not spoken.")


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its name or address; nothing is resolved."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_url(place: str) -> bool:
    """Tell whether a place is a URL, and no path of a file."""
    return "://" in place


def _place_of_keys(place: str) -> str:
    if not is_url(place):
        return place
    parts = urlsplit(place)
    if parts.scheme == "https" and parts.hostname:
        return place
    if parts.scheme == "http" and is_loopback(parts.hostname or ""):
        return place
    raise ValueError(
        f"'{place}' is neither a file nor a URL of https; http is for this machine alone, such as 127.0.0.1"
    )


class Jwt(Strict):
    """Whose tokens (JWT) are accepted, and what in them says who asks and for what."""

    issuer: str = Field(min_length=1, description="The claim `iss` of every token, exactly.")
    audience: str = Field(min_length=1, description="The claim `aud` of every token: this server, and nobody else.")
    jwks: Annotated[str, AfterValidator(_place_of_keys)] = Field(
        min_length=1, description="The issuer's public keys, a JWK set: a URL of https, or a file of the project."
    )
    algorithms: Annotated[tuple[Algorithm, ...], Tuple] = Field(
        ("RS256", "ES256"), min_length=1, description="Algorithms of signatures that are accepted."
    )
    scopes_claim: str = Field(
        "scope", min_length=1, description="The claim with the scopes: words in a text, or a list. Others are ignored."
    )
    principal_claim: str = Field("sub", min_length=1, description="The claim that says who asks; it has its own rate.")
    require_nbf: bool = Field(
        True, description="Whether a token has to say from when it counts (`nbf`); where it does, that is held to."
    )
    leeway: Duration = Field("30s", validate_default=True, description="How far the issuer's clock may be from ours.")
    refresh: Duration = Field(
        "5min", validate_default=True, description="Age of the keys at which they are read again."
    )
    cooldown: Duration = Field(
        "30s", validate_default=True, description="Shortest time between two readings, whether or not they succeed."
    )
    timeout: Duration = Field("5s", validate_default=True, description="Time that reading them may take.")
    stale: Duration = Field(
        "1d", validate_default=True, description="Age up to which keys count while newer ones cannot be read."
    )


class Authentication(Strict):
    """Who may ask: by keys, tokens or both; with it, an address beyond this machine may be bound."""

    keys: str | None = Field(
        None, min_length=1, description="File of the keys' hashes, which `trunkline key add` writes; it is followed."
    )
    jwt: Jwt | None = Field(None, description="Tokens of an issuer; null: none is accepted.")
    rate: float | None = Field(
        None, gt=0, le=1e6, description="Requests a second of each principal, in each worker; more are answered 429."
    )

    @model_validator(mode="after")
    def _names_a_credential(self) -> Self:
        if self.keys is None and self.jwt is None:
            raise ValueError("declares no credential: give keys, jwt or both")
        return self


class Tls(Strict):
    """The server's certificate, for HTTP and gRPC; the files are followed."""

    certificate: str = Field(min_length=1, description="File of the certificate and its chain, in PEM.")
    key: str = Field(min_length=1, description="File of the certificate's private key, in PEM and without passphrase.")
    clients: str | None = Field(
        None,
        min_length=1,
        description="File of the authorities (CA), in PEM, one of which has to vouch for each client's certificate; "
        "null: clients need none.",
    )


Fallback = Literal["default", "null", "refuse"]


class Freshness(Strict):
    """How old what a view knows may be, and what becomes of a request whose view knows too little."""

    limit: Duration | None = Field(None, description="Age of the last event above which a view is stale; null: none.")
    missing: Fallback = Field(
        "default",
        description="What a view gives that knows nothing of the entity: default, what training gave such a row; null; "
        "or refuse, and the request is answered 422.",
    )
    stale: Fallback = Field("default", description="The same for a view whose last event is older than `limit`.")


def _no_secret(url: str) -> str:
    if urlsplit(url).password is not None:
        raise ValueError("holds a password: leave it out, and set REDISCLI_AUTH or PGPASSWORD")
    return url


class Online(Strict):
    """Where features are joined from: /v1/predict then takes the columns that are known when a prediction is made."""

    store: Annotated[str, AfterValidator(_no_secret)] = Field(
        min_length=1,
        description="Address of the store: sqlite:///data/online.db, a file of the project; redis://…, rediss://…; or "
        "postgresql://….",
    )
    views: dict[Name, Freshness] = Field(default_factory=dict, description="Views that must be fresh, by name.")
    keep: Duration | None = Field(
        None,
        description="How long before now a prediction may be asked for; what only earlier ones would see is dropped as "
        "rows are stored, by `materialize`, `push` and POST /v1/events. null: nothing is dropped.",
    )


Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]


class Encryption(Strict):
    """The keys of files that are encrypted at rest, by AES-256-GCM: names of environment variables, never a key."""

    key: Variable = Field(
        description="Environment variable that holds the key of new files: 32 bytes in base64, or the path of a file "
        "with them."
    )
    before: Annotated[tuple[Variable, ...], Tuple] = Field(
        (), description="Variables that hold keys which older files were encrypted by."
    )


class Log(Strict):
    """Where each prediction is written down, and what of it; needs the extra `serve-arrow`."""

    to: str = Field(min_length=1, description="A folder of the project, or of an object store: s3://bucket/log.")
    interval: Duration = Field(
        "60s", validate_default=True, description="Time within which a row is in a file: what a crash may lose."
    )
    queue: int = Field(
        100_000,
        ge=1,
        le=100_000_000,
        description="Rows of a worker that may wait until they are written; more are dropped, and counted.",
    )
    keep: Duration | None = Field(None, description="Age at which whole hours are removed; null: none is.")
    columns: dict[Column, Treatment] = Field(
        default_factory=dict,
        description="What becomes of a column's values: keep, hash or leave_out. Of columns not named here, those that "
        "conf/contract marks as personal, sensitive or identifier, or that are made of these, are left out; others are "
        "kept.",
    )
    principal: Treatment = Field("keep", description="What becomes of the name of who asked: keep, hash or leave_out.")
    key: str | None = Field(
        None, min_length=1, description="Environment variable that holds the key of hashes (HMAC-SHA256)."
    )
    encrypt: Encryption | None = Field(
        None, description="By which keys files are encrypted; null: they are plain Parquet. Both are read."
    )

    @model_validator(mode="after")
    def _hashes_with_a_key(self) -> Self:
        if self.key is None and "hash" in (self.principal, *self.columns.values()):
            raise ValueError("hash needs a key: name the environment variable that holds it: key")
        return self

    @field_validator("interval", "keep")
    @classmethod
    def _not_zero(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and not value:
            raise ValueError("must be longer than 0s")
        return value


Topic = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,200}$")]
_BROKER = r"^(kafka://[A-Za-z0-9.:\[\],-]+|(nats|tls)://[A-Za-z0-9.:@_\[\]-]+)$"


class EventTopic(Strict):
    """A topic of events: each message is a row of a table, or a change of one as Debezium tells it."""

    table: Name = Field(description="The table whose rows they are.")
    dead_letters: Topic = Field(description="Topic that messages go to which are refused.")
    envelope: Literal["none", "debezium"] = Field(
        "none", description="How a row is wrapped: none, the message is the row; debezium, its change events in JSON."
    )


class Stream(Strict):
    """Where `trunkline stream` reads requests from, and what it writes; topics of Kafka, or subjects of NATS."""

    broker: Annotated[str, StringConstraints(pattern=_BROKER)] = Field(
        description="Address: kafka://HOST:PORT[,HOST:PORT…], nats://HOST:PORT or tls://HOST:PORT, with a user before "
        "@ if NATS asks for one; the password is in TRUNKLINE_STREAM_PASSWORD."
    )
    options: dict[str, str] = Field(
        default_factory=dict,
        description="Settings of librdkafka for Kafka, such as security.protocol: SASL_SSL; no secret belongs here.",
    )
    requests: Topic = Field(description="Topic of the requests: each message is a row, a JSON object.")
    answers: Topic = Field(description="Topic that answers are written to, in as many partitions as requests.")
    dead_letters: Topic = Field(description="Topic for requests that are refused, in as many partitions as requests.")
    events: dict[Topic, EventTopic] = Field(
        default_factory=dict, description="Topics of events, from which `online` stores what features are made of."
    )
    group: Topic = Field("trunkline", description="Group that offsets are committed for; in NATS, of the consumers.")
    batch: int = Field(500, ge=1, le=100_000, description="Messages at most that are scored and written at once.")
    wait: float = Field(0.05, gt=0, le=60, description="Seconds at most that a batch waits to be full.")
    unacknowledged: int = Field(
        5000, ge=1, le=1_000_000, description="Messages that NATS gives out, to all processes, before they are done."
    )
    redelivery: Duration = Field(
        "30s",
        validate_default=True,
        description="Time after which NATS gives out a message again that is not done; no answers' stream may "
        "remember duplicates for less.",
    )
    metrics: Bind | None = Field(None, description="Address at which Prometheus is answered; null: none.")

    @model_validator(mode="after")
    def _topics_differ(self) -> Self:
        dead = [each.dead_letters for each in self.events.values()]
        topics = [self.requests, self.answers, self.dead_letters, *self.events, *dead]
        if twice := sorted({name for name in topics if topics.count(name) > 1}):
            raise ValueError(f"topic {twice[0]}: is there more than once; each has one use")
        return self


class Serving(Group):
    """How a bundle is served; no stage reads it, so that a change reruns nothing."""

    key: ClassVar[str] = "serving"

    bind: Bind = Field("127.0.0.1:8080", description="Address and port of HTTP; port 0 is any that is free.")
    workers: int = Field(1, ge=1, le=256, description="Processes that share the port, each with a copy of the bundle.")
    drain: Duration = Field(
        "30s", validate_default=True, description="Time that requests in work have to end after SIGTERM."
    )
    limits: Limits = Limits()
    protocols: Protocols = Protocols()
    tls: Tls | None = Field(None, description="The server's certificate; null: no TLS.")
    authentication: Authentication | None = Field(None, description="Who may ask; null: everyone on this machine.")
    online: Online | None = Field(None, description="Where features are joined from; null: requests bring them.")
    log: Log | None = Field(None, description="Where each prediction is written down; null: nowhere.")
    stream: Stream | None = Field(None, description="What `trunkline stream` reads and writes; null: nothing.")

    @model_validator(mode="after")
    def _streams_fit(self) -> Self:
        if self.stream and self.stream.batch > self.limits.rows:
            raise ValueError(
                f"stream.batch: more than limits.rows, {self.limits.rows}: a batch is scored as one request"
            )
        if self.stream and self.stream.events and not self.online:
            raise ValueError("stream.events: needs online, the store that events go to")
        return self

    @property
    def asks_who(self) -> bool:
        """Whether a client has to say who it is, by a credential or by a certificate."""
        return self.authentication is not None or (self.tls is not None and self.tls.clients is not None)

    def placed(self, project: Path) -> "Serving":
        """Return the same with the paths of files below the project's folder, where they are not absolute."""
        authentication = self.authentication and _placed(self.authentication, project, "keys")
        if authentication and authentication.jwt:
            authentication = authentication.model_copy(update={"jwt": _placed(authentication.jwt, project, "jwks")})
        tls = self.tls and _placed(self.tls, project, "certificate", "key", "clients")
        log = self.log and _placed(self.log, project, "to")
        online = self.online and self.online.model_copy(update={"store": _placed_store(self.online.store, project)})
        placed = {"authentication": authentication, "tls": tls, "log": log, "online": online}
        return self.model_copy(update=placed)


_Structure = TypeVar("_Structure", bound=Strict)


def _placed_store(url: str, project: Path) -> str:
    """Return the address of a store, of which the file of SQLite is below a folder, where it is not absolute."""
    path = url.removeprefix(_SQLITE)
    return f"{_SQLITE}{(project / path).absolute()}" if url.startswith(_SQLITE) else url


def _placed(structure: _Structure, project: Path, *keys: str) -> _Structure:
    """Return a structure with its paths below a folder; null and URLs stay."""
    given = {key: getattr(structure, key) for key in keys}
    paths = {key: str((project / value).absolute()) for key, value in given.items() if value and not is_url(value)}
    return structure.model_copy(update=paths)
