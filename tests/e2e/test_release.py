"""A release end to end: what is refused, what is tagged, who may race, and what verify finds of every broken link."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.e2e.conftest import Checkout
from tests.forkserver import commands
from trunkline.adapters.git import repository
from trunkline.conf.versions import Version
from trunkline.core.files import canonical_json
from trunkline.release import message, provenance, signing
from trunkline.release.provenance import Announced, ReleaseRun

pytestmark = [pytest.mark.e2e, pytest.mark.long]

QUIET = {"PYTHONWARNINGS": "ignore"}
PROMOTION = "conf/deploy/flights.yaml"


def pair() -> tuple[str, str]:
    """A private key, and its public half."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def declare(project: Checkout, signers: dict[str, str]) -> None:
    """Declare these signers and no others."""
    path = project.root / PROMOTION
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["signers"] = {name: {"key": key} for name, key in signers.items()}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    project.run("trunkline", "compose")


def trunkline(project: Checkout, *arguments: str, key: str = "") -> tuple[int, str]:
    """Run a verb, and return its exit code and all that it printed."""
    path = os.pathsep.join([str(commands()), os.environ["PATH"]])
    done = subprocess.run(
        ["trunkline", *arguments],
        cwd=project.root,
        env={**os.environ, **QUIET, "PATH": path, "TRUNKLINE_SIGNING_KEY": key},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert not key or key not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def keys() -> tuple[str, str]:
    return pair()


@pytest.fixture(scope="module")
def hosted(small: Checkout, keys: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A project whose trunk is at a bare origin, and whose outputs are in a remote of DVC."""
    folder = tmp_path_factory.mktemp("hosted")
    made = small.copy(folder / "project")
    declare(made, {"first": keys[1]})
    made.repro()
    made.run("dvc", "remote", "add", "--default", "store", str(folder / "store"))
    made.commit("signers and a remote")
    made.run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(folder / "origin.git"))
    made.run("git", "remote", "add", "origin", str(folder / "origin.git"))
    made.run("git", "push", "--quiet", "origin", "main")
    return made


@pytest.fixture(scope="module")
def released(hosted: Checkout, keys: tuple[str, str]) -> Checkout:
    code, told = trunkline(hosted, "release", key=keys[0])
    assert (code, told.split(":")[0]) == (0, "flight-delay@v1"), told
    return hosted


@pytest.fixture
def copy(released: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the released project, with an origin of its own."""
    made = released.copy(tmp_path / "project")
    shutil.copytree(released.root.parent / "origin.git", tmp_path / "origin.git")
    made.run("git", "remote", "set-url", "origin", str(tmp_path / "origin.git"))
    return made


def test_a_release_is_one_tag_that_everybody_can_read_and_verify(released: Checkout, keys, tmp_path: Path) -> None:
    digest = json.loads(released.read("reports/bundle.json"))["digest"]
    message = released.run("git", "tag", "--list", "--format=%(contents)", "flight-delay@v1")
    assert message.startswith(f"flight-delay v1\n\nbundle: {digest}\nverdict: ")
    assert re.search(r"flight-delay\W+v1\.0\.0", released.run("gto", "show", env=QUIET))
    assert trunkline(released, "release", key=keys[0]) == (
        0,
        f"flight-delay@v1 is this bundle already, {digest[:12]}: nothing to do\n",
    )
    # Somebody else, with a clone and what the remote has of the bundle, and no network.
    released.run("git", "clone", "--quiet", str(released.root.parent / "origin.git"), str(tmp_path / "else"))
    other = Checkout(tmp_path / "else")
    code, told = trunkline(other, "verify", "v1")
    assert (code, "not in DVC's cache" in told) == (3, True), told
    assert trunkline(other, "verify", "v1", "--chain-only")[0] == 0
    other.run("dvc", "fetch", "models/bundle")
    released.root.parent.joinpath("store").rename(tmp_path / "store")
    try:
        code, told = trunkline(other, "verify", "flight-delay@v1", "--json")
    finally:
        (tmp_path / "store").rename(released.root.parent / "store")
    said = json.loads(told)
    assert (code, said["verified"], said["digest"], said["signed by"]) == (0, True, digest, "first")
    assert said["files"] > 3


def test_what_is_not_committed_reproduced_merged_or_passed_is_not_released(
    copy: Checkout, keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusal() -> str:
        code, told = trunkline(copy, "release", key=keys[0])
        assert code == 1, told
        assert copy.run("git", "ls-remote", "--tags", "origin") == tags
        return told

    tags = copy.run("git", "ls-remote", "--tags", "origin")
    copy.edit("conf/model/boosting_small.yaml", "max_iter: 40", "max_iter: 35")
    assert "not committed: conf/model/boosting_small.yaml" in refusal()
    copy.run("trunkline", "compose")
    copy.commit("not run")
    assert "dvc repro would run compose, search, train" in refusal()
    copy.repro()
    assert "not committed: dvc.lock" in refusal()
    copy.commit("run")
    assert "is not on the trunk (main of origin)" in refusal()
    copy.run("git", "push", "--quiet", "origin", "HEAD:main")
    copy.edit("conf/gates/flights.yaml", "megabytes, maximum: 50}", "megabytes, maximum: 0.001}")
    copy.repro()
    copy.commit("it does not pass")
    copy.run("git", "push", "--quiet", "origin", "HEAD:main")
    assert "gate small: the bundle's size in MB is" in refusal()
    copy.run("git", "revert", "--no-edit", "HEAD")
    copy.run("dvc", "checkout")
    copy.run("git", "push", "--quiet", "origin", "HEAD:main")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "http://127.0.0.1:9/")  # no workflow is declared: not asked
    code, told = trunkline(copy, "release")
    assert (code, "nothing to sign with" in told) == (2, True), told
    assert trunkline(copy, "release", "--dry-run", key=keys[0])[1].startswith("would be flight-delay@v2")
    assert copy.run("git", "ls-remote", "--tags", "origin") == tags

    # Another took the number at the last moment: the next one is taken, and both are there.
    hook = copy.root / ".git/hooks/pre-push"
    hook.write_text(
        "#!/bin/sh\nrm .git/hooks/pre-push\n"
        "git push --quiet origin refs/tags/flight-delay@v1:refs/tags/flight-delay@v2\n"
    )
    hook.chmod(0o755)
    code, told = trunkline(copy, "release", key=keys[0])
    assert (code, "flight-delay@v2 was taken meanwhile" in told, "flight-delay@v3: bundle" in told) == (
        0,
        True,
        True,
    ), told
    assert trunkline(copy, "verify", "v3")[0] == 0

    # Two at once: one of them releases, and the other finds that.
    copy.edit("conf/model/boosting_small.yaml", "max_iter: 35", "max_iter: 36")
    copy.repro()
    copy.commit("another model")
    copy.run("git", "push", "--quiet", "origin", "HEAD:main")
    with ThreadPoolExecutor() as pool:
        both = pool.map(lambda each: trunkline(each, "release", key=keys[0]), [copy, copy.copy(tmp_path / "twin")])
        answers = sorted(both)
    assert [code for code, _ in answers] == [0, 0], answers
    # Of the same second, both make the same tag, and each may say that it has.
    assert all(told.startswith("flight-delay@v4") for _, told in answers), answers
    assert "flight-delay@v5" not in copy.run("git", "ls-remote", "--tags", "origin")

    # A run of an older commit that was waiting: what it holds is in the newer version, and `latest` stays there.
    copy.run("git", "checkout", "--quiet", "HEAD~3")
    copy.run("dvc", "checkout", "--force")
    code, told = trunkline(copy, "release", key=keys[0])
    assert (code, told.split(":")[0]) == (0, "passed over"), told


def test_a_version_stays_one_whatever_gates_say_of_its_bundle_later(copy: Checkout, keys) -> None:
    copy.edit("conf/gates/flights.yaml", "megabytes, maximum: 50}", "megabytes, maximum: 0.001}")
    copy.repro()
    copy.commit("other rules")
    copy.run("git", "push", "--quiet", "origin", "HEAD:main")
    code, told = trunkline(copy, "release", key=keys[0])
    assert (code, "flight-delay@v1 is this bundle already" in told) == (0, True), told


def retag(project: Checkout, commit: str, change: Callable[[str], str] = lambda message: message) -> None:
    message = project.run("git", "tag", "--list", "--format=%(contents)", "flight-delay@v1").removesuffix("\n")
    (project.root / "message").write_text(change(message), encoding="utf-8")
    project.run("git", "tag", "--force", "--annotate", "--file", "message", "flight-delay@v1", commit)


def test_every_broken_link_of_the_chain_is_refused_in_words_of_its_own(copy: Checkout, keys) -> None:
    def refusal() -> str:
        code, told = trunkline(copy, "verify", "v1")
        assert (code, told.split(":")[0]) == (1, "refused"), told
        return told

    tag = copy.run("git", "rev-parse", "flight-delay@v1").strip()
    declare(copy, {"second": pair()[1]})
    assert "which conf/deploy does not declare, or no longer does; declared signers: second" in refusal()
    declare(copy, {"first": keys[1]})
    bundle = copy.root / "models/bundle/model.onnx"
    cache = [path for path in (copy.root / ".dvc/cache/files").rglob("*") if path.is_file()]
    cached = next(path for path in cache if path.read_bytes() == bundle.read_bytes())
    content = cached.read_bytes()
    cached.chmod(0o644)
    cached.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "the bundle's model.onnx was changed" in refusal()
    cached.write_bytes(content)
    copy.run("git", "commit", "--quiet", "--allow-empty", "--message", "another")
    retag(copy, "HEAD")
    assert "the tag was moved" in refusal()
    copy.run("git", "update-ref", "refs/tags/flight-delay@v1", tag)
    retag(copy, "flight-delay@v1^{}", lambda message: re.sub(r"(?m)^bundle: .", "bundle: f", message))
    assert "the tag's message announces the bundle f" in refusal()
    copy.run("git", "update-ref", "refs/tags/flight-delay@v1", tag)
    copy.run("git", "tag", "--force", "flight-delay@v1", "HEAD")
    assert "is a lightweight tag" in refusal()
    copy.run("git", "update-ref", "refs/tags/flight-delay@v1", tag)
    assert trunkline(copy, "verify", "v1")[0] == 0
    assert trunkline(copy, "verify", "v7")[0] == 2


def test_a_version_that_a_stolen_key_has_signed_is_found_when_it_is_judged_again(copy: Checkout, keys) -> None:
    code, told = trunkline(copy, "verify", "v1", "--again", "--json")
    assert (code, json.loads(told)["judged again"] > 0) == (0, True), told
    slices = json.loads(copy.read("reports/slices.json"))
    slices["all"]["all"]["metrics"]["roc_auc"]["value"] += 0.05
    (copy.root / "reports/slices.json").write_text(canonical_json(slices))
    copy.commit("Better numbers")
    head = copy.run("git", "rev-parse", "HEAD").strip()
    version = Version("flight-delay", 2)
    facts = provenance.facts_of(repository.files_at(copy.root, [head], provenance.READ)[head], head, version)
    signed = signing.sign(provenance.encode(facts, ReleaseRun()), {signing.KEY: keys[0]})
    announced = Announced(version, facts.digest, facts.hashes["reports/gates.json"], None, signed)
    copy.run("git", "tag", "--annotate", "--message", message.message(announced), version.tag)
    assert trunkline(copy, "verify", "v2")[0] == 0, "the attack: every link of the chain holds"
    code, told = trunkline(copy, "verify", "v2", "--again")
    assert (code, "reports/slices.json: is not what scores, labels and rules give" in told) == (1, True), told
