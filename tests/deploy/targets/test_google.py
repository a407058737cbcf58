"""A service that Google's schema of Cloud Run accepts, and an archive that answers under its functions framework."""

import json
import os
import re
import shutil
import subprocess
import time
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.deploy.targets import validators
from tests.deploy.targets.projects import image, project
from tests.serve.conftest import GOOD, golden_bundle
from tests.servers import free_port
from trunkline.bundle.runtime import Bundle
from trunkline.cli import trunkline
from trunkline.deploy.targets import google_function

SERVICE = {
    "server": image("server"),
    "reconciler": image("trunkline"),
    "service_account": "flights@project.iam.gserviceaccount.com",
}
DECLARED: dict[str, dict[str, Any]] = {
    "minimal": {"deploy__targets__origin": "https://host.example.org/team/flights.git"},
    "all": {
        "serving__online": {"store": "redis://10.0.0.3:6379/0"},
        "serving__log": {"to": "gs://bucket/log", "key": "LOG_KEY", "encrypt": {"key": "REST", "before": ["REST_1"]}},
        "serving__authentication": {"keys": "secrets/keys.json"},
    },
}


def render(root: Path) -> Path:
    out = root / "deploy"
    done = CliRunner().invoke(trunkline, ["render", "cloud-run", "--project", str(root), "-o", str(out)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return out / "flight-delay-cloud-run.yaml"


def complaints(path: Path) -> list[str]:
    done = validators.run("python", Path(__file__).with_name("read_cloud_run.py"), path)
    assert done.returncode == 0, done.stderr
    answer: list[str] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("name", DECLARED)
def test_the_schema_of_cloud_run_accepts_it_until_mistakes_are_planted(tmp_path, name):
    path = render(project(tmp_path, deploy__targets__cloud_run=SERVICE, **DECLARED[name]))
    assert complaints(path) == []
    text = path.read_text()
    path.write_text(
        text.replace("containerConcurrency: 8", 'containerConcurrency: "8"').replace("startupProbe", "startProbe")
    )
    [concurrency, probe] = sorted(complaints(path))
    assert "'8' is not of type 'integer'" in concurrency + probe
    assert "'startProbe' was unexpected" in concurrency + probe
    path.write_text(text.replace("cpu-throttling", "cpu-throtling"))
    assert complaints(path) == ["run.googleapis.com/cpu-throtling"]


def test_what_is_mounted_is_there_and_what_is_there_is_mounted(tmp_path):
    path = render(project(tmp_path, deploy__targets__cloud_run=SERVICE, **DECLARED["all"]))
    spec = yaml.safe_load(path.read_text())["spec"]["template"]["spec"]
    server, reconcile = spec["containers"]
    mounted = {each["name"] for container in spec["containers"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in spec["volumes"]}
    assert server["env"] == [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": "latest"}}}
        for name, secret in (
            ("REDISCLI_AUTH", "flight-delay-rediscli-auth"),
            ("LOG_KEY", "flight-delay-log-key"),
            ("REST", "flight-delay-rest"),
        )
    ]
    assert {"name": "flight-delay-secrets", "mountPath": "/srv/secrets"} in server["volumeMounts"]
    assert subprocess.run(["sh", "-n", "-c", reconcile["args"][0]], check=False).returncode == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deploy__targets__cloud_run": None}, "deploy.targets.cloud_run: is missing; declare it in conf/deploy"),
        ({"deploy__targets__cloud_run__environment": "prod"}, "'prod' is no environment"),
        ({"deploy__targets__cloud_run__server": "server:1"}, "'server:1' names no digest"),
        ({"serving__tls": {"certificate": "tls/a.crt", "key": "tls/a.key"}}, "tls: Cloud Run ends TLS itself"),
        ({"serving__log": {"to": "log"}}, "log: is a place in an instance, which is gone with it"),
        (
            {
                "serving__authentication": {
                    "keys": "secrets/a.json",
                    "jwt": {"issuer": "https://i", "audience": "a", "jwks": "secrets/b.json"},
                }
            },
            "secrets: Cloud Run mounts one secret in a folder",
        ),
    ],
)
def test_what_would_not_run_is_refused(tmp_path, changes, message):
    with pytest.raises(Exception, match=re.escape(message)):
        render(project(tmp_path, **({"deploy__targets__cloud_run": SERVICE} | changes)))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory, packages) -> Path:
    """What an archive holds, laid out as Google unpacks it."""
    folder = tmp_path_factory.mktemp("google")
    golden_bundle(folder / "bundle")
    content = {"bundle": {"card": {"intended_use": "to add up numbers"}}, "serving": {}}
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    arguments = ["-o", "a.zip", "--packages", str(packages), "--project", str(folder), "--dry-run"]
    done = CliRunner().invoke(trunkline, ["export", str(folder / "bundle"), "--to", "google-function", *arguments])
    assert "its handler is handler" in done.output, done.exception
    for name, path in google_function.content(folder / "bundle", packages, folder).items():
        (folder / "workspace" / name).parent.mkdir(parents=True, exist_ok=True)
        put = os.link if path.is_relative_to(packages) else shutil.copy
        put(path, folder / "workspace" / name)
    return folder / "workspace"


@contextmanager
def framework(root: Path, target: str = "handler"):
    """Yield the port on which Google's framework answers by a function."""
    port = free_port()
    command = [validators.environment() / "bin/functions-framework", "--target", target, "--source", "main.py"]
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(root),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/nonexistent",
    }
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)], cwd=root, env=environ, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process, port
    finally:
        process.terminate()
        process.communicate()


def ask(port: int, method: str, path: str, content: object = None, **headers: str):
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    given = {"content-type": "application/json"} | {name.replace("_", "-"): each for name, each in headers.items()}
    with closing(connection):
        connection.request(method, path, None if content is None else json.dumps(content), given)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null"), answer.headers


def test_the_archive_answers_under_the_functions_framework(unpacked):
    expected = Bundle.load(unpacked / "bundle").score(GOOD)
    with framework(unpacked) as (process, port):
        deadline = time.monotonic() + 60
        while True:
            try:
                status, content, _ = ask(port, "POST", "/v1/predict", GOOD)
                break
            except ConnectionRefusedError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert (status, content["score"]) == (200, expected)
        scores: list[Any] = []
        asking = [
            Thread(target=lambda: scores.append(ask(port, "POST", "/v1/predict", [GOOD, GOOD])[1])) for _ in range(8)
        ]
        for each in asking:
            each.start()
        for each in asking:
            each.join()
        assert [answer["scores"] for answer in scores] == [[expected, expected]] * 8
        status, content, headers = ask(port, "POST", "/v1/predict", GOOD | {"hour": 24}, x_request_id="r-1")
        assert (status, content["field"], headers["x-request-id"]) == (422, "hour", "r-1")
        assert ask(port, "GET", "/nowhere")[0] == 404


def test_the_framework_refuses_a_function_that_is_not_there(unpacked):
    with framework(unpacked, "handle") as (process, _):
        _, said = process.communicate(timeout=60)
    assert "handle" in said
    assert process.returncode
