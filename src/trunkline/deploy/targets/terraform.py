"""One main.tf.json for each cloud: bucket, registry, secrets, compute and an alert, with the least rights. Pure.

The compute is a server that follows an environment, and its reconciler, as in a cluster; so nothing here has a version.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from trunkline.conf.deploy import Deploy
from trunkline.conf.targets import Aws, Azure, Google
from trunkline.conf.tracking import Tracking
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.core.safe_yaml import parse_yaml
from trunkline.deploy.targets import server as targets_server
from trunkline.deploy.targets import template
from trunkline.deploy.targets.server import STORE, USER, Server

_HERE = "deploy.targets.terraform"
_NOTE = "Written by `trunkline render terraform` of conf/deploy; what is changed here is written over."
_GIT = PurePosixPath("/secrets/git")
_OWN = {"clone": "/clone", "store": str(STORE), "tmp": "/tmp", "git": str(_GIT)}  # noqa: S108  folders in a task
_GRANTS = (  # of Google's bucket: what it is called, to whom, which role, below which folder; DVC writes nothing twice
    ("remote_read", "pipeline", "objectViewer", "dvc"),
    ("remote_write", "pipeline", "objectCreator", "dvc"),
    ("bundles", "server", "objectViewer", "dvc"),
    ("log", "server", "objectUser", "log"),
)


@dataclass(frozen=True)
class Secret:
    """What a server reads that is secret: a file, or a variable where `path` is None."""

    model: str
    group: str
    file: str
    path: str | None = None

    @property
    def git(self) -> bool:
        """Whether the reconciler reads it, and not the server."""
        return self.path is not None and PurePosixPath(self.path).parent == _GIT

    @property
    def id(self) -> str:
        """What Terraform calls it."""
        return re.sub(r"\W", "_", f"{self.group}_{self.file}").lower()

    @property
    def name(self) -> str:
        """What AWS calls it."""
        return f"{self.model}/{self.group}/{self.file}"

    @property
    def dashed(self) -> str:
        """What Google and Azure call it, which allow no stroke and no dot."""
        return f"{self.model}-{re.sub(r'[^a-z0-9]+', '-', f'{self.group}-{self.file}'.lower())}"

    @property
    def folder(self) -> str:
        """The folder that it is mounted in."""
        return str(PurePosixPath(self.path or "/").parent)

    @property
    def variable(self) -> str:
        """The environment variable that it is in, as long as it is in none of the files."""
        return self.file if self.path is None else f"FILE_{self.id.upper()}"


def render(params: Params) -> dict[str, str]:
    """Return the texts by the files' paths; raises UserError for what is not declared, or would not run there."""
    declared = params.group(Deploy).targets.terraform
    if declared is None:
        raise UserError(f"{params.where}: {_HERE}: is missing; declare it in conf/deploy")
    server = Server.of(params)
    clouds = {"aws": declared.aws, "google": declared.google, "azure": declared.azure}
    return {f"{name}/main.tf.json": _text(name, cloud, server, params) for name, cloud in clouds.items() if cloud}


def _text(name: str, declared: Aws | Google | Azure, server: Server, params: Params) -> str:
    """Return the file of a cloud: its template, as JSON, since Terraform reads that without a dialect of ours."""
    targets_server.environment(params, declared.environment, f"{_HERE}.{name}.environment")
    _check(name, server)
    values = _values(declared, server, params.group(Tracking))
    content = parse_yaml(template.render(f"terraform/{name}.yaml.j2", values))
    return json.dumps({"//": _NOTE} | content, indent=2, ensure_ascii=False) + "\n"


