"""Manifests for Kustomize: a base, an overlay for each environment, and what Argo CD or Flux read. Pure.

They hold no version and no share of a rollout: the server itself splits by key, by the pointer that the reconciler in
its pod writes of models/registry.yaml. A splitter in front would split the shares again. Where conf/deploy has Argo
Rollouts or KServe split instead, an overlay holds both, of models/registry.yaml, and a pod serves one version.
"""

import re
from pathlib import PurePosixPath
from typing import Any

from trunkline.conf.deploy import Deploy
from trunkline.conf.monitoring import Monitoring
from trunkline.conf.registry import Registry
from trunkline.conf.targets import Kubernetes
from trunkline.conf.tracking import Tracking
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.deploy.targets import engine, split, template
from trunkline.deploy.targets import server as targets_server
from trunkline.deploy.targets.server import STORE, USER, Server

_HERE = "deploy.targets.kubernetes"
_OWN = frozenset({"clone", "store", "tmp", "git", "server", "reconcile", "scrape"})  # names of volumes and secrets


def render(params: Params, folder: PurePosixPath, registered: Registry | None = None) -> dict[str, str]:
    """Return the texts by the files' paths in the folder; raises UserError for what would not run in a cluster.

    `registered` is models/registry.yaml, where Argo Rollouts or KServe split.
    """
    deploy = params.group(Deploy)
    declared = deploy.targets.kubernetes
    if declared is None:
        raise UserError(f"{params.where}: {_HERE}: is missing; declare it in conf/deploy")
    for name in declared.environments:
        targets_server.environment(params, name, f"{_HERE}.environments")
    server = Server.of(params)
    _check(server, declared)
    values = _values(server, declared, params, folder)
    texts = {f"base/{name}": template.render(f"kubernetes/{name}.j2", values) for name in values["resources"]}
    texts["base/kustomization.yaml"] = template.render("kubernetes/base-kustomization.yaml.j2", values)
    for name in sorted(deploy.environments):
        arms = split.of(registered, name, deploy) if registered else None
        if declared.kserve and arms and arms.kind == "shadow":
            raise UserError(f"{_HERE}: {name}: shadow: KServe mirrors no requests; declare no such step in conf/deploy")
        texts |= _environment(name, values | {"split": arms})
    return texts | (engine.render(params, declared.engine, server.name, folder) if declared.engine else {})


def _check(server: Server, declared: Kubernetes) -> None:
    """Refuse what is safe on one machine, and not in a cluster."""
    serving = server.serving
    if serving.tls and serving.tls.clients:
        raise UserError("conf/serving: tls.clients: probes and Prometheus show no certificate; declare authentication")
    if serving.tls and (declared.argo_rollouts or declared.kserve):
        raise UserError("conf/serving: tls: what splits requests cannot do so unread, and encrypts itself; remove tls")
    if serving.authentication is None:
        raise UserError(
            "conf/serving: authentication: is missing, and whoever reaches the servers would be answered; declare it"
        )
    if volumes := server.volumes():
        remedies = {"log": "log.to: s3://bucket/log", "online": "online.store: redis://host:6379/0"}
        name = next(iter(volumes))
        raise UserError(
            f"conf/serving: {remedies[name].partition(':')[0]}: is a place in a pod, which is gone with it; "
            f"write such as {remedies[name]}"
        )


def _values(server: Server, declared: Kubernetes, params: Params, folder: PurePosixPath) -> dict[str, Any]:
    """Return what templates of the base may name."""
    mounts = {re.sub(r"[^a-z0-9]+", "-", path.name.lower()).strip("-"): path for path in server.folders()}
    if len(mounts) < len(server.folders()) or _OWN & mounts.keys():
        raise UserError(
            f"conf/serving: the folders {', '.join(sorted(path.name for path in server.folders()))} name Secrets; "
            f"give each another name, and none of: {', '.join(sorted(_OWN))}"
        )
    files = server.folders()
    secrets: dict[str, tuple[str, ...]] = {
        "reconcile": (),
        "scrape": ("key", "ca.crt") if server.serving.tls else ("key",),
        **({"git": ("key", "known_hosts")} if server.ssh else {}),
        **({"server": server.secrets} if server.secrets else {}),
        **{name: files[path] for name, path in mounts.items()},
    }
    workload = ["rollout.yaml", "virtualservice.yaml"] if declared.argo_rollouts else ["deployment.yaml"]
    scaler = ["scaledobject.yaml" if declared.keda else "horizontalpodautoscaler.yaml"]
    if declared.kserve:  # which does both, by a file of each overlay
        workload, scaler = [], []
    resources = [
        *workload, "externalsecrets.yaml", *scaler, "networkpolicy.yaml", "poddisruptionbudget.yaml",
        "service.yaml", "servicemonitor.yaml",
    ]  # fmt: skip
    return {
        "server": server, "declared": declared, "resources": resources, "mounts": mounts, "secrets": secrets,
        "folder": folder, "store": STORE, "user": USER, "job": params.group(Monitoring).alerting.job,
        "egress": targets_server.egress(server, params.group(Tracking)),
        "grace": int(server.serving.drain.total_seconds()) + 10,
        "scheme": ", scheme: HTTPS" if server.serving.tls else "", "route": split.ROUTE,
        "api": "argoproj.io/v1alpha1" if declared.argo_rollouts else "apps/v1",
        "kind": "Rollout" if declared.argo_rollouts else "Deployment",
        "service": f"{server.name}-metrics" if declared.kserve else server.name,  # KServe has one of the name itself
    }  # fmt: skip


def _environment(name: str, values: dict[str, Any]) -> dict[str, str]:
    """Return the files of one environment."""
    server, declared = values["server"], values["declared"]
    namespace = f"{server.name}-{name}".replace("_", "-")
    if len(namespace) > 63:
        raise UserError(f"{namespace}: is too long for a namespace, which has 63 letters at most; shorten the name")
    own = values | {
        "environment": name,
        "namespace": namespace,
        "overlay": f"{values['folder']}/overlays/{name}",
        "replicas": declared.environments.get(name, declared.replicas),
        "query": f'sum(trunkline_requests_in_work{{namespace="{namespace}"}})',
        "flux_url": targets_server.with_scheme(server.origin),
    }
    places = {
        f"overlays/{name}/kustomization.yaml": "overlay-kustomization",
        f"overlays/{name}/namespace.yaml": "namespace",
    }
    places |= {f"overlays/{name}/inferenceservice.yaml": "inferenceservice"} if declared.kserve else {}
    places |= {f"argo-cd/{name}.yaml": "argo-cd"} if declared.argo_cd else {}
    places |= {f"flux/{name}.yaml": "flux"} if declared.flux else {}
    return {path: template.render(f"kubernetes/{file}.yaml.j2", own) for path, file in places.items()}
