"""`trunkline federate` writes what it has verified into conf/ and models/sites, once, and says what differs."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from tests import releases
from trunkline.cli.federate import federate
from trunkline.core.errors import UserError
from trunkline.federation import sites
from trunkline.federation.sites import PinnedSite

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
