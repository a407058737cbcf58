"""Manifests of the cluster that conf/engine names, for KubeRay or the operator of Spark, and of a run on it. Pure.

They are no part of the base: whoever applies a run begins it. A worker has room for one task of conf/engine.
"""

import math
from pathlib import PurePosixPath

from trunkline.conf.engine import Engine
from trunkline.conf.targets import Machines
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.deploy.targets import template
from trunkline.deploy.targets.server import USER
from trunkline.pipeline.features.executors import cluster

WORK = PurePosixPath("/work")  # the clone, on all machines
_PORT = 6379  # of Ray's head
_AROUND = 1024  # MiB of a worker of Ray besides its task: Ray's own processes and its store
_STORE = 100 * 10**6  # bytes of that store: tasks leave files, and return little


def render(params: Params, machines: Machines, name: str, folder: PurePosixPath) -> dict[str, str]:
    """Return the texts by the files' paths in the folder; raises UserError for what machines cannot share or reach."""
    engine = params.group(Engine)
    _check(engine, name)
    task = engine.bytes + cluster.PROCESS
    values = {
        "name": name, "machines": machines, "engine": engine, "user": USER, "work": WORK, "folder": folder,
        "task": task, "store": _STORE, "task_mib": math.ceil(task / 2**20), "around": _AROUND,
    }  # fmt: skip
    files = _FILES[engine.executor]
    return {f"engine/{file}": template.render(f"kubernetes/engine/{file}.j2", values) for file in files}


_FILES = {"ray": ("ray-cluster.yaml", "ray-job.yaml"), "spark": ("spark-application.yaml", "reproduce.py")}


def _check(engine: Engine, name: str) -> None:
    """Refuse what stages in the cluster would not reach, or not share."""
    head = f"{name}-ray-head-svc"
    host, _, port = (engine.address or "").rpartition(":")
    if engine.executor == "local":
        problem = "executor: local has no machines; name ray or spark, or remove deploy.targets.kubernetes.engine"
    elif engine.executor == "ray" and (host.partition(".")[0], port) != (head, str(_PORT)):
        problem = f"address: KubeRay names the head after its cluster; write {head}:{_PORT}"
    elif engine.executor == "spark" and engine.address:
        problem = "address: the operator names Spark's master itself; write null"
    elif not (WORK / engine.folder).is_relative_to(WORK) or ".." in PurePosixPath(engine.folder).parts:
        problem = (
            f"folder: {engine.folder} is not on the volume, which all machines have at {WORK}; write .cache/engine"
        )
    else:
        return
    raise UserError(f"conf/engine: {problem}")
