"""A dev container with VS Code's settings, and a compose file with Jupyter and MLflow beside it. Pure."""

import re
from importlib import resources

from trunkline.conf.deploy import Deploy
from trunkline.conf.tracking import Tracking, is_server
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.deploy.targets import template
from trunkline.deploy.targets.container import Place

FILES = ("Dockerfile", "Dockerfile.dockerignore", "compose.yaml", "devcontainer.json", "kernel.json")
JUPYTER = "jupyter.txt"  # what Jupyter needs, by hash, with the versions of the lock
WORKSPACE = "/workspace"


def render(params: Params, place: Place) -> dict[str, str]:
    """Return the texts by the files' names; raises UserError where the base image is not declared."""
    declared = params.group(Deploy).targets.development
    if declared is None:
        raise UserError(f"{params.where}: deploy.targets.development: is missing; declare it in conf/deploy")
    uri = params.group(Tracking).uri
    values = {
        "declared": declared, "folder": place.folder, "root": place.root, "workspace": WORKSPACE,
        "name": re.sub(r"[^a-z0-9]+", "-", params.name.lower()).strip("-"),
        "lock": "dev" if place.framework else "ci", "mlflow": None if is_server(uri) else uri,
    }  # fmt: skip
    texts = {name: template.render(f"development/{name}.j2", values) for name in FILES}
    jupyter = resources.files(__package__).joinpath("development", JUPYTER)
    return {**texts, JUPYTER: jupyter.read_text(encoding="utf-8")}
