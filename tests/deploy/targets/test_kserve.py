"""KServe splits as models/registry.yaml declares it, by an InferenceService that its published types accept."""

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.deploy.targets import kserve, validators
from tests.deploy.targets.projects import project
from tests.deploy.targets.test_kubernetes import ALL, built, custom, of, refused, render
from trunkline.cli import trunkline

DECLARED = ALL | {
    "deploy__targets__kubernetes__kserve": True,
    "deploy__environments__production": {"rollout": {"key": ["carrier"]}},
    "serving__tls": None,
}
CANARY = "{version: v4, canary: {version: v5, share: 5}}"
OWN = {"name", "labels", "minReplicas", "maxReplicas", "autoScaling"}  # of KServe; the rest is a pod's


def declared(folder: Path, production: str, **changes: Any) -> Path:
    """Write a project in which KServe splits, and what production is to run."""
    root = project(folder, **(DECLARED | changes))
    (root / "models").mkdir(exist_ok=True)
    text = f"flight_delay: {{staging: latest, production: {production}}}\n"
    (root / "models/registry.yaml").write_text(text, encoding="utf-8")
    return root


def predictors(service: Any) -> list[Any]:
    spec = service["spec"]
    return [spec["predictor"], *(each["predictor"] for each in spec.get("canary", []))]


@pytest.mark.parametrize(
    ("production", "arms", "shares"),
    [
        ("null", [(None, [])], []),
        ("v4", [("v4", ["--only", "v4"])], []),
        (CANARY, [("v4", ["--only", "v4"]), ("v5", ["--only", "v5"])], [5]),
        ("{version: v4, hold: [v5]}", [("v4", ["--only", "v4"])], []),
    ],
)
def test_each_version_has_pods_of_its_own_and_the_share_that_the_trunk_declares(tmp_path, production, arms, shares):
    service = of(built(render(declared(tmp_path, production)), "production"), "InferenceService")
    pods = predictors(service)
    assert [(pod.get("name"), pod["containers"][0]["args"][6:]) for pod in pods] == arms
    assert [each["trafficPercent"] for each in service["spec"].get("canary", [])] == shares
    queries = [pod["autoScaling"]["metrics"][0]["external"]["metric"]["query"] for pod in pods]
    names = [f"flight-delay-{name}-predictor" if name else "flight-delay-predictor" for name, _ in arms]
    assert [re.findall(r'pod=~"(.*)-\.\*"', query) for query in queries] == [[name] for name in names]


def test_the_types_of_kserve_accept_it_until_a_mistake_is_planted(tmp_path):
    resources = custom(render(declared(tmp_path, CANARY)), "production")
    service = of(resources, "InferenceService")
    assert kserve.complaints(service) == []
    others = [each for each in resources if each is not service]
    assert {each["kind"] for each in others} == {
        "Application", "ExternalSecret", "GitRepository", "Kustomization", "ServiceMonitor",
    }  # fmt: skip
    assert validators.complaints(others) == [[] for _ in others]
    service["spec"]["canary"][0]["trafficPercnt"] = service["spec"]["canary"][0].pop("trafficPercent")
    service["spec"]["predictor"]["minReplicas"] = "2"
    assert sorted(kserve.complaints(service)) == [
        "$.spec.canary[0]: Additional properties are not allowed ('trafficPercnt' was unexpected)",
        "$.spec.predictor.minReplicas: '2' is not of type 'integer'",
    ]


def test_its_pods_are_those_of_a_deployment_with_the_names_that_kserve_asks_for(tmp_path):
    resources = built(render(declared(tmp_path / "project", CANARY)), "production")
    service = of(resources, "InferenceService")
    assert service["metadata"]["namespace"] == "flight-delay-production"
    for pod in predictors(service):
        assert [each["name"] for each in pod["containers"]] == ["kserve-container"]
        containers = [*pod["initContainers"], *pod["containers"]]
        assert [each["value"] for of_pod in containers for each in of_pod["env"] if each["name"] == "ENVIRONMENT"] == [
            "production"
        ] * 3
        template = {"metadata": {"labels": pod["labels"]}, "spec": {key: pod[key] for key in pod.keys() - OWN}}
        selector = {"matchLabels": of(resources, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]}
        assert selector["matchLabels"].items() <= pod["labels"].items()
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "as-kserve-has-it"}}
        whole = deployment | {"spec": {"selector": selector, "template": template}}
        assert refused([*resources, whole], tmp_path / "built.yaml") == ""
    assert of(resources, "Service")["metadata"]["name"] == "flight-delay-metrics"  # KServe has flight-delay itself


@pytest.mark.parametrize(
    ("production", "changes", "message"),
    [
        ("{version: v4, shadow: v5}", {}, "kubernetes: production: shadow: KServe mirrors no r"),
        ("v4", {"serving__tls": {"certificate": "tls/c", "key": "tls/k"}}, "tls: what splits requests cannot"),
        ("v4", {"deploy__targets__kubernetes__keda": None}, "kserve: scales by KEDA; declare keda"),
        ("v4", {"deploy__targets__kubernetes__argo_rollouts": "istio"}, "kserve and argo_rollouts both split"),
    ],
)
def test_what_kserve_cannot_do_is_refused(tmp_path, production, changes, message):
    root = declared(tmp_path, production, **changes)
    done = CliRunner().invoke(trunkline, ["render", "kubernetes", "--project", str(root), "-o", str(root / "out")])
    assert re.search(message, str(done.exception)), done.exception
    assert not (root / "out").exists()
