"""A server that reconciles beside itself: a process that is begun again when it ends, and ends with the server."""

import signal

import psutil
import pytest
from click.testing import CliRunner

from tests.deploy.reconcile.test_once import released
from tests.endpoint import until
from tests.releases import declare_trust
from tests.rig.repository import environment
from tests.serving import Server, serving
from trunkline.cli.serve import serve
from trunkline.deploy.reconcile import beside


@pytest.fixture
def project(tmp_path, mlflow_address):
    return released(tmp_path, mlflow_address, "beside")


def reconciling(server: Server) -> psutil.Process:
    """Return the process that reconciles beside the server."""
    [process] = [each for each in psutil.Process(server.process.pid).children() if "spawn_main" in str(each.cmdline())]
    return process


def test_a_server_follows_the_trunk_by_itself_and_takes_its_reconciler_along(project, tmp_path):
    packaging = {"tolerance": 1e-9, "card": {"intended_use": "to add up numbers"}}
    project.params(serving={}, bundle=packaging).push()
    clone = project.clone(tmp_path / "clone").root
    options = ("--env", "production", "--reconcile", "1s", "--store", str(tmp_path / "store"))
    with serving(*options, cwd=clone, **environment()) as server:
        server.logged(f"serves {project.name} v1")
        project.declare(production="v2").push()
        server.logged(f"serves {project.name} v2")
        assert server.get("/version").json["digest"] == project.digest(2)
        reconciling(server).kill()
        server.logged(f"reconcile ended with -{signal.SIGKILL}; it is begun again in {beside.AGAIN:g} s")
        project.declare(production="v1").push()
        server.logged(f"serves {project.name} v1")
        process = reconciling(server)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert not process.is_running()
    with serving(*options, cwd=clone, **environment()) as server:
        until(lambda: psutil.Process(server.process.pid).children())
        process = reconciling(server)
        server.process.kill()
        process.wait(30)  # raises if it goes on


def test_what_is_missing_is_told_before_anything_is_served(monkeypatch, tmp_path):
    declare_trust(tmp_path)
    monkeypatch.setattr(beside, "find_spec", lambda name: None if name == "dvc" else object())

    def told(*options: str) -> str:
        outcome = CliRunner().invoke(serve, ["--project", str(tmp_path), *options])
        return f"{outcome.output}{outcome.exception}"

    assert "--reconcile needs --env" in told("--reconcile", "30s")
    assert "--only needs --env" in told("--only", "v5")
    assert "reconciling needs dvc, which a serving install lacks" in told("--reconcile", "30s", "--env", "production")
