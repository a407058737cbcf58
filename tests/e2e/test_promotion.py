"""From a merge to production and back: the workflows as they are, and a reconciler that only reads."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Checkout
from tests.e2e.loop import COLLEAGUE, OPENER, World, world
from tests.e2e.pulls import iterations
from tests.releases import NAME, PRIVATE
from tests.rig.repository import git

pytestmark = [pytest.mark.e2e, pytest.mark.workflows]
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def made(small: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(small, tmp_path_factory.mktemp("loop")) as found:
        yield found


def test_from_a_merge_to_production_and_back(made: World, record_property: Record) -> None:
    first = released_and_followed(made)
    promoted(made, "v1", first)
    second = merged(made)
    assert second != first
    made.rig.settle()
    promoted(made, "v2", second)
    old, new = (made.golden(digest) for digest in (first, second))
    assert (old["request"], abs(made.score(old["request"]) - new["score"]) < 1e-9) == (new["request"], True)
    assert abs(old["score"] - new["score"]) > 1e-6

    merge = rolled_back(made, first)
    assert abs(made.score(old["request"]) - old["score"]) < 1e-9
    reverted(made, merge, second)
    assert abs(made.score(old["request"]) - new["score"]) < 1e-9
    agreed(made, first, second)
    for step, seconds in made.times:
        record_property(step, seconds)


def released_and_followed(made: World) -> str:
    """The first push is released, signed, and staging runs it; production is declared to run nothing."""
    assert made.rig.job("main", "release").conclusion == "success", made.rig.job("main", "release").log
    message, digest = made.tag("v1")
    assert "pull request: " not in message
    made.follow("first release → staging answers", "staging", digest)
    return digest


def promoted(made: World, label: str, digest: str) -> None:
    """A person starts `promote`; its pull request has the evidence and waits for the owner of the registry file."""
    pull = made.dispatch(f"promote {label} → pull request", action="promote", environment="production", version=label)
    assert (pull.user, pull.title) == (OPENER, f"Promote {NAME} {label} to production")
    assert all(text in pull.body for text in (f"production: {label}", digest, "`release`", "Verdict: pass"))
    assert made.rig.checks(pull.head_sha)["trunkline"] == "success"
    (comment,) = made.rig.comments(pull.number)
    assert f"## ✅ Promotes `{label}` to `production`" in str(comment.content["body"])
    assert "approving review" in made.rig.merge(pull.number)
    made.rig.review(pull.number, COLLEAGUE)
    assert "code owner" in made.rig.merge(pull.number)
    made.merge(pull)
    made.follow(f"merge of {label} → production answers", "production", digest)
    made.rig.settle()
    assert [made.rig.job("main", job).conclusion for job in ("trunk", "release")] == ["success", "success"]
    assert f"{NAME}@{label} is this bundle already" in made.rig.job("main", "release").log


def merged(made: World) -> str:
    """Another model is merged, released as v2 with who approved it, and staging runs it."""
    made.rig.push("work", iterations(190), wait=False)
    pull = made.pull("", lambda: made.rig.open_pull_request("work", wait=False), wait=False)
    with made.timed("another model → its checks"):
        made.rig.settle()
    made.merge(pull)
    with made.timed("merge → v2 released"):
        made.rig.settle()
    message, digest = made.tag("v2")
    assert f"pull request: #{pull.number} by maintainer, approved by owner\n" in message
    made.follow("v2 → staging answers", "staging", digest)
    return digest


def rolled_back(made: World, digest: str) -> str:
    """A person starts `rollback`, which names the version itself; production answers as before. Returns the merge."""
    pull = made.dispatch("rollback → pull request", action="rollback", environment="production", version="")
    assert pull.title == f"Roll production back to {NAME} v1"
    assert "golden rows" in pull.body
    made.merge(pull)
    made.follow("merge of the rollback → production answers", "production", digest)
    made.rig.settle()
    assert made.rig.job("main", "release").conclusion == "success"
    return str(made.rig.upstream.sha("refs/heads/main"))


def reverted(made: World, merge: str, digest: str) -> None:
    """The rollback is taken back by what git has for it."""

    def revert(folder: Path) -> None:
        git(folder, "revert", "--no-commit", "--mainline", "1", merge)

    made.rig.push("revert", revert, wait=False)
    pull = made.pull("git revert → pull request", lambda: made.rig.open_pull_request("revert", wait=False))
    assert made.rig.checks(pull.head_sha)["trunkline"] == "success"
    made.merge(pull)
    made.follow("merge of the revert → production answers", "production", digest)
    made.rig.settle()


def agreed(made: World, first: str, second: str) -> None:
    """What is declared, tagged and served is one thing, also for somebody who comes with a clone of his own."""
    clone = made.clone("else")
    code, told = made.run(made.folder / "reconcile.git", "trunkline", "status", "--json")
    found = json.loads(told)
    assert (code, {each["state"] for each in found.values()}) == (0, {"in-sync"}), told
    assert {name: (each["declared"], each["version"]) for name, each in found.items()} == {
        "staging": ("latest", "v2"), "production": ("v2", "v2"),
    }  # fmt: skip
    assert made.run(clone, "dvc", "fetch", "--all-tags", "models/bundle")[0] == 0
    assert made.alias("champion")["trunkline.digest"] == second
    for label, digest in (("v1", first), ("v2", second)):
        code, told = made.run(clone, "trunkline", "verify", label, "--json")
        assert (code, json.loads(told)["digest"]) == (0, digest), told
    leaked = [path for path in made.folder.rglob("*.log") if PRIVATE.splitlines()[1] in path.read_text()]
    assert leaked == []
    assert not re.search(
        PRIVATE.splitlines()[1], "".join(job.log for live in made.rig.runs() for job in live.jobs.values())
    )