def _check(name: str, server: Server) -> None:
    """Refuse what would be gone with a container, and what a cloud does itself."""
    names = [*_OWN, *(path.name for path in server.folders())]
    if len(set(names)) < len(names):
        raise UserError(
            f"conf/serving: two folders have one name, or that of: {', '.join(_OWN)}; give each another one"
        )
    if volumes := server.volumes():
        raise UserError(
            f"conf/serving: {min(volumes)}: is a place in a container, which is gone with it; write an address"
        )
    if server.serving.authentication is None and name != "google":
        raise UserError("conf/serving: authentication: is missing, and whoever reaches the servers would be answered")
    if server.serving.tls and server.serving.tls.clients:
        raise UserError("conf/serving: tls.clients: probes show no certificate; declare authentication")
    if server.serving.tls and name != "aws":
        raise UserError(f"conf/serving: tls: {name} ends TLS itself, and asks a server without; remove it")
    if name == "google" and any(len(files) > 1 for files in server.folders().values()):
        raise UserError("conf/serving: Cloud Run mounts one secret in a folder; give each file its own")


def _values(declared: Aws | Google | Azure, server: Server, tracking: Tracking) -> dict[str, Any]:
    """Return what the templates may name."""
    secrets = list(_secrets(server))
    own = {name: path for name, path in _OWN.items() if server.ssh or name != "git"}
    volumes = own | {path.name: str(path) for path in server.folders()}
    return {
        "name": server.name, "declared": declared, "server": server, "secrets": secrets, "volumes": volumes,
        "own": tuple(own), "user": USER, "store": STORE, "prepare": _prepare(secrets, volumes), "probe": _probe(server),
        "grace": min(int(server.serving.drain.total_seconds()) + 10, 120),  # Fargate's most
        "egress": targets_server.egress(server, tracking), "reconcile": _reconcile(declared.environment, server.trunk),
        "account": lambda role: f"{server.name[: 29 - len(role)]}-{role}",  # 30 letters at most
        "grants": [each for each in _GRANTS if declared.server or each[1] == "pipeline"],
        "within": lambda folder: _within(declared.bucket, folder),
        "errors": _errors(f"{server.name}-{declared.environment}"),
    }  # fmt: skip


def _within(bucket: str, folder: str) -> str:
    """Return the condition of Google's IAM: an object of a folder of the bucket, or the list of its objects."""
    objects = f'resource.name.startsWith("projects/_/buckets/{bucket}/objects/{folder}/")'
    return f'{objects} || resource.type != "storage.googleapis.com/Object"'


def _secrets(server: Server) -> Iterator[Secret]:
    """Yield what is secret; a model's name and these give the names that a cloud has of them."""
    for file in ("key", "known_hosts") if server.ssh else ():
        yield Secret(server.name, "git", file, str(_GIT / file))
    for variable in server.secrets:
        yield Secret(server.name, "server", variable)
    for folder, files in server.folders().items():
        for file in files:
            yield Secret(server.name, folder.name, file, str(folder / file))


def _prepare(secrets: list[Secret], volumes: dict[str, str]) -> str:
    """Return the program that makes files of variables, and gives folders to the user of the other containers."""
    writes = [f'printf "%s\\n" "${each.variable}" >{each.path}; chmod 400 {each.path}' for each in secrets if each.path]
    return "\n".join(["umask 077", *writes, f"chown -R {USER}:{USER} {' '.join(volumes.values())}"])


def _reconcile(environment: str, trunk: str) -> str:
    return (
        'test -e /clone/HEAD || git clone --quiet --bare "$ORIGIN" /clone\ncd /clone\n'
        f"exec python -m trunkline.cli reconcile --watch 30s --store {STORE} "
        f"--environment {environment} --trunk {trunk}"
    )


def _probe(server: Server) -> str:
    """Return the program in an image without a shell that fails until a version is delivered and loaded."""
    scheme, options = ("https", ", context=ssl._create_unverified_context()") if server.serving.tls else ("http", "")
    request = f"urllib.request.urlopen('{scheme}://127.0.0.1:{server.port}/readyz', timeout=4{options})"
    return f"import ssl, urllib.request; {request}"


def _errors(service: str) -> str:
    """Return the query of PromQL: the share of answers with 5xx is more than one in a hundred."""
    count = "run_googleapis_com:request_count"
    of = f'monitored_resource="cloud_run_revision",service_name="{service}"'
    return f'sum(rate({count}{{{of},response_code_class="5xx"}}[5m])) / sum(rate({count}{{{of}}}[5m])) > 0.01'
