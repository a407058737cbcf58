"""Manifests that Kustomize builds, and that Kubernetes' and the operators' published schemas accept."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.deploy.targets import validators
from tests.deploy.targets.projects import image, project
from trunkline.cli import trunkline

MINIMAL = {
    "deploy__targets__kubernetes": {
        "server": image("server"),
        "reconciler": image("trunkline"),
        "secret_store": "vault",
    },
    "serving__authentication": {"keys": "secrets/keys.json"},
}
ALL = MINIMAL | {
    "deploy__targets__kubernetes": MINIMAL["deploy__targets__kubernetes"]
    | {
        "clients": ["shop", "web"],
        "keda": "http://prometheus.monitoring:9090",
        "argo_cd": "argocd",
        "flux": "flux-system",
        "environments": {"staging": {"min": 1, "max": 2}},
    },
    "serving__tls": {"certificate": "tls/server.crt", "key": "tls/server.key"},
    "serving__online": {"store": "redis://redis.data:6380/0"},
    "serving__log": {"to": "s3://bucket/log", "key": "LOG_KEY"},
    "tracking__uri": "https://mlflow.example.org",
}
DECLARED = {"minimal": MINIMAL, "all": ALL}
_BUILT_IN = ("v1", "apps/v1", "autoscaling/v2", "networking.k8s.io/v1", "policy/v1")


def render(root: Path) -> Path:
    out = root / "deploy/kubernetes"
    command = ["render", "kubernetes", "--project", str(root), "-o", str(out)]
    done = CliRunner().invoke(trunkline, command)
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(trunkline, [*command, "--check"]).exit_code == 0
    return out


def built(folder: Path, environment: str) -> list[Any]:
    """Return the resources of an environment, as Kustomize builds them."""
    done = validators.run("kubectl", "kustomize", folder / "overlays" / environment)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of(resources: list[Any], kind: str) -> Any:
    (resource,) = [each for each in resources if each["kind"] == kind]
    return resource


def refused(resources: list[Any], path: Path) -> str:
    """Return what kubernetes-validate says against resources that are Kubernetes' own."""
    path.write_text(yaml.safe_dump_all(each for each in resources if each["apiVersion"] in _BUILT_IN))
    done = validators.run("kubernetes-validate", "--strict", path)
    assert "Couldn't find schema" not in done.stdout + done.stderr
    return "" if done.returncode == 0 else done.stdout + done.stderr


def custom(folder: Path, environment: str) -> list[Any]:
    """Return the resources of operators, with what Argo CD and Flux read."""
    resources = [each for each in built(folder, environment) if each["apiVersion"] not in _BUILT_IN]
    for path in sorted(folder.glob(f"*/{environment}.yaml")):
        resources += yaml.safe_load_all(path.read_text())
    return resources


