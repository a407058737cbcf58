"""A delivered version takes the place of the one that is served if it is whole; otherwise that one stays."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.releases import released, signers
from tests.serve.conftest import GOOD, golden_bundle
from trunkline.bundle.manifest import digest
from trunkline.conf.deploy import Deploy
from trunkline.conf.serving import Limits
from trunkline.core.errors import UserError
from trunkline.deploy.mlflow.state import Release
from trunkline.deploy.reconcile.store import BundleStore
from trunkline.release.delivered import Trust
from trunkline.serve import swap
from trunkline.serve.model import Model, Pointer, load
from trunkline.serve.swap import Follower, Slot

TRUST = Trust("sums", Deploy.parse({"signers": signers(), "environments": {"production": {}}}).signers)


def deliver(store: BundleStore, number: int, source: Path) -> str:
    """Deliver a bundle as `trunkline reconcile` does, and return its digest."""
    name = digest(source)
    store.put(name, partial(shutil.copytree, source))
    store.deliver("production", released(name, number, "sums"))
    return name


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    (tmp_path / "store").mkdir()
    return BundleStore(tmp_path / "store")


@pytest.fixture
def follower(store: BundleStore, monkeypatch: pytest.MonkeyPatch) -> Follower:
    monkeypatch.setattr(swap, "RETRY", 0.0)

    def ready(folder: Path, pointer: Pointer) -> Model:
        return load(folder, Limits(rows=100), 1e-9, pointer)

    return Follower(Slot(), store.folder, "production", TRUST.check, ready)


def served(follower: Follower) -> str | None:
    follower.look()
    return follower.slot.current and follower.slot.current.version.version


def test_a_version_is_served_and_the_one_before_it_stays_loaded_for_a_rollback(store, follower, tmp_path):
    bundles = [golden_bundle(tmp_path / f"v{number}", label=f"label {number}") for number in (1, 2)]
    assert served(follower) is None
    first = deliver(store, 1, bundles[0])
    assert served(follower) == "v1"
    model = follower.slot.current
    assert model.version.commit == "0" * 40
    deliver(store, 2, bundles[1])
    assert served(follower) == "v2"
    assert follower.slot.previous is model
    shutil.rmtree(store.bundle(first))
    store.bundle(first).mkdir()
    store.deliver("production", released(first, 1, "sums"))
    assert served(follower) == "v1"
    assert follower.slot.current is model
    store.withdraw("production")
    assert served(follower) is None


def changed(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"another")


def unlike_its_golden_rows(folder: Path) -> None:
    content = [{"request": GOOD, "score": 1.0}]
    (folder / "golden.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (changed, "model.onnx: was changed"),
        (shutil.rmtree, "is missing"),
        (unlike_its_golden_rows, "golden.json: was changed"),
    ],
)
def test_what_is_broken_is_not_served_until_it_is_whole(store, follower, tmp_path, spoil, problem):
    deliver(store, 1, golden_bundle(tmp_path / "v1"))
    assert served(follower) == "v1"
    second = golden_bundle(tmp_path / "v2", label="another")
    spoil(store.bundle(deliver(store, 2, second)))
    assert served(follower) == "v1"
    assert problem in follower.slot.problem
    deliver(store, 2, second)
    assert served(follower) == "v2"
    assert follower.slot.problem is None


def test_a_bundle_that_does_not_score_its_golden_rows_or_is_another_is_not_served(store, follower, tmp_path):
    deliver(store, 1, golden_bundle(tmp_path / "v1"))
    assert served(follower) == "v1"
    wrong = golden_bundle(tmp_path / "v2")
    unlike_its_golden_rows(wrong)
    from tests.bundles import seal

    seal(wrong)
    name = deliver(store, 2, wrong)
    assert served(follower) == "v1"
    assert "golden.json: a request scores" in follower.slot.problem
    store.bundle("f" * 64).mkdir()
    shutil.copytree(tmp_path / "v1", store.bundle("f" * 64), dirs_exist_ok=True)
    store.deliver("production", released("f" * 64, 3, "sums"))
    assert served(follower) == "v1"
    assert "not ffffffffffff as delivered" in follower.slot.problem
    assert name not in follower.slot.problem


@pytest.mark.parametrize(
    ("pointer", "problem"),
    [
        ({"provenance": ""}, "sums@v2: carries no signed provenance"),
        ({"provenance": "{}"}, "the signature is unreadable"),
        (
            {"provenance": released("a" * 64, 2, "sums", signer="other").provenance},
            "which conf/deploy does not declare",
        ),
        ({"version": "v3"}, "sums@v3: its provenance is of the version v2, not v3"),
        ({"commit": "1" * 40}, "is of the commit 0000"),
        ({"name": "others"}, "is of the model sums, not others"),
        ({"provenance": released("a" * 64, 2, "others").provenance}, "is of the model others, not sums"),
        ({"provenance": released("a" * 64, 2, "sums").provenance}, "is of the bundle aaaa"),
    ],
)
def test_whoever_writes_the_pointer_only_what_was_released_is_served(store, follower, tmp_path, pointer, problem):
    deliver(store, 1, golden_bundle(tmp_path / "v1"))
    assert served(follower) == "v1"
    second = deliver(store, 2, golden_bundle(tmp_path / "v2", label="another"))
    written = json.loads((store.folder / "production.json").read_bytes())
    (store.folder / "production.json").write_text(json.dumps(written | pointer), encoding="utf-8")
    assert served(follower) == "v1"
    assert problem in follower.slot.problem
    store.deliver("production", released(second, 2, "sums"))
    assert (served(follower), follower.slot.problem) == ("v2", None)


@pytest.mark.parametrize("content", [b"{", b"{}", b"\xff", b'{"name": "sums", "version": "v1"}'])
def test_a_pointer_that_says_nothing_changes_nothing(store, follower, tmp_path, content):
    deliver(store, 1, golden_bundle(tmp_path / "v1"))
    assert served(follower) == "v1"
    (store.folder / "production.json").write_bytes(content)
    assert served(follower) == "v1"
    assert follower.slot.problem


def test_what_the_log_says_is_in_place_when_it_says_it(store, follower, tmp_path, caplog, monkeypatch):
    seen = []

    class Look(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.getMessage().split()[:2], follower.slot.current is None, follower.slot.problem is None))

    caplog.set_level(logging.INFO, swap.__name__)
    monkeypatch.setattr(logging.getLogger(swap.__name__), "handlers", [Look()])
    deliver(store, 1, golden_bundle(tmp_path / "v1"))
    follower.look()
    (store.folder / "production.json").write_text("{")
    follower.look()
    (store.folder / "production.json").unlink()
    follower.look()
    assert seen == [
        (["serves", "sums"], False, True),
        (["does", "not"], False, False),
        (["serves", "nothing:"], True, True),
    ]


@pytest.fixture
def rolled(store, follower, tmp_path, monkeypatch) -> Callable[..., Slot]:
    """Delivers v1 with a rollout of v2, looks, and returns the slot; `loaded` counts what was loaded."""
    made = [golden_bundle(tmp_path / f"v{number}", request={"title": f"v{number}"}) for number in (1, 2)]
    names = [deliver(store, number, each) for number, each in enumerate(made, 1)]
    pointers = [pointer(released(name, number, "sums")) for number, name in enumerate(names, 1)]
    loads = follower._load

    def load_and_count(folder: Path, of: Pointer) -> Model:
        roll.loaded += 1
        return loads(folder, of)

    monkeypatch.setattr(follower, "_load", load_and_count)

    def roll(current: int = 1, kind: str = "canary", share: float = 5, **candidate: Any) -> Slot:
        rollout = {"kind": kind, "share": share, "key": ["dest"], "candidate": pointers[1] | candidate}
        content = pointers[current - 1] | ({"rollout": rollout} if kind else {})
        (store.folder / "production.json").write_text(json.dumps(content), encoding="utf-8")
        follower.look()
        return follower.slot

    roll.loaded = 0
    return roll


def pointer(release: Release) -> dict[str, Any]:
    digest = release.digest
    content = Pointer("sums", release.version.label, digest, f"bundles/{digest}", release.commit, release.provenance)
    return dict(msgspec.to_builtins(content))


def test_another_share_and_the_end_of_a_rollout_load_nothing(rolled):
    slot = rolled()
    current, candidate = slot.arms.current, slot.arms.candidate
    assert (slot.current, current.version.version, candidate.version.version) == (current, "v1", "v2")
    assert (rolled.loaded, slot.previous) == (2, None)
    for kind, share in (("canary", 25), ("shadow", 100)):
        arms = rolled(kind=kind, share=share).arms
        assert (arms.current, arms.candidate, arms.declared.kind) == (current, candidate, kind)
        assert arms.share.percent == share
    assert rolled(current=2, kind="").current is candidate
    assert (slot.arms, slot.rollout, slot.previous) == (None, None, current)
    assert rolled(kind="").current is current
    assert rolled.loaded == 2


@pytest.mark.parametrize(("only", "other"), [("v1", "v2"), ("v2", "v1")])
def test_of_two_arms_one_is_served_alone_and_goes_on_where_it_is_declared_no_more(rolled, follower, only, other):
    follower._only = only
    slot = rolled()
    assert (slot.current.version.version, slot.arms, slot.problem, rolled.loaded) == (only, None, None, 1)
    assert rolled(current=int(other[1:]), kind="").current.version.version == only
    assert slot.problem == f"delivered is {other}, and --only is {only}"


def test_of_versions_that_are_not_delivered_none_is_served(rolled, follower):
    follower._only = "v3"
    slot = rolled()
    assert (slot.current, slot.problem) == (None, "delivered is v1 and v2, and --only is v3")


@pytest.mark.parametrize(
    ("candidate", "problem"),
    [
        ({"provenance": ""}, "sums@v2: carries no signed provenance"),
        ({"version": "v3"}, "sums@v3: its provenance is of the version v2, not v3"),
        ({"bundle": "bundles/nowhere"}, "is missing"),
    ],
)
def test_a_candidate_that_is_not_to_be_believed_disturbs_nothing(rolled, follower, candidate, problem):
    current = rolled(kind="").current
    slot = rolled(**candidate)
    assert (slot.current, slot.arms, slot.problem) == (current, None, None)
    assert problem in slot.rollout_problem
    loaded = rolled.loaded
    follower.look()  # as often as what is delivered is tried again
    assert (slot.current, slot.previous) == (current, None)
    assert rolled.loaded - loaded == ("bundle" in candidate)
    assert rolled().rollout_problem is None
    assert slot.arms.candidate.version.version == "v2"


@pytest.mark.parametrize(
    ("contract", "manifest"),
    [
        ({"classes": ["a", "b"]}, {}),
        ({"classes": ["b", "a", "c"]}, {}),
        ({"label": "lost"}, {}),
        ({}, {"task": "binary"}),
    ],
)
def test_a_candidate_whose_scores_mean_something_else_is_none(rolled, contract, manifest):
    arms = rolled().arms

    def changed(model: Model, contract: dict[str, Any], manifest: dict[str, Any]) -> Model:
        new = {
            "contract": msgspec.structs.replace(model.bundle.contract, **contract),
            "manifest": msgspec.structs.replace(model.bundle.manifest, **manifest),
        }
        return replace(model, bundle=replace(model.bundle, **new))

    current, same = (changed(model, {"classes": ["a", "b", "c"]}, {}) for model in (arms.current, arms.candidate))
    replace(arms, current=current, candidate=same)
    words = r"v2: gives .*, and what is served score_a, score_b, score_c of late \(regression\); .* without a rollout"
    with pytest.raises(UserError, match=words):
        replace(arms, current=current, candidate=changed(same, contract, manifest))
