"""Who vouches for a version: a change that brings its own signer, and a signer that vouches for what was before it."""

import pytest

from tests.releases import Project, history, signers
from trunkline.adapters.git import repository
from trunkline.adapters.git.snapshot import Snapshot
from trunkline.conf.deploy import Deploy
from trunkline.conf.versions import Version
from trunkline.core.params import Params
from trunkline.deploy import moves
from trunkline.release import releases, verify
from trunkline.release.verify import RefusedError

# pygtrie, which DVC uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return history(tmp_path_factory.mktemp("history"))


@pytest.fixture
def attacker(home, tmp_path, monkeypatch) -> Project:
    """Somebody who may push tags, on a branch; production runs v2, and the trunk's model is v3."""
    clone = home.clone(tmp_path / "clone")
    clone.git("checkout", "--quiet", "-b", "work")
    monkeypatch.chdir(clone.root)
    return clone


def refused(attacker: Project) -> str:
    """What the check says of the one move that the branch declares."""
    base = Snapshot(attacker.root, attacker.git("rev-parse", "main"))
    (move,) = moves.moves(attacker.root, Params.read(), base)
    return move.refused


def test_a_change_that_replaces_the_signers_key_promotes_nothing_that_it_signed(attacker: Project) -> None:
    attacker.params(deploy__signers={"release": signers("mallory")["mallory"]})
    attacker.commit("Rotate the key")
    attacker.release(signer="mallory")
    attacker.declare(production="v4").commit("Promote v4")
    assert verify.chain(attacker.root, Version("flight-delay", 4), Params.read().group(Deploy).signers), (
        "the head says so"
    )
    assert "flight-delay@v4: " in refused(attacker)


def test_a_change_that_takes_a_signer_out_promotes_nothing_that_it_signed(attacker: Project) -> None:
    attacker.params(deploy__signers=signers("another"))
    attacker.declare(production="v3").commit("The key leaked")
    assert "flight-delay@v3: " in refused(attacker)


def test_a_signer_that_was_merged_later_vouches_for_nothing_before(attacker: Project) -> None:
    attacker.git("checkout", "--quiet", "HEAD~1")
    attacker.release(signer="mallory", number=4)
    attacker.git("checkout", "--quiet", "work")
    attacker.params(deploy__signers=signers() | signers("mallory")).commit("A second signer")
    declared = Params.read().group(Deploy).signers
    with pytest.raises(
        RefusedError, match="is signed by mallory, which conf/deploy of its own commit does not declare"
    ):
        verify.chain(attacker.root, Version("flight-delay", 4), declared)
    assert verify.chain(attacker.root, Version("flight-delay", 3), declared).signer == "release"


def test_results_are_believed_as_far_as_a_version_that_somebody_declared_has_signed(attacker: Project) -> None:
    newest = repository.resolve(attacker.root, "flight-delay@v3")
    assert releases.newest_proven(attacker.root, Params.read()) == newest
    attacker.commit("A commit")
    attacker.release(signer="mallory", number=4)
    attacker.git("tag", "flight-delay@v5")
    assert releases.newest_proven(attacker.root, Params.read()) == newest, "a tag that nobody may vouch for"
    attacker.git("checkout", "--quiet", "flight-delay@v2")
    assert releases.newest_proven(attacker.root, Params.read()) == repository.resolve(attacker.root, "HEAD"), (
        "not later"
    )
    attacker.params(deploy__signers=signers("mallory"))
    assert releases.newest_proven(attacker.root, Params.read()) is None
