"""Dockerfiles and a compose file that hadolint, compose's schema and promtool accept; its packages serve."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.deploy.targets import validators
from tests.deploy.targets.projects import image, project
from tests.monitor.render.programs import checked
from tests.serve.conftest import GOOD, folder  # noqa: F401
from tests.serving import serving
from trunkline.cli import trunkline

SERVICES = {name: image(name) for name in ("redis", "prometheus", "alertmanager", "grafana")}
ALL = {
    "deploy__targets__container__services": SERVICES,
    "deploy__targets__container__runtime": image("distroless"),
    "serving__online": {"store": "redis://redis:6379/0"},
    "serving__log": {"to": "log/predictions", "key": "LOG_KEY"},
    "serving__authentication": {"keys": "secrets/keys.json"},
    "serving__tls": {"certificate": "tls/server.crt", "key": "tls/server.key"},
    "tracking__uri": "http://mlflow:5000",
}
POSTGRESQL = {
    "deploy__targets__container__services": {"postgresql": image("postgresql")},
    "deploy__targets__container__sklearn": True,
    "serving__online": {"store": "postgresql://features@postgresql/features"},
    "serving__protocols": {"arrow": True},
}
DECLARED = {"minimal": {}, "all": ALL, "postgresql": POSTGRESQL}


def render(root: Path, *arguments: str, code: int = 0) -> Path:
    """Render into a folder of a project and return it."""
    out = root / "deploy/container"
    done = CliRunner().invoke(trunkline, ["render", "container", "--project", str(root), "-o", str(out), *arguments])
    assert done.exit_code == code, done.output
    return out


@pytest.fixture(params=sorted(DECLARED))
def rendered(request, tmp_path) -> Path:
    return render(project(tmp_path, **DECLARED[request.param]))


@pytest.fixture
def whole(tmp_path) -> Path:
    return render(project(tmp_path, **ALL))


def hadolint(path: Path) -> list[str]:
    done = validators.run("hadolint", "--no-color", "--format", "json", path)
    return sorted({found["code"] for found in json.loads(done.stdout)})


def compose(path: Path) -> str:
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout


@pytest.mark.parametrize("name", ["server", "pipeline"])
@pytest.mark.parametrize("of_framework", [True, False])
def test_hadolint_has_nothing_to_say_until_a_mistake_is_planted(tmp_path, name, of_framework):
    root = project(tmp_path, **ALL)
    if not of_framework:
        (root / "locks/trunkline.txt").write_text("trunkline==0.1.0\n")
        (root / "locks/project.txt").rename(root / "locks/ci.txt")
    path = render(root) / f"{name}.Dockerfile"
    assert hadolint(path) == []
    planted = path.read_text().replace("USER 65532:65532", "USER root").replace(" --no-cache-dir", "", 1)
    path.write_text(planted)
    assert hadolint(path) == ["DL3002", "DL3042", "DL3066"]


def test_the_schema_of_compose_accepts_it_until_a_mistake_is_planted(rendered):
    path = rendered / "compose.yaml"
    assert compose(path) == ""
    path.write_text(path.read_text().replace("healthcheck:", "healthchek:"))
    assert "'healthchek' was unexpected" in compose(path)


def test_prometheus_accepts_it_until_a_mistake_is_planted(whole):
    path = whole / "prometheus.yml"
    checked("promtool", "check", "config", "--syntax-only", str(path))
    path.write_text(path.read_text().replace("honor_labels", "honour_labels"))
    with pytest.raises(AssertionError, match="honour_labels not found"):
        checked("promtool", "check", "config", "--syntax-only", str(path))


def test_every_image_is_a_digest_and_no_container_is_root_or_writes_into_itself(rendered):
    texts = {path.name: path.read_text() for path in rendered.iterdir()}
    images = [name for text in texts.values() for name in re.findall(r"^(?:FROM|    image:) \"?([^\s\"]+)", text, re.M)]
    assert len(images) >= 4
    assert [name for name in images if not re.search(r"@sha256:[0-9a-f]{64}$", name)] == []
    services = yaml.safe_load(texts["compose.yaml"])["services"]
    assert {(each["read_only"], *each["cap_drop"]) for each in services.values()} == {(True, "ALL")}
    ports = [port for each in services.values() for port in each.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_compose_has_what_conf_declares_and_nothing_else(tmp_path):
    names = {
        key: sorted(
            yaml.safe_load((render(project(tmp_path / key, **changes)) / "compose.yaml").read_text())["services"]
        )
        for key, changes in DECLARED.items()
    }
    assert names == {
        "minimal": ["reconcile", "server"],
        "all": ["alertmanager", "grafana", "mlflow", "prometheus", "reconcile", "redis", "server"],
        "postgresql": ["postgresql", "reconcile", "server"],
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deploy__targets": {}}, "deploy.targets.container: is missing"),
        ({"deploy__targets__container__base": "python:3.11-slim"}, r"'python:3.11-slim' names no digest; write"),
        ({"deploy__targets__origin": "https://me:secret@host/x.git"}, "origin: Value error, is no address such as"),
        ({"deploy__targets__origin": None}, "deploy.targets.origin: is missing"),
        ({"deploy__signers": {}}, "deploy.signers: declares nobody"),
        ({"deploy__targets__container__environment": "prod"}, "'prod' is no environment; there are: production, st"),
        ({"serving__authentication": {"keys": "keys.json"}}, "give it one of its own, such as secrets/keys.json"),
        ({"serving__online": {"store": "sqlite:///online.db"}}, "such as sqlite:///online/online.db"),
        ({"serving__online": {"store": "redis://redis:6379"}}, "services.redis: is missing, but conf/serving"),
        ({"deploy__targets__container__services": {"redis": image("redis")}}, "services.redis: conf/serving has its"),
        ({"deploy__targets__container__services": {"grafana": image("g")}}, "services.prometheus: is missing"),
    ],
)
def test_what_would_not_run_is_refused(tmp_path, changes, message):
    root = project(tmp_path, **changes)
    done = CliRunner().invoke(trunkline, ["render", "container", "--project", str(root), "-o", str(root / "out")])
    assert re.search(message, str(done.exception)), done.exception
    assert "secret@" not in str(done.exception)
    assert not (root / "out").exists()


def test_a_folder_outside_of_the_project_is_refused(tmp_path):
    root = project(tmp_path / "project")
    done = CliRunner().invoke(trunkline, ["render", "container", "--project", str(root), "-o", str(tmp_path / "out")])
    assert "is outside of the project" in str(done.exception)


def test_check_tells_what_is_stale(tmp_path):
    root = project(tmp_path)
    out = render(root)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    render(root, "--check")
    project(tmp_path, deploy__targets__container__environment="staging")
    render(root, "--check", code=1)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_the_packages_of_the_server_answer_a_request_in_the_layout_of_its_image(tmp_path, folder):  # noqa: F811
    text = (render(project(tmp_path, **ALL)) / "server.Dockerfile").read_text()
    (install,) = re.findall(r"-m pip install .*?--target /opt/packages (.*?)\n", text, re.DOTALL)
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)
    locks = [
        tmp_path / ("deploy/container/clients.txt" if "clients" in lock else lock) for lock in install.split()[1::2]
    ]
    image_root = validators.packages_of(locks, tmp_path / "image")
    python, *arguments, verb = json.loads(entry)
    assert (python, verb) == ("python3", "serve")
    (tmp_path / "srv").mkdir()
    command = [sys.executable, "-S", *arguments]  # -S: the packages of the image alone
    with serving(str(folder), cwd=tmp_path / "srv", command=command, PYTHONPATH=str(image_root)) as server:
        assert server.post("/v1/predict", GOOD).status == 200
