"""conf/tracking: where finished runs are logged."""

import shlex
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, WithJsonSchema

from trunkline.conf.data import databases
from trunkline.core.addresses import holds_a_secret, host_of, ip_of, is_of_the_link, normal, shown
from trunkline.core.errors import nearest
from trunkline.core.values import Group

URI = "MLFLOW_TRACKING_URI"

_SERVERS = ("http", "https")
_SCHEMES = (*_SERVERS, *databases.WRITABLE)
_BEGINNINGS = f"it begins with one of: {', '.join(_SCHEMES)}"


def _address(uri: str) -> str:
    # No message may repeat the address: a secret in it would end in a log.
    uri = normal(uri)
    scheme, separator, rest = uri.partition("://")
    if not separator:
        raise ValueError(f"is not an address such as sqlite:///mlflow.db or https://host; {_BEGINNINGS}")
    if scheme not in _SCHEMES:
        raise ValueError(f"no tracking address begins with '{scheme[:60]}'{nearest(scheme, _SCHEMES)}")
    if holds_a_secret(uri):
        raise ValueError(f"holds a secret, which git would keep for ever; set {URI} instead")
    if scheme.startswith("sqlite") and rest in ("", "/", "/:memory:"):
        raise ValueError("a database in memory keeps nothing; name a file, such as sqlite:///mlflow.db")
    if (ip := ip_of(host_of(uri))) and is_of_the_link(ip):
        raise ValueError("is an address of the link, where a cloud tells its machines their credentials; name a server")
    return uri if scheme in _SERVERS else databases.database(uri, databases.WRITABLE)


Address = Annotated[
    str,
    AfterValidator(_address),
    WithJsonSchema({"type": "string", "title": "address, such as https://host", "pattern": "://"}),
]


class Tracking(Group):
    """MLflow; the environment's MLFLOW_TRACKING_URI comes before the declared address."""

    key: ClassVar[str] = "tracking"

    uri: Address = Field(
        "sqlite:///mlflow.db",
        description="MLflow tracking address, without a secret; relative paths start at the project.",
    )
    experiment: str = Field(description="MLflow experiment that runs belong to.", min_length=1, max_length=500)

    def address(self, environ: Mapping[str, str]) -> str:
        """Return the environment's address, else the declared one."""
        return environ.get(URI) or self.uri


def is_server(uri: str) -> bool:
    """Tell an MLflow server from a database that MLflow opens itself."""
    return uri.startswith(("http://", "https://"))


def look(uri: str) -> str:
    """Return where a person sees the runs: the server's address, or the command that opens the database."""
    if is_server(uri):
        return shown(uri).rstrip("/")
    store = shlex.quote(uri) if uri == shown(uri) else f'"${URI}"'
    return f"mlflow ui --backend-store-uri {store}"
