"""A service of Google Cloud Run, in its YAML: a server that follows an environment, and its reconciler. Pure."""

from collections.abc import Iterator

from trunkline.conf.deploy import Deploy
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.deploy.targets import server as targets_server
from trunkline.deploy.targets import template
from trunkline.deploy.targets.server import STORE, Server

_HERE = "deploy.targets.cloud_run"


def render(params: Params) -> dict[str, str]:
    """Return the text by the file's name; raises UserError for what is not declared, or would not run there."""
    declared = params.group(Deploy).targets.cloud_run
    if declared is None:
        raise UserError(f"{params.where}: {_HERE}: is missing; declare it in conf/deploy")
    targets_server.environment(params, declared.environment, f"{_HERE}.environment")
    server = Server.of(params)
    if server.serving.tls:
        raise UserError("conf/serving: tls: Cloud Run ends TLS itself, and asks a server without; remove it")
    if volumes := server.volumes():
        raise UserError(f"conf/serving: {min(volumes)}: is a place in an instance, which is gone with it; name a store")
    values = {"server": server, "declared": declared, "store": STORE, "secrets": list(_secrets(server))}
    return {f"{server.name}-cloud-run.yaml": template.render("google/cloud-run.yaml.j2", values)}


def _secrets(server: Server) -> Iterator[tuple[str, str, str]]:
    """Yield the secret, the folder and the file of each that is mounted, for the server.

    Raises UserError for two files of one folder: Cloud Run mounts one secret in each.
    """
    for folder, names in server.folders().items():
        if len(names) > 1:
            raise UserError(f"conf/serving: {folder.name}: Cloud Run mounts one secret in a folder; give each its own")
        yield f"{server.name}-{folder.name}", str(folder), names[0]
