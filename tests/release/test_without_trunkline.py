"""docs/verify-without-trunkline.md, run as it is written, on a signed release; a changed byte stops it."""

import re
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests import releases
from tests.releases import NAME, Project

PAGE = Path(__file__).parents[2] / "docs/verify-without-trunkline.md"


def commands() -> str:
    """Every indented block of the page, up to what needs Trunkline."""
    text = PAGE.read_text(encoding="utf-8").partition("## The bill of materials")[0]
    blocks = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", text, re.MULTILINE)
    return "\n".join(re.sub("^    ", "", block, flags=re.MULTILINE) for block in blocks)


def audit(project: Project, signer: str, number: int = 1) -> subprocess.CompletedProcess[str]:
    """Run the page's commands in a clone, with nothing of Python on the path."""
    (project.root / "release.pub").write_text(releases.signers(signer)[signer]["key"], encoding="utf-8")
    given = {"VERSION": f"{NAME}@v{number}", "KEY": "release.pub", "REMOTE": str(project.store)}
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(project.root.parent), "LC_ALL": "C", **given}
    command = ["bash", "-xc", commands()]
    return subprocess.run(command, cwd=project.root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project", store=tmp_path / "store").create()
    project.commit("A project")
    project.build(0.76).commit()
    project.release()
    return project


def test_the_page_verifies_a_release_from_the_tag_to_the_bytes(project):
    told = audit(project, "release")
    assert told.returncode == 0, told.stderr
    assert "Signature Verified Successfully" in told.stdout
    assert "model.onnx: OK" in told.stdout
    assert f'"name": "{"locks/pipeline.txt"}"' in told.stdout


def test_so_it_does_with_a_key_of_the_other_kind(tmp_path, monkeypatch):
    key = ec.derive_private_key(int.from_bytes(b"release", "big"), ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    monkeypatch.setattr(releases, "private", lambda _: pem)
    monkeypatch.setattr(releases, "signers", lambda name: {name: {"key": public}})
    project = Project(tmp_path / "project", store=tmp_path / "store").create().build()
    project.commit()
    project.release()
    told = audit(project, "release")
    assert told.returncode == 0, told.stderr
    assert "Verified OK" in told.stdout


def test_another_key_stops_it(project):
    told = audit(project, "somebody")
    assert told.returncode != 0
    assert "openssl pkeyutl" not in told.stderr


def test_a_changed_statement_does_not_fit_its_signature(project):
    message = project.message(f"{NAME}@v1")
    head, _, body = message.partition("-----BEGIN TRUNKLINE PROVENANCE-----\n")
    import base64
    import json

    lines = body.partition("-----END")[0]
    envelope = json.loads(base64.b64decode(lines))
    payload = base64.b64decode(envelope["payload"]).replace(b'"v1"', b'"v2"')
    envelope["payload"] = base64.b64encode(payload).decode()
    text = base64.b64encode(json.dumps(envelope).encode()).decode()
    whole = f"{head}-----BEGIN TRUNKLINE PROVENANCE-----\n{text}\n-----END TRUNKLINE PROVENANCE-----\n"
    project.tag(f"{NAME}@v1", whole)
    told = audit(project, "release")
    assert told.returncode != 0
    assert "Signature Verification Failure" in told.stdout + told.stderr


def test_a_moved_tag_and_a_changed_file_of_the_bundle_are_told(project):
    message = project.message(f"{NAME}@v1")
    moved = audit_of_moved(project, message)
    assert moved.returncode != 0
    assert "+ git show flight-delay@v1:params.yaml" not in moved.stderr
    project.tag(f"{NAME}@v1", message, "HEAD~1")
    card = next(path for path in project.store.rglob("*") if path.is_file() and path.read_bytes().startswith(b"# Sums"))
    card.chmod(0o644)
    card.write_bytes(card.read_bytes() + b"!")
    changed = audit(project, "release")
    assert changed.returncode != 0
    assert "card.md: FAILED" in changed.stdout


def audit_of_moved(project: Project, message: str) -> subprocess.CompletedProcess[str]:
    project.commit("Another")
    project.tag(f"{NAME}@v1", message)
    return audit(project, "release")
