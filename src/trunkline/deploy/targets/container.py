"""Dockerfiles of the server and of the pipeline, and a compose file with what conf/ declares beside them. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from trunkline.conf.deploy import Deploy
from trunkline.conf.monitoring import Monitoring
from trunkline.conf.targets import Services
from trunkline.conf.tracking import Tracking, is_server
from trunkline.core.addresses import host_of
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.deploy.targets import server as targets_server
from trunkline.deploy.targets import template
from trunkline.deploy.targets.server import HOME, STORE, USER, Server

_STORES = ("redis", "postgresql")


@dataclass(frozen=True)
class Place:
    """Where the files are, and what of the project decides them."""

    folder: PurePosixPath  # of the files, in the project
    framework: bool  # whether the project is the framework's own repository
    lock: str  # the text of the lock with every extra, `whole`

    @property
    def whole(self) -> str:
        """The lock with every extra: of a project locks/ci.txt, of the framework locks/project.txt."""
        return "locks/project.txt" if self.framework else "locks/ci.txt"

    @property
    def root(self) -> str:
        """The project's folder, as the files name it."""
        return "/".join([".."] * len(self.folder.parts)) or "."


def render(params: Params, place: Place) -> dict[str, str]:
    """Return the texts by the files' names; raises UserError for what is not declared, or does not go together."""
    declared = params.group(Deploy).targets.container
    if declared is None:
        raise UserError(f"{params.where}: deploy.targets.container: is missing; declare it in conf/deploy")
    targets_server.environment(params, declared.environment, "deploy.targets.container.environment")
    server = Server.of(params)
    _check(server, declared.services)
    tracking, monitoring = params.group(Tracking), params.group(Monitoring)
    with_mlflow = is_server(tracking.uri) and host_of(tracking.uri) == "mlflow"
    locks = ["locks/serve-sklearn.txt"] if declared.sklearn else []  # each has what all servers need
    locks += ["locks/serve-arrow.txt"] if server.writes_arrow else []
    values = {
        "server": server, "declared": declared, "services": declared.services, "place": place, "job":
        monitoring.alerting.job, "home": HOME, "store": STORE, "user": USER, "mlflow": with_mlflow,
        "locks": locks or ["locks/serve.txt"], "owned": [STORE, *server.volumes().values()],
    }  # fmt: skip
    names = ["server.Dockerfile", "pipeline.Dockerfile", "compose.yaml"]
    names += ["prometheus.yml"] if declared.services.prometheus else []
    names += ["grafana-datasource.yml", "grafana-dashboards.yml"] if declared.services.grafana else []
    texts = {name: template.render(f"container/{name}.j2", values) for name in names}
    for name in ("server", "pipeline"):
        texts[f"{name}.Dockerfile.dockerignore"] = template.render("container/dockerignore.j2", values | {"of": name})
    if server.clients:
        texts["clients.txt"] = _entries(place, server.clients)
    return texts


def _entries(place: Place, packages: tuple[str, ...]) -> str:
    """Return the lines of some packages of the lock with every extra."""
    entries: Mapping[str, str] = {
        entry.partition("==")[0]: entry for entry in re.split(r"^(?=[a-z0-9])", place.lock, flags=re.MULTILINE)
    }
    if missing := [name for name in packages if name not in entries]:
        raise UserError(f"{place.whole}: lacks {', '.join(missing)}, which the store of online features needs")
    return "".join(entries[name] for name in packages)


def _check(server: Server, services: Services) -> None:
    """Refuse services that do not go together, or that conf/serving does not ask."""
    where = "deploy.targets.container.services"
    if not services.prometheus and (services.alertmanager or services.grafana):
        raise UserError(f"{where}.prometheus: is missing, which alertmanager and grafana ask; declare its image")
    for name in _STORES:
        wanted = server.store_kind == name and server.store_host == name
        if wanted and not getattr(services, name):
            raise UserError(f"{where}.{name}: is missing, but conf/serving has its store there; declare its image")
        if not wanted and getattr(services, name):
            raise UserError(
                f"{where}.{name}: conf/serving has its store elsewhere; write online.store: {name}://{name}/0 there, "
                "or remove the image"
            )
    if services.prometheus and server.serving.tls and server.serving.tls.clients:
        raise UserError(f"{where}.prometheus: has no certificate for the server's tls.clients; remove one of both")
