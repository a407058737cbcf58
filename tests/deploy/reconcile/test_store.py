"""The folder that servers watch: whole bundles, a pointer that is right or not there, and what is kept."""

import json
import os
import shutil

import pytest

from tests import bundles
from trunkline.bundle import manifest
from trunkline.bundle.manifest import BundleError
from trunkline.conf.versions import Version
from trunkline.core.errors import OutsideError
from trunkline.deploy.mlflow.state import Release
from trunkline.deploy.reconcile.state import Tried
from trunkline.deploy.reconcile.store import BundleStore
from trunkline.serve.model import Pointer, Rollout

COMMIT = "0" * 40


def made(folder, number):
    bundle = bundles.make(folder / f"bundle{number}")
    (bundle / "card.md").write_text(str(number))
    bundles.seal(bundle)
    return bundle, manifest.digest(bundle)


def copying(bundle):
    return lambda folder: shutil.copytree(bundle, folder)


def test_a_bundle_is_put_whole_or_not_at_all(tmp_path):
    store = BundleStore(tmp_path / "store")
    bundle, digest = made(tmp_path, 1)
    other, _ = made(tmp_path, 2)
    with pytest.raises(OutsideError, match="was asked for, but"):
        store.put(digest, copying(other))
    (other / "card.md").write_text("changed")
    with pytest.raises(BundleError, match="was changed"):
        store.put(digest, copying(other))
    with pytest.raises(ZeroDivisionError):
        store.put(digest, lambda folder: (shutil.copytree(bundle, folder), 1 / 0))
    assert list((store.folder / "bundles").iterdir()) == []
    assert not store.has(digest)
    release = Release(Version("sums", 1), digest, COMMIT, "pass", provenance="signed")
    with pytest.raises(OutsideError, match="the bundle of sums@v1 is not there"):
        store.deliver("production", release)
    assert store.delivered("production") is None

    store.put(digest, copying(bundle))
    store.deliver("production", release)
    assert store.delivered("production") == Pointer("sums", "v1", digest, f"bundles/{digest}", COMMIT, "signed")
    assert manifest.verify(store.folder / store.delivered("production").bundle) == digest
    (store.bundle(digest) / "card.md").write_text("changed")
    assert not store.has(digest)
    store.put(digest, copying(bundle))
    assert store.has(digest)
    assert [path.name for path in (store.folder / "bundles").iterdir()] == [digest]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "{",
        '{"name": "a", "version": "v1", "digest": 1, "bundle": "b"}',
        '{"name": "a", "version": "v1", "digest": "d", "bundle": "elsewhere"}',
        "\xff",
    ],
)
def test_a_pointer_that_says_nothing_is_none(tmp_path, text):
    store = BundleStore(tmp_path)
    (tmp_path / "production.json").write_bytes(text.encode("latin-1"))
    assert store.delivered("production") is None
    store.withdraw("production")
    store.withdraw("production")
    assert not (tmp_path / "production.json").exists()


def test_the_last_used_are_kept_and_what_is_delivered_always(tmp_path):
    store = BundleStore(tmp_path / "store")
    digests = []
    for number in range(5):
        bundle, digest = made(tmp_path, number)
        store.put(digest, copying(bundle))
        os.utime(store.bundle(digest), ns=(number, number))
        digests.append(digest)
    content = {"name": "sums", "version": "v1", "digest": digests[0], "bundle": f"bundles/{digests[0]}"}
    (store.folder / "production.json").write_text(json.dumps(content))
    (store.folder / "bundles/.aside-half").mkdir()
    assert set(store.tidy(2)) == {digests[1], digests[2]}
    assert {digest for digest in digests if store.has(digest)} == {digests[0], digests[3], digests[4]}
    with store.alone():
        assert not (store.folder / "bundles/.aside-half").exists(), "a half that a killed process left"
    assert store.tidy(2) == ()
    store.deliver("staging", Release(Version("sums", 2), digests[0], COMMIT, "pass"))
    assert store.tidy(1) == (digests[4], digests[3])


def test_a_candidate_is_delivered_beside_the_version_and_its_bundle_is_kept(tmp_path):
    store, releases = BundleStore(tmp_path / "store"), []
    for number in range(3):
        bundle, digest = made(tmp_path, number)
        store.put(digest, copying(bundle))
        os.utime(store.bundle(digest), ns=(number, number))
        releases.append(Release(Version("sums", number + 1), digest, COMMIT, "pass", provenance="signed"))
    current, candidate, _ = releases
    tried = Tried("canary", candidate.version, 5.0, ("origin", "dest"), release=candidate)
    store.deliver("production", current, tried)
    pointer = store.delivered("production")
    beside = Pointer("sums", "v2", candidate.digest, f"bundles/{candidate.digest}", COMMIT, "signed")
    assert pointer.rollout == Rollout("canary", 5.0, ("origin", "dest"), beside)
    for digest in (current.digest, candidate.digest):
        os.utime(store.bundle(digest), ns=(0, 0))
    assert store.tidy(1) == ()
    store.deliver("production", current)
    assert "rollout" not in json.loads((store.folder / "production.json").read_bytes()), "as older servers read it"
    os.utime(store.bundle(current.digest), ns=(0, 0))
    assert store.tidy(1) == (candidate.digest,)
    with pytest.raises(OutsideError, match="the bundle of sums@v2 is not there"):
        store.deliver("production", current, tried)
    content = json.loads((store.folder / "production.json").read_bytes())
    assert content["digest"] == current.digest
    elsewhere = {"kind": "shadow", "share": 100, "key": [], "candidate": content | {"bundle": "elsewhere"}}
    (store.folder / "production.json").write_text(json.dumps(content | {"rollout": elsewhere}))
    assert store.delivered("production") is None
