"""The workflows as they are, run end to end: a remote that fails, forks that are trusted, branches that do not fit."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Checkout
from tests.e2e.pulls import GATES, comment, edit, hosted, iterations, outputs
from tests.rig.repository import git
from tests.rig.rig import Rig
from trunkline.pipeline.merge import SETTINGS

pytestmark = [pytest.mark.e2e, pytest.mark.workflows]

SMALL = "small: {kind: operational, measure: megabytes, maximum: "


@pytest.fixture(scope="module")
def rig(small: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with hosted(small, tmp_path_factory.mktemp("hosted")) as made:
        yield made


def test_a_retry_converges_and_of_two_that_do_not_fit_together_one_gets_in(rig: Rig, small: Checkout) -> None:
    rig.remote_s3.close()
    limit = json.loads(small.read("reports/bundle.json"))["bytes"] / 1e6 + 0.0025  # that ten more trees go beyond
    written = rig.push("stricter", edit(GATES, f"{SMALL}50}}", f"{SMALL}{limit:.4f}}}"))
    stricter = rig.open_pull_request("stricter")
    live = rig.runs("reproduce")[-1]
    assert live.jobs["reproduce"].conclusion == "failure"
    assert stricter.head_sha == written  # no commit whose outputs nobody can get
    rig.remote_s3.start()
    rig.rerun(live, wait=False)
    rig.wait_for_output("Running stage 'compose'")
    rig.cancel(rig.runs("reproduce")[-1])
    assert stricter.head_sha == written
    rig.rerun(live)
    assert rig.checks(stricter.head_sha) == {"trunkline": "success"}
    assert outputs(rig, stricter.head_sha) <= rig.remote_s3.objects()
    assert stricter.head_sha[:10] in comment(rig, stricter)

    # What an app pushes starts the runs that a person's push does, and they make the check.
    key = rig.state.grant("reproducer[bot]", {"contents": "write"})
    rig.dispatcher.variables["REPRODUCE_APP"] = "Iv1.reproducer"
    rig.dispatcher.environments["reproduce"].secrets["REPRODUCE_APP_KEY"] = key
    rig.push("wider", iterations(60))
    wider = rig.open_pull_request("wider")
    assert rig.checks(stricter.head_sha) == {"trunkline": "success"}
    jobs = ("trunkline", "kind", "reproduce", "record")
    assert rig.checks(wider.head_sha) == dict.fromkeys(jobs, "success") | {"preview": "skipped"}
    started = [live.run.actor for live in rig.runs("pull-request") if live.run.head_sha == wider.head_sha]
    assert started == ["reproducer[bot]"]
    assert rig.state.of("status", wider.head_sha) == []
    assert wider.head_sha[:10] in comment(rig, wider)
    del rig.dispatcher.variables["REPRODUCE_APP"]

    # Both have other results, which the forge cannot merge: the queue takes one of them, judged as it will be.
    assert rig.merge_queue([stricter.number, wider.number]) == [stricter.number]
    (group,) = (live for live in rig.runs("pull-request") if live.occasion.event.name == "merge_group")
    assert group.jobs["trunkline"].conclusion == "success"
    assert "conflicts" in rig.merge(wider.number)

    def merge(folder: Path) -> None:
        """What the author does on a laptop, with the driver."""
        for key, value in SETTINGS.items():
            git(folder, "config", key, value)
        git(folder, "fetch", "--quiet", str(rig.upstream.path), "main")
        git(folder, "merge", "--quiet", "--no-edit", "FETCH_HEAD")

    rig.push("wider", merge, onto="wider")
    assert set(rig.checks(wider.head_sha).values()) == {"failure"}
    assert "## ❌ Do not merge: blocked by `small`" in comment(rig, wider)
    assert "trunkline" in rig.merge(wider.number)


def test_a_commit_of_a_fork_that_a_maintainer_names_is_run_with_the_rights_of_the_trunk(rig: Rig) -> None:
    fork = rig.fork()
    written = rig.push("kind", edit(GATES, "confidence: 0.9\n", "confidence: 0.91\n"), repository=fork)
    pull = rig.open_pull_request("kind", fork=True)
    assert "## ⚠️ Not committed: all gates pass, but `dvc.lock` " in comment(rig, pull)
    assert rig.checks(written)["trunkline"] == "failure"

    rig.dispatch("reproduce-commit", {"number": str(pull.number), "commit": "kind"})
    assert rig.upstream.sha(f"refs/heads/reproduced/{pull.number}/kind") is None, "a name says nothing of what was read"
    rig.dispatch("reproduce-commit", {"number": str(pull.number), "commit": written})
    branch = f"reproduced/{pull.number}/{written}"
    made = rig.upstream.sha(f"refs/heads/{branch}")
    assert made is not None
    assert outputs(rig, made) <= rig.remote_s3.objects()
    assert (pull.head_sha, rig.checks(written)["reproduced"]) == (written, "success")

    def take(folder: Path) -> None:
        """What the contributor does then."""
        git(folder, "fetch", "--quiet", str(rig.upstream.path), branch)
        git(folder, "merge", "--quiet", "--ff-only", "FETCH_HEAD")

    taken = rig.push("kind", take, repository=fork)
    assert rig.checks(taken)["trunkline"] == "success"
    assert "## ✅ May be merged: " in comment(rig, pull)
