"""An archive for AWS Lambda has the same bytes twice, and answers under AWS' own client of its Runtime API."""

import base64
import json
import os
import shutil
import subprocess
import time
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest
import yaml
from click.testing import CliRunner

from tests.deploy.targets import validators
from tests.serve.conftest import GOOD, golden_bundle
from trunkline.bundle.runtime import Bundle
from trunkline.cli import trunkline
from trunkline.core.errors import UserError
from trunkline.deploy.targets import aws_lambda

PARAMS = {"bundle": {"card": {"intended_use": "to add up numbers"}}, "serving": {"protocols": {"grpc": "127.0.0.1:0"}}}


HEADERS = {
    "Aws-Request-Id": "7d0ff0c5-6b1f-4c55-9f2f-2b1a6d1f0f00",
    "Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:123456789012:function:flights",
    "Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
}


class RuntimeApi:
    """What Lambda shows a runtime: the next event, and where its answer goes."""

    def __init__(self) -> None:
        self.events: Queue[dict[str, object]] = Queue()
        self.answers: Queue[tuple[str, object]] = Queue()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer in one packet: two would wait for each other

            def do_GET(self) -> None:
                assert self.path == "/2018-06-01/runtime/invocation/next"
                said = HEADERS | {"Deadline-Ms": str(int(time.time() * 1000) + 30_000)}
                self._send(outer.events.get(), {f"Lambda-Runtime-{name}": value for name, value in said.items()})

            def do_POST(self) -> None:
                outer.answers.put((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
                self._send({}, {}, 202)

            def _send(self, content: object, headers: dict[str, str], status: int = 200) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # the function is killed in the end
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str):
        """Have an event answered, and return the answer; fails where the function fails."""
        http = {"method": method, "path": path}
        event = {"version": "2.0", "rawPath": path, "rawQueryString": "", "requestContext": {"http": http}}
        given = {"content-type": "application/json"} | {name.replace("_", "-"): each for name, each in headers.items()}
        text = base64.b64encode(body).decode()
        self.events.put(event | {"headers": given, "body": text, "isBase64Encoded": True})
        place, answer = self.answers.get(timeout=60)
        assert place.endswith("/response"), answer
        return answer


@contextmanager
def invoked(root: Path):
    """Yield a function of an unpacked archive, as Lambda starts it."""
    api = RuntimeApi()
    environ = {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server.server_port}",
        "AWS_LAMBDA_FUNCTION_NAME": "flights", "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "LAMBDA_TASK_ROOT": str(root), "PYTHONPATH": str(root), "PATH": os.environ["PATH"], "HOME": "/nonexistent",
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    command = [validators.environment() / "bin/python", "-m", "awslambdaric", aws_lambda.HANDLER]
    process = subprocess.Popen(command, cwd=root, env=environ)
    try:
        yield api
    finally:
        process.kill()
        process.wait()
        api.server.shutdown()
        api.server.server_close()


def project(folder: Path, **serving: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = PARAMS | {"serving": PARAMS["serving"] | serving}
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    return folder


def written(tmp_path: Path, packages: Path, name: str = "function.zip") -> Path:
    if not (tmp_path / "bundle").exists():
        golden_bundle(tmp_path / "bundle")
    arguments = ["--packages", str(packages), "--project", str(project(tmp_path / "project"))]
    output = tmp_path / name
    done = CliRunner().invoke(
        trunkline, ["export", str(tmp_path / "bundle"), "--to", "lambda", "-o", str(output), *arguments]
    )
    assert done.exit_code == 0, done.output
    return output


def test_the_archive_answers_under_the_client_of_the_runtime_api(tmp_path, packages):
    root = tmp_path / "task"
    with zipfile.ZipFile(written(tmp_path, packages)) as archive:
        assert sum(each.file_size for each in archive.infolist()) < aws_lambda.LIMIT
        archive.extractall(root)
    expected = Bundle.load(tmp_path / "bundle").score(GOOD)
    start = time.perf_counter()
    with invoked(root) as api:
        answer = api.ask("POST", "/v1/predict", json.dumps(GOOD).encode())
        cold = time.perf_counter() - start
        assert (answer["statusCode"], json.loads(answer["body"])["score"]) == (200, expected)
        times = []
        for _ in range(50):
            start = time.perf_counter()
            assert api.ask("POST", "/v1/predict", json.dumps([GOOD, GOOD]).encode())["statusCode"] == 200
            times.append(time.perf_counter() - start)
        refused = api.ask("POST", "/v1/predict", json.dumps(GOOD | {"hour": 24}).encode(), x_request_id="r-1")
        assert (refused["statusCode"], json.loads(refused["body"])["field"]) == (422, "hour")
        assert refused["headers"]["x-request-id"] == "r-1"
        assert api.ask("GET", "/readyz")["statusCode"] == 200
        assert api.ask("GET", "/nowhere")["statusCode"] == 404
    print(f"cold {cold:.2f} s, warm {1000 * sorted(times)[25]:.2f} ms")  # noqa: T201  for who asks: pytest -s


def test_the_same_content_gives_the_same_bytes_whoever_installed_it_and_when(tmp_path, packages):
    again = tmp_path / "again"
    small = {"trunkline", "numpy"}
    for folder, stamp in ((tmp_path / "one", 1), (again, 2_000_000_000)):
        for name in small:
            shutil.copytree(packages / name, folder / name)
        (folder / "some.dist-info").mkdir()
        (folder / "some.dist-info/INSTALLER").write_text(str(stamp))
        (folder / "numpy/__pycache__").mkdir(exist_ok=True)
        (folder / "numpy/__pycache__/x.pyc").write_text(str(stamp))
        (folder / "numpy/version.py").chmod(0o600 if stamp == 1 else 0o755)
        os.utime(folder / "numpy/version.py", (stamp, stamp))
    one, other = (written(tmp_path, folder, f"{folder.name}.zip").read_bytes() for folder in (tmp_path / "one", again))
    assert one == other


@pytest.mark.parametrize(
    ("serving", "message"),
    [
        ({"log": {"to": "s3://bucket/log"}}, "log: a function is frozen between requests"),
        ({"online": {"store": "sqlite:///online/a.db"}}, "online.store: a function keeps no file"),
    ],
)
def test_what_a_function_cannot_do_is_refused(tmp_path, packages, serving, message):
    bundle = golden_bundle(tmp_path / "bundle")
    with pytest.raises(UserError, match=message):
        aws_lambda.content(bundle, packages, project(tmp_path / "project", **serving))


def test_packages_without_trunkline_and_too_much_are_refused(tmp_path, packages, monkeypatch):
    bundle = golden_bundle(tmp_path / "bundle")
    with pytest.raises(UserError, match="has no trunkline; run: pip install --no-deps --target"):
        aws_lambda.content(bundle, tmp_path, project(tmp_path / "project"))
    monkeypatch.setattr(aws_lambda, "LIMIT", 1_000_000)
    with pytest.raises(UserError, match="bytes are more than the 1,000,000 that Lambda unpacks; use the container"):
        aws_lambda.content(bundle, packages, project(tmp_path / "project"))
