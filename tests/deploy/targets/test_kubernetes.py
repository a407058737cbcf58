"""Manifests that Kustomize builds, and that Kubernetes' and the operators' published schemas accept."""

import json
import re
import subprocess
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


ENGINES: dict[str, dict[str, Any]] = {
    "ray": {"executor": "ray", "address": "flight-delay-ray-head-svc.ml:6379", "memory": "1GB", "cpus": 2},
    "spark": {"executor": "spark", "memory": "1GB", "cpus": 2},
}
MACHINES = {"image": image("trunkline"), "version": "2.60.0", "volume": "clone", "workers": 3}


def with_machines(executor: str, **engine: Any) -> dict[str, Any]:
    """Return what declares the machines of an engine, some of whose keys may be others."""
    kubernetes = MINIMAL["deploy__targets__kubernetes"] | {"engine": MACHINES}
    return MINIMAL | {"deploy__targets__kubernetes": kubernetes, "engine": ENGINES[executor] | engine}


def machines(root: Path, executor: str) -> list[Any]:
    """Return the resources of an engine as they are rendered."""
    folder = render(project(root, **with_machines(executor)))
    return [yaml.safe_load(path.read_text()) for path in sorted((folder / "engine").glob("*.yaml"))]


def against(resources: list[Any], path: Path) -> list[list[str]]:
    """Return what dagster-ray's and Kubeflow's types have against each resource."""
    path.write_text(json.dumps(resources))
    python = validators.environment("schedulers") / "bin/python"
    command = [python, Path(__file__).with_name("read_engine.py"), path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    answers: list[list[str]] = json.loads(done.stdout)
    return answers


def test_types_of_others_accept_the_machines_of_an_engine_until_a_mistake_is_planted(tmp_path):
    resources = [*machines(tmp_path / "ray", "ray"), *machines(tmp_path / "spark", "spark")]
    assert [each["kind"] for each in resources] == ["RayCluster", "RayJob", "SparkApplication"]
    assert against(resources, tmp_path / "read.json") == [[], [], []]
    cluster, job, application = (each["spec"] for each in resources)
    cluster["workerGroupSpec"] = cluster.pop("workerGroupSpecs")
    job["clusterSelector"] = "flight-delay-ray"
    application["executor"]["instance"] = application["executor"].pop("instances")
    unknown, wrong, lost = against(resources, tmp_path / "read.json")
    assert (unknown, lost) == (["worker_group_spec"], [".spec.executor.instance"])
    assert "cluster_selector" in wrong[0]


def test_kubernetes_accepts_the_pods_of_ray_until_a_mistake_is_planted(tmp_path):
    cluster, _ = machines(tmp_path / "ray", "ray")
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    about = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "of-a-group"}}
    pods = [about | {"template": each["template"]} for each in groups]
    assert refused(pods, tmp_path / "pods.yaml") == ""
    pods[1]["template"]["spec"]["containers"][0]["volumeMount"] = []
    assert "'volumeMount' was unexpected" in refused(pods, tmp_path / "pods.yaml")


def test_a_worker_has_room_for_one_task_of_the_engine(tmp_path):
    cluster, job = machines(tmp_path / "ray", "ray")
    [workers] = cluster["spec"]["workerGroupSpecs"]
    assert (workers["rayStartParams"]["memory"], workers["rayStartParams"]["num-cpus"]) == ("1512000000", "2")
    assert (workers["replicas"], workers["minReplicas"], workers["maxReplicas"]) == (3, 3, 3)
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    [application] = machines(tmp_path / "spark", "spark")
    executor = application["spec"]["executor"]
    assert (executor["instances"], executor["cores"], executor["memory"]) == (3, 2, "1442m")
    main = application["spec"]["mainApplicationFile"].removeprefix("local:///work/")
    assert (tmp_path / "spark" / main).is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (with_machines("ray", address=None), "address: KubeRay names .* write flight-delay-ray-head-svc:6379"),
        (with_machines("ray", address="flight-delay-ray-head-svc:6380"), "write flight-delay-ray-head-svc:6379"),
        (with_machines("ray", folder="/scratch"), "folder: /scratch is not on the volume"),
        (with_machines("spark", folder="../engine"), r"folder: \.\./engine is not on the volume"),
        (with_machines("spark", address="spark:7077"), "address: the operator names Spark's master itself"),
        (with_machines("ray") | {"engine": {"executor": "local"}}, "executor: local has no machines"),
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
