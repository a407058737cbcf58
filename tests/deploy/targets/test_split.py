"""Argo Rollouts split as models/registry.yaml declares it, by manifests that published schemas accept."""

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.deploy.targets import validators
from tests.deploy.targets.projects import project
from tests.deploy.targets.test_kubernetes import ALL, built, custom, of, refused, render
from trunkline.cli import trunkline

STEPS = [{"shadow": 50}, {"canary": 5}, {"canary": 25}]
DECLARED = ALL | {
    "deploy__targets__kubernetes__argo_rollouts": "istio",
    "deploy__environments__production": {"rollout": {"key": ["carrier"], "steps": STEPS}},
    "serving__tls": None,
}
SHADOW = [
    {"setCanaryScale": {"weight": 50}},
    {"setMirrorRoute": {"name": "shadow", "percentage": 50, "match": [{"path": {"prefix": "/"}}]}},
    {"pause": {}},
]
CANARY = [
    {"setMirrorRoute": {"name": "shadow"}},
    {"setCanaryScale": {"matchTrafficWeight": True}},
    {"setWeight": 5},
    {"pause": {}},
]


def declared(folder: Path, production: str, **changes: Any) -> Path:
    """Write a project in which Argo Rollouts split, and what production is to run."""
    root = project(folder, **(DECLARED | changes))
    (root / "models").mkdir(exist_ok=True)
    text = f"flight_delay: {{staging: latest, production: {production}}}\n"
    (root / "models/registry.yaml").write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("production", "only", "steps"),
    [
        ("v4", ["--only", "v4"], []),
        ("{version: v4, shadow: v5}", ["--only", "v5"], SHADOW),
        ("{version: v4, canary: {version: v5, share: 5}}", ["--only", "v5"], CANARY),
        ("{version: v4, hold: [v5]}", ["--only", "v4"], []),
        ("null", [], []),
    ],
)
def test_pods_serve_one_version_and_the_shares_are_those_that_the_trunk_declares(tmp_path, production, only, steps):
    folder = render(declared(tmp_path, production))
    rollout = of(built(folder, "production"), "Rollout")["spec"]
    (server,) = rollout["template"]["spec"]["containers"]
    assert server["args"][6:] == only
    assert rollout["strategy"]["canary"]["steps"] == steps
    staging = of(built(folder, "staging"), "Rollout")["spec"]
    assert len(staging["template"]["spec"]["containers"][0]["args"]) == 6  # latest: as it is delivered
    assert staging["strategy"]["canary"]["steps"] == []


def test_the_schemas_of_argo_and_istio_accept_it_until_a_mistake_is_planted(tmp_path):
    for production in ("{version: v4, shadow: v5}", "{version: v4, canary: {version: v5, share: 5}}"):
        resources = custom(render(declared(tmp_path / production[15:21], production)), "production")
        assert {"Rollout", "VirtualService", "ScaledObject"} <= {each["kind"] for each in resources}
        assert validators.complaints(resources) == [[] for _ in resources]
    planted = [of(resources, "Rollout"), of(resources, "VirtualService")]
    planted[0]["spec"]["strategy"]["canary"]["steps"][2]["setWeight"] = "5"
    planted[1]["spec"]["http"][0]["route"][0]["weight"] = "100"
    assert [each[0].split()[0] for each in validators.complaints(planted)] == [
        "/spec/strategy/canary/steps/2/setWeight",
        "/spec/http/0/route/0/weight",
    ]


def test_a_pod_is_that_of_a_deployment_and_what_stands_around_it_names_the_rollout(tmp_path):
    resources = built(render(declared(tmp_path / "project", "v4")), "production")
    rollout = of(resources, "Rollout")
    assert rollout["spec"]["template"]["metadata"]["labels"]["environment"] == "production"
    assert of(resources, "ScaledObject")["spec"]["scaleTargetRef"]["kind"] == "Rollout"
    spec = {key: value for key, value in rollout["spec"].items() if key != "strategy"}
    deployment = rollout | {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}
    assert refused([*resources, deployment], tmp_path / "built.yaml") == ""
    names = [each["metadata"]["name"] for each in resources if each["kind"] == "Service"]
    (route,) = of(resources, "VirtualService")["spec"]["http"]
    canary = rollout["spec"]["strategy"]["canary"]
    arms = [canary["stableService"], canary["canaryService"]]
    assert [each["destination"]["host"] for each in route["route"]] == arms
    assert sorted(names) == sorted(["flight-delay", *arms])
    ports = [port["name"] for each in resources if each["kind"] == "Service" for port in each["spec"]["ports"]]
    assert sorted(ports) == ["http", "http-arm", "http-arm", "reconcile"]  # so that each pod is scraped once


def test_a_step_of_the_trunk_makes_the_files_stale(tmp_path):
    folder = render(declared(tmp_path, "{version: v4, canary: {version: v5, share: 5}}"))
    declared(tmp_path, "{version: v4, canary: {version: v5, share: 25}}")
    command = ["render", "kubernetes", "--project", str(tmp_path), "-o", str(folder), "--check"]
    done = CliRunner().invoke(trunkline, command)
    stale = [line.partition(":")[0] for line in done.output.splitlines() if "is not what" in line]
    assert (done.exit_code, stale) == (1, [str(folder / "overlays/production/kustomization.yaml")])


@pytest.mark.parametrize(
    ("production", "changes", "message"),
    [
        ("v4", {"serving__tls": {"certificate": "tls/c", "key": "tls/k"}}, "tls: what splits requests cannot do so un"),
        ("v4", {"deploy__targets__kubernetes__argo_rollouts": "nginx"}, "argo_rollouts: Input should be 'istio'"),
        (
            "{version: v4, canary: {version: v5, share: 2.5}}",
            {},
            r"registry.yaml: flight_delay.production: 2.5 %: a clu",
        ),
        ("v4, qa: v4", {}, "flight_delay.qa: no such environment"),
    ],
)
def test_what_argo_rollouts_cannot_split_is_refused(tmp_path, production, changes, message):
    root = declared(tmp_path, production, **changes)
    done = CliRunner().invoke(trunkline, ["render", "kubernetes", "--project", str(root), "-o", str(root / "out")])
    assert re.search(message, str(done.exception)), done.exception
    assert not (root / "out").exists()


def test_a_version_that_moves_on_by_itself_has_no_candidate_that_is_split(tmp_path):
    staging = {"rollout": {"key": ["carrier"], "steps": STEPS}}
    root = declared(tmp_path, "v4", deploy__environments__staging=staging)
    text = "flight_delay: {staging: {version: latest, canary: {version: v5, share: 5}}, production: v4}\n"
    (root / "models/registry.yaml").write_text(text, encoding="utf-8")
    done = CliRunner().invoke(trunkline, ["render", "kubernetes", "--project", str(root), "-o", str(root / "out")])
    assert "staging.version: latest moves on by itself beside a candidate; write the version" in str(done.exception)
