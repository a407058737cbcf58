"""conf/serving: what `trunkline serve` accepts, on which addresses, and how much of it at once."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from trunkline.core.values import Duration, Group, Strict

Bind = Annotated[str, StringConstraints(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$")]


class Limits(Strict):
    """What one request may be, and how many may wait; what is beyond is refused with its own status."""

    body: int = Field(4_194_304, ge=1024, le=2**30, description="Bytes of a request's body; more is answered 413.")
    rows: int = Field(10_000, ge=1, le=1_000_000, description="Rows of a request; more is answered 413.")
    time: Duration = Field(
        "30s",
        validate_default=True,
        description="Time that a request may take to arrive (408) and to be answered (504); a client may ask for less.",
    )
    queue: int = Field(
        256, ge=1, le=100_000, description="Requests of a worker that may be in work or wait; more are answered 503."
    )


class Protocols(Strict):
    """Which protocols are spoken besides Trunkline's own."""

    mlflow: bool = Field(True, description="POST /invocations, as MLflow's scoring server answers it.")
    open_inference: bool = Field(True, description="The Open Inference Protocol (V2) over REST, below /v2.")
    grpc: Bind | None = Field(None, description="Address of the Open Inference Protocol over gRPC; null: not spoken.")


class Authentication(Strict):
    """Who may ask; with it, an address beyond this machine may be bound."""

    keys: str = Field(
        min_length=1, description="File of the keys' hashes, which `trunkline key add` writes; it is followed."
    )
    rate: float | None = Field(
        None, gt=0, le=1e6, description="Requests a second of each principal, in each worker; more are answered 429."
    )


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
    authentication: Authentication | None = Field(None, description="Who may ask; null: everyone on this machine.")

    def placed(self, project: Path) -> "Serving":
        """Return the same with the paths of files below the project's folder, where they are not absolute."""
        if self.authentication is None:
            return self
        keys = str((project / self.authentication.keys).absolute())
        return self.model_copy(update={"authentication": self.authentication.model_copy(update={"keys": keys})})
