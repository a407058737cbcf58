"""What a server takes is measured of one that is started, and written into conf/deploy as what pods ask for."""

import json
import shutil
import time
from pathlib import Path

import psutil
import pytest
import yaml
from click.testing import CliRunner

from tests.conftest import ROOT
from tests.deploy.targets.projects import KEY
from tests.deploy.targets.test_kubernetes import MINIMAL
from tests.serve.conftest import folder  # noqa: F401
from trunkline.cli import trunkline
from trunkline.conf.serving import Serving
from trunkline.core.errors import OutsideError, UserError
from trunkline.deploy.targets import measure
from trunkline.deploy.targets.measure import Taken
from trunkline.pipeline.compose import compose


def test_a_server_is_measured_with_its_workers_and_ended(folder):  # noqa: F811
    taken = measure.measure(folder, Serving(workers=2), connections=2, seconds=0.4)
    assert taken.requests >= 2
    assert 0 <= taken.cpu < 1  # nothing, where so few requests took less than a tick of the clock
    assert 80e6 < taken.memory < 2e9  # of three processes, of which one alone has more than 20 MB
    running = [" ".join(each.cmdline()) for each in psutil.Process().children(recursive=True)]
    assert [command for command in running if "spawn_main" in command] == []


def test_processor_seconds_are_those_that_processes_took():
    own = psutil.Process()
    before, began = measure.processor_seconds([own]), time.process_time()
    while time.process_time() - began < 0.2:
        pass
    assert 0.1 < measure.processor_seconds([own]) - before < 5
    assert measure.processor_seconds([own, own]) >= 2 * before


def test_what_cannot_be_measured_says_why(folder, tmp_path, monkeypatch, capfd):  # noqa: F811
    with pytest.raises(UserError, match="has no golden rows to ask; run: dvc repro bundle"):
        measure.measure(tmp_path, Serving(), 1, 0.1)
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "model.onnx").write_bytes(b"")
    with pytest.raises(OutsideError, match="was not ready"):
        measure.measure(broken, Serving(), 1, 0.1)
    assert "model.onnx" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("taken", "rate", "asked"),
    [
        (Taken(100 * 2**20, 0.000241, 9), 200, {"cpu": "50m", "memory": "160Mi"}),
        (Taken(109 * 10**6, 0.000091, 9), 10_000, {"cpu": "910m", "memory": "160Mi"}),
        (Taken(2**20, 0.000001, 9), 1, {"cpu": "10m", "memory": "16Mi"}),
    ],
)
def test_pods_ask_for_what_so_many_requests_take_and_half_as_much_memory_again(taken, rate, asked):
    assert taken.resources(rate) == asked


@pytest.fixture
def declared(tmp_path, monkeypatch) -> Path:
    """A project whose conf/ declares a cluster."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    path = tmp_path / "conf/deploy/flights.yaml"
    kubernetes = "".join(f"    {key}: {value}\n" for key, value in MINIMAL["deploy__targets__kubernetes"].items())
    text = path.read_text().replace("signers: {}", f"signers: {json.dumps({'release': {'key': KEY}})}")
    origin = "targets: # of what containers run\n  origin: git@host.example.org:team/flights.git\n"
    path.write_text(f"{text}{origin}  kubernetes:\n{kubernetes}")
    serving = tmp_path / "conf/serving/flights.yaml"
    serving.write_text(serving.read_text() + "authentication: {keys: secrets/keys.json}\n")
    (tmp_path / "params.yaml").write_text(compose.render(compose.compose(tmp_path / "conf").content))
    monkeypatch.setattr(measure, "measure", lambda *_: Taken(100 * 2**20, 0.000241, 9))
    return tmp_path


def test_it_is_written_into_conf_and_rendered(declared):
    command = ["render", "kubernetes", "--project", str(declared), "-o", str(declared / "k8s")]
    done = CliRunner().invoke(trunkline, [*command, "--measure", "200"])
    assert done.exit_code == 0, done.output
    assert "105 MB, and 241 µs of a processor for each of 9" in done.output
    text = (declared / "conf/deploy/flights.yaml").read_text()
    assert "resources: {cpu: 50m, memory: 160Mi}" in text
    assert "targets: # of what containers run" in text
    deployment = yaml.safe_load((declared / "k8s/base/deployment.yaml").read_text())
    [server] = deployment["spec"]["template"]["spec"]["containers"]
    assert server["resources"] == {"requests": {"cpu": "50m", "memory": "160Mi"}, "limits": {"memory": "160Mi"}}
    assert CliRunner().invoke(trunkline, [*command, "--check"]).exit_code == 0
    refused = CliRunner().invoke(trunkline, [*command, "--check", "--measure", "200"])
    assert "does not go with --check" in refused.output
