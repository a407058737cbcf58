"""`trunkline federate` writes what it has verified into conf/ and models/sites, once, and says what differs."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from tests import releases
from tests.federation import test_sums
from tests.pipeline.bundle.onnx.test_export import KNOWN, dataset, scores
from trunkline.cli.federate import federate
from trunkline.core.errors import UserError
from trunkline.federation import sites
from trunkline.federation.sites import PinnedSite
from trunkline.pipeline.train import fit

JOINT: dict[str, Any] = {
    "_target_": "trunkline.JointClassifier",
    "preprocess": {"categorical": {"encode": "native"}},
    "sites": {
        name: {"repository": f"{name}.git", "version": "flight-delay@v1", "signers": releases.signers(name)}
        for name in ("north", "south")
    },
}
CONF = Path("conf/model/joint.yaml")


@pytest.fixture
def released(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, PinnedSite]:
    """A project that joins two sites, and what these have released."""
    shutil.copytree(root / "conf", tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    config = Path("conf/config.yaml")
    config.write_text(config.read_text().replace("model: gbm", "model: joint"))
    CONF.write_text(f"# Two sites.\n{yaml.safe_dump(JOINT, sort_keys=False)}")
    there = {name: version(name.encode(), rows) for name, rows in (("north", 70), ("south", 30))}
    monkeypatch.setattr(sites, "pinned", lambda name, site, expected, environ: there[name])
    return there


def version(graph: bytes, rows: int) -> PinnedSite:
    manifest = json.dumps({"files": {"model.onnx": hashlib.sha256(graph).hexdigest()}}).encode()
    return PinnedSite(
        "north", hashlib.sha256(manifest).hexdigest(), rows, {"manifest.json": manifest, "model.onnx": graph}
    )


def run(*arguments: str) -> Result:
    return CliRunner().invoke(federate, arguments, catch_exceptions=False)


def test_what_is_verified_is_pinned_and_a_change_is_told(released: dict[str, PinnedSite]) -> None:
    before = CONF.read_text()
    assert run("--check").exit_code == 1
    assert (CONF.read_text(), Path("models").exists()) == (before, False)
    done = run()
    assert done.exit_code == 0
    assert f"written to {CONF}, models/sites/; next: dvc repro" in done.stdout
    written = yaml.safe_load(CONF.read_text())["sites"]
    assert {name: (site["digest"], site["rows"]) for name, site in written.items()} == {
        name: (site.digest, site.rows) for name, site in released.items()
    }
    assert CONF.read_text().startswith("# Two sites.\n")
    assert run("--check").exit_code == 0
    Path("models/sites/north/model.onnx").write_bytes(b"changed")
    assert run("--check").exit_code == 1
    assert (run().exit_code, Path("models/sites/north/model.onnx").read_bytes()) == (0, b"north")
    released["south"] = version(b"another", 31)
    told = run("--check", "--json")
    assert (told.exit_code, {name: site["moved"] for name, site in json.loads(told.stdout)["sites"].items()}) == (
        1,
        {"north": False, "south": True},
    )


@pytest.mark.usefixtures("released")
def test_what_cannot_be_joined_is_told_where_it_stands() -> None:
    text = CONF.read_text()
    CONF.write_text(text.replace("PUBLIC KEY", "PRIVATE KEY", 2))
    with pytest.raises(UserError, match=r"joint\.yaml.*model\.sites\.north\.signers\.north\.key: is a private key"):
        run()
    CONF.write_text(text)
    config = Path("conf/config.yaml")
    config.write_text(config.read_text().replace("model: joint", "model: gbm"))
    with pytest.raises(UserError, match=r"model\.sites: names no site"):
        run()


def test_a_round_is_opened_shared_in_and_summed_by_the_verbs(root: Path, tmp_path: Path, monkeypatch: Any) -> None:
    shutil.copytree(root / "conf", tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    config = Path("conf/config.yaml")
    config.write_text(config.read_text().replace("model: gbm", "model: joint"))
    members = {name: {"key": test_sums.public(name), "signers": releases.signers(name)} for name in test_sums.SITES}
    content = JOINT | {"sites": {"airlines": {"round": "2013-07", "members": members}}}
    CONF.write_text(yaml.safe_dump(content, sort_keys=False))
    rows = dataset(KNOWN)
    pipeline = fit.fit(rows, test_sums.MODELS["north"], 7)
    test_sums.publish(rows, pipeline)

    with pytest.raises(UserError, match=r"model\.sites\.airlines: round 2013-07 has not been opened"):
        run()
    with pytest.raises(UserError, match=r"model\.sites\.north: is no sum"):
        run("round", "north")
    assert "models/rounds/2013-07/round.json: opened" in run("round", "airlines").stdout
    for name in test_sums.SITES:
        for variable, value in test_sums.environ(name).items():
            monkeypatch.setenv(variable, value)
        shared = run("share", "models/rounds/2013-07/round.json", "--site", name)
        assert f"models/rounds/2013-07/{name}.json: written" in shared.stdout
        assert len(set(re.findall(r"(\w+): sha256 of its key [0-9a-f]{64}", shared.stderr))) == len(members)
    assert "written to conf/model/joint.yaml, models/sites/" in run().stdout
    assert run("--check").exit_code == 0
    assert yaml.safe_load(CONF.read_text())["sites"]["airlines"]["rows"] == 3 * rows.frame.height
    graph = Path("models/sites/airlines/model.onnx").read_bytes()
    summed = scores(graph, rows.features, KNOWN)
    assert abs(summed - fit.scores(pipeline, rows.features)).max() < 1e-9

    CONF.write_text(CONF.read_text().replace("PUBLIC KEY", "PRIVATE KEY", 4))
    with pytest.raises(UserError, match=r"joint\.yaml.*model\.sites\.airlines\.members\.north\.key") as caught:
        run()
    assert members["north"]["key"].splitlines()[1] not in str(caught.value)
