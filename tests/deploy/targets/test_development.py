"""A dev container that its reference reads, a compose file and a Dockerfile, and a kernel that runs a cell."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.conftest import ROOT
from tests.deploy.targets.projects import image, project
from tests.deploy.targets.test_container import compose, hadolint
from tests.rig import npm, packages
from tests.test_house import locked
from trunkline.cli import trunkline
from trunkline.core.errors import UserError
from trunkline.deploy.targets import development

CELL = "import sys, sklearn, trunkline; print(sys.executable, trunkline.__file__)"
RUN = """
import json, sys
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
import jupyterlab
manager = KernelManager()
manager._kernel_spec = KernelSpec(**json.load(open(sys.argv[1])))
manager.start_kernel()
client = manager.blocking_client()
client.start_channels()
client.wait_for_ready(timeout=60)
client.execute_interactive(sys.argv[2], timeout=60)
client.stop_channels()
manager.shutdown_kernel(now=True)
"""


def render(root: Path, *arguments: str) -> Path:
    out = root / ".devcontainer"
    done = CliRunner().invoke(trunkline, ["render", "development", "--project", str(root), "-o", str(out), *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return out


def declared(folder: Path, **more: object) -> Path:
    return project(folder, **({"deploy__targets__development": {"base": image("python")}} | more))


@pytest.fixture
def rendered(tmp_path) -> Path:
    return render(declared(tmp_path))


def built(folder: Path) -> dict[str, str]:
    """Return what the reference says of a build, by a docker that builds nothing."""
    docker = folder.parent / "docker"
    docker.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("docker.py")} "$@"\n')
    docker.chmod(0o755)
    node = shutil.which("node") or npm.missing("node is not installed: Node.js 20 or newer")
    command = [node, npm.package(npm.DEVCONTAINERS) / "devcontainer.js", "build", "--workspace-folder", folder.parent]
    done = subprocess.run(
        [*command, "--docker-path", docker], cwd=folder.parent, capture_output=True, text=True, check=False, timeout=120
    )
    answer: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_the_reference_of_dev_containers_builds_it_until_a_mistake_is_planted(rendered):
    assert built(rendered)["outcome"] == "success"
    path = rendered / "devcontainer.json"
    path.write_text(path.read_text().replace('"service": "editor"', '"service": "edtor"'))
    assert "Service 'edtor' configured in devcontainer.json not found" in built(rendered)["message"]


def test_the_schema_of_compose_and_hadolint_accept_it_until_mistakes_are_planted(rendered):
    path, recipe = rendered / "compose.yaml", rendered / "Dockerfile"
    assert (compose(path), hadolint(recipe)) == ("", [])
    path.write_text(path.read_text().replace("condition: service_healthy", "condition: service_helthy"))
    recipe.write_text(recipe.read_text().replace("USER 1000:1000", "USER root"))
    assert "service_helthy" in compose(path)
    assert "DL3002" in hadolint(recipe)


def test_ports_are_of_this_machine_alone_and_mlflow_is_there_if_it_is_not_elsewhere(tmp_path):
    here = yaml.safe_load((render(declared(tmp_path / "a")) / "compose.yaml").read_text())["services"]
    away = render(declared(tmp_path / "b", tracking__uri="https://mlflow.example.org"))
    assert sorted(here) == ["editor", "jupyter", "mlflow"]
    assert sorted(yaml.safe_load((away / "compose.yaml").read_text())["services"]) == ["editor", "jupyter"]
    ports = [port for service in here.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:8888:8888", "127.0.0.1:5000:5000"]
    assert here["editor"]["command"][-1] == "locks/install dev && exec sleep infinity"


def test_a_cell_runs_in_the_environment_of_the_lock(tmp_path, rendered):
    jupyter = tmp_path / "jupyter"
    uv = shutil.which("uv") or str(Path(sys.prefix) / "uv/bin/uv")
    command = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--no-config",
        "--require-hashes",
        "--no-deps",
        "--python",
        sys.executable,
    ]
    subprocess.run([*command, "--target", jupyter, "-r", rendered / "jupyter.txt"], check=True, timeout=300)
    text = (rendered / "kernel.json").read_text()
    text = text.replace("/workspace/.venv/bin/python", sys.executable).replace("/opt/jupyter", str(jupyter))
    (tmp_path / "kernel.json").write_text(text)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(jupyter), "HOME": str(tmp_path)}
    done = subprocess.run(
        [packages.python(), "-c", RUN, tmp_path / "kernel.json", CELL],
        cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [sys.executable, str(ROOT / "src/trunkline/__init__.py")]


def test_what_is_in_both_has_the_version_of_the_lock():
    jupyter = locked(ROOT / "src/trunkline/deploy/targets/development/jupyter.txt")
    lock = locked(ROOT / "locks/dev.txt")
    both = jupyter.keys() & lock.keys()
    assert len(both) > 10
    assert {name: jupyter[name] for name in both} == {name: lock[name] for name in both}


def test_the_same_declaration_gives_the_same_bytes(tmp_path):
    render(declared(tmp_path))
    render(tmp_path, "--check")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deploy__targets__development": None}, "deploy.targets.development: is missing; declare it in conf/deploy"),
        ({"deploy__targets__development__base": "python:3.12"}, "'python:3.12' names no digest"),
    ],
)
def test_what_is_not_declared_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=re.escape(message)):
        render(declared(tmp_path, **changes))


def test_every_file_has_its_template():
    folder = Path(development.__file__).with_name("development")
    assert sorted(path.name.removesuffix(".j2") for path in folder.iterdir()) == sorted(
        [*development.FILES, development.JUPYTER]
    )
