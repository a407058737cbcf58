"""A pointer is believed for the signature that it carries, and for nothing else."""

from dataclasses import replace

import pytest

from tests.releases import declare_trust, released
from trunkline.core.errors import UserError
from trunkline.deploy.mlflow.state import Release
from trunkline.release import signing
from trunkline.release.delivered import Trust
from trunkline.release.signing import MissingError
from trunkline.release.verify import RefusedError
from trunkline.serve.model import Pointer

DIGEST = "a" * 64


@pytest.fixture
def trust(tmp_path) -> Trust:
    return Trust.read(declare_trust(tmp_path, "sums"))


def pointing(release: Release) -> Pointer:
    version = release.version
    return Pointer(version.name, version.label, release.digest, "", release.commit, release.provenance)


def test_a_bit_that_was_changed_anywhere_is_refused(trust):
    good = released(DIGEST, 2, "sums")
    trust.check(pointing(good))
    for place in range(0, len(good.provenance), 7):
        changed = chr(ord(good.provenance[place]) ^ 1)
        text = good.provenance[:place] + changed + good.provenance[place + 1 :]
        with pytest.raises(RefusedError, match="sums@v2: "):
            trust.check(pointing(replace(good, provenance=text)))


def test_gates_that_did_not_pass_are_refused_whoever_signed(trust):
    with pytest.raises(RefusedError, match="of gates that say fail, not pass"):
        trust.check(pointing(released(DIGEST, 2, "sums", verdict="fail")))


def test_a_signer_that_is_taken_out_counts_no_more(trust, tmp_path):
    pointer = pointing(released(DIGEST, 2, "sums"))
    trust.check(pointer)
    other = Trust.read(declare_trust(tmp_path / "later", "sums", signer="other"))
    with pytest.raises(RefusedError, match="does not declare, or no longer does; declared signers: other"):
        other.check(pointer)


def test_without_a_signer_nothing_is_believed(tmp_path):
    with pytest.raises(UserError, match=r"params\.yaml: is missing, and so is who signs"):
        Trust.read(tmp_path)
    declare_trust(tmp_path)
    text = (tmp_path / "params.yaml").read_text()
    begin = text.index("  signers:")
    (tmp_path / "params.yaml").write_text(text[:begin] + "  signers: {}\n" + text[text.index("name:") :])
    with pytest.raises(UserError, match=r"deploy\.signers: declares nobody"):
        Trust.read(tmp_path)


def test_a_library_that_is_missing_is_told(trust, monkeypatch):
    monkeypatch.setattr(signing, "find_spec", lambda name: None if name == "securesystemslib" else object())
    with pytest.raises(MissingError, match="securesystemslib is not installed"):
        trust.check(pointing(released(DIGEST, 2, "sums")))
