"""server.Dockerfile, built by buildah over roots of this machine's Python, answers as nobody, and writes nowhere."""

import json
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from tests.deploy.targets import roots
from tests.deploy.targets.projects import project
from tests.deploy.targets.validators import ROOT
from tests.serve.conftest import GOOD, folder  # noqa: F401
from tests.serving import serving
from trunkline.cli import trunkline

WHO = """
import json, os, pathlib
def refused(path):
    try:
        pathlib.Path(path).write_text("")
    except OSError as error:
        return error.strerror
status = dict(line.split(":\t") for line in open("/proc/self/status").read().splitlines())
print(json.dumps([os.getuid(), os.getgid(), status["CapPrm"], status["NoNewPrivs"], os.path.exists("/bin/sh")]))
print(json.dumps([refused("/store/x"), refused("/srv/x"), refused("/tmp/x")]))
"""


pytestmark = pytest.mark.long


BUNDLE = {"on_bad_row": "stop", "tolerance": 1e-9, "golden_rows": 20, "card": {"intended_use": "to add up numbers"}}


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> roots.Image:
    """The image of the server, built by the Dockerfile that is rendered."""
    roots.required()
    place = tmp_path_factory.mktemp("image")
    builder = roots.Builder(place / "containers")
    wheels = roots.wheels([ROOT / "locks/serve.txt"], place / "wheels")
    base = builder.from_scratch(roots.builds(place / "base", wheels))
    runtime = builder.from_scratch(roots.python(place / "runtime"))
    declared = {"base": base, "runtime": runtime}
    root = project(place / "project", deploy__targets__container=declared, bundle=BUNDLE)
    (root / "src").mkdir()
    shutil.copytree(ROOT / "src/trunkline", root / "src/trunkline", ignore=shutil.ignore_patterns("__pycache__"))
    out = root / "deploy/container"
    done = CliRunner().invoke(trunkline, ["render", "container", "--project", str(root), "-o", str(out)])
    assert done.exit_code == 0, done.output
    yield builder.build(out / "server.Dockerfile", root)
    builder.remove()


def test_the_image_of_the_server_answers_a_request_as_nobody_in_a_root_that_is_read_only(image, folder, tmp_path):  # noqa: F811
    *command, verb = image.entry
    assert verb == "serve"
    inside = image.inside({folder: "/store/bundle"})
    done = subprocess.run([*inside, "python3", "-c", WHO], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    user, writes = map(json.loads, done.stdout.splitlines())
    assert user == [65532, 65532, "0" * 16, "1", False]
    assert writes == ["Read-only file system", "Read-only file system", None]
    with serving("/store/bundle", cwd=tmp_path, command=[*inside, *command]) as server:
        assert server.post("/v1/predict", GOOD).status == 200