@pytest.mark.parametrize("environment", ["production", "staging"])
@pytest.mark.parametrize("name", sorted(DECLARED))
def test_kubernetes_accepts_what_kustomize_builds_until_a_mistake_is_planted(tmp_path, name, environment):
    resources = built(render(project(tmp_path / "project", **DECLARED[name])), environment)
    path = tmp_path / "built.yaml"
    assert refused(resources, path) == ""
    container = of(resources, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    container["readinesProbe"] = container.pop("readinessProbe")
    assert "'readinesProbe' was unexpected" in refused(resources, path)


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_the_schemas_of_operators_accept_it_until_a_mistake_is_planted(tmp_path, name):
    resources = custom(render(project(tmp_path, **DECLARED[name])), "staging")
    kinds = {each["kind"] for each in resources}
    more = {"Application", "GitRepository", "Kustomization", "ScaledObject"} if name == "all" else set()
    assert kinds == {"ExternalSecret", "ServiceMonitor"} | more
    assert validators.complaints(resources) == [[] for _ in resources]
    for resource in resources:
        key = sorted({"triggers", "endpoints", "refreshInterval", "destination", "interval"} & resource["spec"].keys())[
            0
        ]
        resource["spec"][key] = 3
    assert all(validators.complaints(resources))


def test_an_environment_has_its_own_namespace_replicas_and_question(tmp_path):
    folder = render(project(tmp_path, **ALL))
    for name, least, most in (("production", 2, 10), ("staging", 1, 2)):
        resources = built(folder, name)
        scaler = of(resources, "ScaledObject")["spec"]
        assert (scaler["minReplicaCount"], scaler["maxReplicaCount"]) == (least, most)
        query = scaler["triggers"][0]["metadata"]["query"]
        assert query == f'sum(trunkline_requests_in_work{{namespace="flight-delay-{name}"}})'
        assert {each["metadata"].get("namespace", "") for each in resources} == {"", f"flight-delay-{name}"}
        pod = of(resources, "Deployment")["spec"]["template"]["spec"]
        values = [
            variable["value"]
            for container in (*pod["initContainers"], *pod["containers"])
            for variable in container["env"]
            if variable["name"] == "ENVIRONMENT"
        ]
        assert values == [name] * 3


def test_every_secret_that_a_pod_reads_is_fetched(tmp_path):
    resources = built(render(project(tmp_path, **ALL)), "production")
    fetched = {each["spec"]["target"]["name"] for each in resources if each["kind"] == "ExternalSecret"}
    text = json.dumps([each for each in resources if each["kind"] in ("Deployment", "ServiceMonitor")])
    read = re.findall(r'"secret(?:KeyRef|Ref)?": {[^}]*"(?:secretName|name)": "([^"]+)"', text)
    assert fetched == {*read, "flight-delay-scrape"}


def test_pods_are_what_the_standard_restricted_allows_and_hold_no_version(tmp_path):
    folder = render(project(tmp_path, **ALL))
    pod = of(built(folder, "production"), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod["initContainers"], *pod["containers"]):
        assert re.search(r"@sha256:[0-9a-f]{64}$", container["image"])
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
    before = {path: path.read_bytes() for path in folder.rglob("*.yaml")}
    (tmp_path / "models").mkdir()
    canary = "flight-delay: {production: {version: v4, canary: {version: v5, share: 5}}}"
    (tmp_path / "models/registry.yaml").write_text(canary)
    render(tmp_path)
    assert {path: path.read_bytes() for path in folder.rglob("*.yaml")} == before


def test_what_is_declared_no_more_is_stale_and_what_others_wrote_is_not(tmp_path):
    folder = render(project(tmp_path, **ALL))
    (folder / "base/notes.yaml").write_text("# ours\n")
    command = ["render", "kubernetes", "--project", str(project(tmp_path, **MINIMAL)), "-o", str(folder)]
    assert CliRunner().invoke(trunkline, command).exit_code == 0
    done = CliRunner().invoke(trunkline, [*command, "--check"])
    left = [line.partition(":")[0] for line in done.output.splitlines() if "declares it no more; remove it" in line]
    gone = ["argo-cd/production", "argo-cd/staging", "base/scaledobject", "flux/production", "flux/staging"]
    assert (done.exit_code, left) == (1, [str(folder / f"{name}.yaml") for name in gone])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deploy__targets__kubernetes": None}, "deploy.targets.kubernetes: is missing"),
        ({"deploy__targets__kubernetes__server": "server:v4"}, "'server:v4' names no digest"),
        ({"deploy__targets__kubernetes__replicas": {"min": 3, "max": 2}}, "max: 2 is less than min: 3"),
        ({"deploy__targets__kubernetes__environments": {"prod": {}}}, "'prod' is no environment; there are"),
        ({"serving__authentication": None}, "authentication: is missing, and whoever reaches the servers"),
        ({"serving__tls": {"certificate": "tls/c", "key": "tls/k", "clients": "tls/a"}}, "tls.clients: probes and"),
        (
            {"serving__log": {"to": "log"}},
            "log.to: is a place in a pod, which is gone with it; write such as log.to: s3",
        ),
        ({"serving__online": {"store": "sqlite:///online/a.db"}}, "online.store: is a place in a pod"),
        ({"serving__authentication": {"keys": "server/keys.json"}}, "name Secrets; give each another name"),
    ],
)
def test_what_would_not_run_in_a_cluster_is_refused(tmp_path, changes, message):
    root = project(tmp_path, **(MINIMAL | changes))
    done = CliRunner().invoke(trunkline, ["render", "kubernetes", "--project", str(root), "-o", str(root / "out")])
    assert re.search(message, str(done.exception)), done.exception
    assert not (root / "out").exists()
