"""The workflows as they are, run end to end: a good pull request, a bad one of a fork, and what hostile runs leave."""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Checkout
from tests.e2e.pulls import MODEL, at, comment, hosted, iterations, outputs, ran
from tests.rig.dispatcher import Live
from tests.rig.repository import git
from tests.rig.rig import Rig
from tests.rig.state import Pull
from trunkline.core.files import canonical_json

pytestmark = [pytest.mark.e2e, pytest.mark.workflows]


@pytest.fixture(scope="module")
def rig(small: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with hosted(small, tmp_path_factory.mktemp("hosted")) as made:
        yield made


def test_a_parameter_is_rerun_committed_commented_once_and_merged(rig: Rig) -> None:
    assert rig.job("main", "trunk").conclusion == "success"
    trunk = rig.upstream.sha("refs/heads/main")
    # The forge fails after it has made the comment, and before it has set the check.
    rig.forge.fail("POST", r"/issues/\d+/comments$", 1, 500, after_effect=True)
    rig.forge.fail("POST", r"/statuses/", 1, 429, {"Retry-After": "1"})
    written = rig.push("work", iterations(38))
    pull = rig.open_pull_request("work")

    touched = ["compose", "search", "train", "evaluate", "bundle", "rivals", "gate", "track"]
    assert ran(rig, "pull-request", "trunkline") == ran(rig, "reproduce", "reproduce") == touched
    assert rig.checks(written)["trunkline"] == "failure"  # it does not hold its results
    assert "not committed: dvc.lock" in rig.job("pull-request", "trunkline").log
    made = pull.head_sha
    assert git(rig.upstream.path, "log", "-1", "--format=%P %s", made).strip() == f"{written} Results of {written[:10]}"
    changed = git(rig.upstream.path, "diff", "--name-only", written, made).split()
    assert {"dvc.lock", "params.yaml"} < set(changed)
    assert all(name in {"dvc.lock", "params.yaml"} or name.startswith("reports/") for name in changed)
    assert outputs(rig, made) <= rig.remote_s3.objects()
    assert rig.checks(made) == {"trunkline": "success"}
    first = comment(rig, pull)
    assert "## ✅ May be merged: all gates pass, `roc_auc` " in first
    assert "| `model.max_iter` | `40` | `38` | search, train, evaluate, bundle, rivals |" in first
    assert made[:10] in first

    # A page of the docs, on top of it: what the trunk has not computed runs again, gives the same bytes, and so no new
    # commit; the same comment is brought up to date.
    (before,) = rig.comments(pull.number)
    shown = rig.push("work", {"docs/note.md": "A note.\n"}, onto="work")
    assert ran(rig, "pull-request", "trunkline") == ran(rig, "reproduce", "reproduce") == touched[:-1]
    assert (pull.head_sha, rig.checks(shown)["trunkline"]) == (shown, "success")
    assert comment(rig, pull).replace(shown[:10], made[:10]) != first
    assert shown[:10] in comment(rig, pull)
    assert [after.id for after in rig.comments(pull.number)] == [before.id]

    assert rig.merge(pull.number) == ""
    assert rig.job("main", "trunk").conclusion == "success"
    assert {"ingest", *touched[:-1]} <= {*ran(rig, "main", "trunk")}, (
        "nothing is released whose results it could believe"
    )
    merged = rig.upstream.sha("refs/heads/main")
    assert merged not in (trunk, shown)
    assert at(rig, str(merged), "dvc.lock") == at(rig, made, "dvc.lock")


def claimed(folder: Path) -> None:
    """Set two trees, and claim that they give what the model of the trunk gives: every hash is in order."""
    before = re.search(r"max_iter: \d+", (folder / MODEL).read_text(encoding="utf-8"))
    assert before is not None
    for name in (MODEL, "params.yaml", "dvc.lock"):
        text = (folder / name).read_text(encoding="utf-8")
        assert before[0] in text, name
        (folder / name).write_text(text.replace(before[0], "max_iter: 2"), encoding="utf-8")


@pytest.fixture(scope="module")
def bad(rig: Rig) -> Pull:
    """A pull request of a fork, whose model is bad, with the trunk's results for its own."""
    rig.push("bad", claimed, repository=rig.fork())
    return rig.open_pull_request("bad", fork=True)


def test_a_bad_model_of_a_fork_that_claims_good_results_is_told_and_not_merged(rig: Rig, bad: Pull) -> None:
    job = rig.job("pull-request", "trunkline")
    assert rig.checks(bad.head_sha)["trunkline"] == job.conclusion == "failure"
    told = comment(rig, bad)
    assert "## ❌ Do not merge: " in told
    assert all(
        text in told for text in ("is not what its inputs give", "Claims that do not hold", "models/model.skops")
    )
    assert "computed again, since nobody trusted has: " in job.log
    assert "trunkline" in rig.merge(bad.number)
    assert rig.job("reproduce", "reproduce").conclusion == "skipped"
    assert "the remote cannot be read" in job.log
    assert ran(rig, "pull-request", "trunkline")[:3] == [
        "compose",
        "search",
        "train",
    ]  # the others were cached
    for live in rig.runs():
        for every in live.jobs.values():
            assert rig.remote_s3.secret not in every.log + every.summary


def archive(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return made.getvalue()


def posted(rig: Rig) -> Live:
    """Run the newest run of `comment` again, and return it."""
    rig.rerun(rig.runs("comment")[-1])
    return rig.runs("comment")[-1]


def test_what_a_hostile_run_leaves_changes_nothing(rig: Rig, bad: Pull) -> None:
    told = comment(rig, bad)
    others = {number: rig.comments(number) for number in rig.state.pulls if number != bad.number}
    run = rig.runs("pull-request")[-1].run.id
    (artifact,) = (each for each in rig.state.records["artifact"] if each.at == run)
    genuine = zipfile.ZipFile(io.BytesIO(artifact.content["zip"])).read("review.json")
    shell = "$(touch owned) `touch owned`; ${{ github.token }} | @octocat <!-- -->"

    def forged(**values: str) -> bytes:
        return archive({"review.json": canonical_json(json.loads(genuine) | values, digits=None).encode()})

    refused = {
        "no archive": b"PK nothing",
        "a path that leaves": archive({"../../review.json": genuine}),
        "too large": archive({"review.json": genuine + b" " * 100_000_000}),
        "another commit": forged(head="0" * 40),
        "another number": forged(number="1"),
    }
    for what, content in refused.items():
        artifact.content["zip"] = content
        assert posted(rig).jobs["comment"].conclusion == "failure", what
        assert comment(rig, bad) == told, f"{what}: the commit has a review already"
    artifact.content["zip"] = forged(name=shell)
    assert posted(rig).jobs["comment"].conclusion == "success"
    assert "touch owned" in comment(rig, bad)
    assert "@octocat" not in re.sub(r"`[^`]*`", "", comment(rig, bad))
    assert not list(rig.folder.rglob("owned"))
    artifact.content["zip"] = archive({"review.json": genuine})
    posted(rig)
    assert comment(rig, bad) == told
    assert {number: rig.comments(number) for number in others} == others
