"""conf/deploy, targets: what `trunkline render` writes for programs that run containers; nothing that is not declared.

No digest is looked up: which image is meant is declared, as its digest, and a tag, which can be moved, is refused.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from trunkline.core.values import Strict

_IMAGE = r"[a-z0-9][a-z0-9._:/-]*[a-z0-9]@sha256:[0-9a-f]{64}"
_ORIGIN = r"(https://[\w.-]+(:\d+)?/|ssh://\w+@[\w.-]+(:\d+)?/|\w+@[\w.-]+:)[\w./~-]+"


def _image(name: str) -> str:
    if not re.fullmatch(_IMAGE, name):
        raise ValueError(f"'{name[:100]}' names no digest; write what the registry says it is: NAME@sha256:64 digits")
    return name


def _origin(address: str) -> str:
    if not re.fullmatch(_ORIGIN, address):  # no message may repeat the address: a secret in it would end in a log
        raise ValueError("is no address such as https://host/team/flights.git or git@host:team/flights.git")
    return address


Image = Annotated[
    str,
    AfterValidator(_image),
    WithJsonSchema({"type": "string", "title": "image by its digest: NAME@sha256:…", "pattern": f"^{_IMAGE}$"}),
]
Origin = Annotated[
    str,
    AfterValidator(_origin),
    WithJsonSchema(
        {"type": "string", "title": "address of the repository, without a secret", "pattern": f"^{_ORIGIN}$"}
    ),
]


class Services(Strict):
    """Images of what runs beside the server in compose; null: it is not there."""

    redis: Image | None = Field(None, description="Redis, where serving.online.store is an address of the host redis.")
    postgresql: Image | None = Field(
        None, description="PostgreSQL, where serving.online.store is an address of the host postgresql."
    )
    prometheus: Image | None = Field(None, description="Prometheus, with the rules of `trunkline render monitoring`.")
    alertmanager: Image | None = Field(None, description="Alertmanager, with the routes of the same; for prometheus.")
    grafana: Image | None = Field(None, description="Grafana, with the dashboard of the same; for prometheus.")


class Container(Strict):
    """Two Dockerfiles and a compose file: `trunkline render container`."""

    base: Image = Field(description="Image with Python 3.11 to 3.13 and pip, in which packages are installed.")
    runtime: Image | None = Field(
        None,
        description="Image in which the server runs, with `python3` of the same version: such as one without a shell; "
        "null: base.",
    )
    pipeline: Image | None = Field(
        None,
        description="Image with Python, git and libgomp1, in which the pipeline and `trunkline reconcile` run; null: "
        "base.",
    )
    environment: str = Field("production", description="The environment whose version the server of compose serves.")
    sklearn: bool = Field(False, description="Whether bundles with `runtime: sklearn` are served, which need more.")
    services: Services = Services()


class Targets(Strict):
    """What `trunkline render` writes, beside monitoring; null: it is refused."""

    origin: Origin | None = Field(
        None, description="Where the repository is, for what reads the trunk: `trunkline reconcile`, Argo CD, Flux."
    )
    container: Container | None = Field(None, description="Dockerfiles and a compose file.")
