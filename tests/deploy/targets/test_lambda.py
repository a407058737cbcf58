"""An archive for AWS Lambda has the same bytes twice, and answers once it is deployed to an emulator of AWS."""

import json
import os
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="module")
def archive(tmp_path_factory, packages) -> Path:
    """An archive of a function, beside the bundle that is in it."""
    return written(tmp_path_factory.mktemp("lambda"), packages)


def changed(archive: Path, name: str, content: str, output: Path) -> Path:
    """Return a copy of an archive with one more file, which is executable, or another one in place of it."""
    shutil.copy(archive, output)
    entry = zipfile.ZipInfo(name)
    entry.external_attr, entry.create_system = 0o755 << 16, 3
    with warnings.catch_warnings(), zipfile.ZipFile(output, "a") as opened:
        warnings.filterwarnings("ignore", "Duplicate name")  # the last one is unpacked last
        opened.writestr(entry, content)
    return output


ONE, TWO = (["POST", "/v1/predict", body] for body in (GOOD, [GOOD, GOOD]))
WRONG = ["POST", "/v1/predict", GOOD | {"hour": 24}]
REQUESTS = [ONE, *[TWO] * 20, WRONG, ["GET", "/readyz", None], ["GET", "/nowhere", None]]


@pytest.fixture(scope="module")
def answers(archive, tmp_path_factory) -> dict[str, list[Any]]:
    """Status, body and seconds of each request to some functions, which are deployed to an emulator of AWS."""
    inside = ["unshare", "--map-root-user", "--net"]
    if refused := subprocess.run([*inside, "true"], capture_output=True, text=True, check=False).stderr:
        pytest.skip(f"the emulator listens on every address, and gets no network of its own here: {refused.strip()}")
    folder, python = tmp_path_factory.mktemp("emulator"), validators.environment() / "bin/python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    client = f"#!/bin/sh\nexec {python} -m awslambdaric {aws_lambda.HANDLER}\n"
    own = changed(archive, "bootstrap", client, folder / "client.zip")
    golden = (archive.parent / "bundle/golden.json").read_text().replace("26.5", "26.6")
    other = changed(archive, "bundle/golden.json", golden, folder / "changed.zip")
    functions = {
        "of the emulator": (version, archive, aws_lambda.HANDLER, REQUESTS),
        "of AWS": ("provided.al2023", own, aws_lambda.HANDLER, REQUESTS),
        "misspelt": (version, archive, aws_lambda.HANDLER.replace("aws_lambda", "lambda"), [ONE, ONE]),
        "changed": (version, other, aws_lambda.HANDLER, [ONE, ONE]),
    }
    bare = {"PATH": os.environ["PATH"], "HOME": str(folder)}  # no account of whoever runs the tests
    command = [*inside, python, Path(__file__).with_name("read_lambda.py"), folder]
    given = json.dumps([[runtime, str(path), handler, asked] for runtime, path, handler, asked in functions.values()])
    done = subprocess.run(command, input=given, env=bare, capture_output=True, text=True, check=False, timeout=800)
    assert done.returncode == 0, done.stderr
    return dict(zip(functions, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("client", ["of the emulator", "of AWS"])
def test_what_is_deployed_answers_cold_and_warm_under_each_client_of_the_runtime(archive, answers, client):
    with zipfile.ZipFile(archive) as opened:
        assert sum(each.file_size for each in opened.infolist()) < aws_lambda.LIMIT
    expected = Bundle.load(archive.parent / "bundle").score(GOOD)
    cold, *warm, refused, ready, nowhere = answers[client]
    assert (cold[0], json.loads(cold[1])["score"]) == (200, expected)
    assert all((status, json.loads(body)["scores"]) == (200, [expected] * 2) for status, body, _ in warm)
    assert (refused[0], json.loads(refused[1])["field"]) == (422, "hour")
    assert (ready[0], nowhere[0]) == (200, 404)
    median = 1000 * sorted(seconds for _, _, seconds in warm)[len(warm) // 2]
    print(f"the client {client}: cold {cold[2]:.2f} s, warm {median:.1f} ms")  # noqa: T201  for who asks: pytest -s


@pytest.mark.parametrize(
    ("planted", "message"),
    [
        ("misspelt", "No module named 'trunkline.serve.lambda'"),
        ("changed", "golden.json: was changed: its sha256 is not the one in manifest.json"),
    ],
)
def test_a_wrong_handler_and_a_bundle_that_was_changed_answer_nothing(answers, planted, message):
    assert [status for status, _, _ in answers[planted]] == [502, 502]
    assert message in answers[planted][0][1]


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
