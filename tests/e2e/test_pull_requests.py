"""The workflows as they are, run end to end: what people and the forge see of pull requests, good, bad and hostile."""

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import Checkout
from tests.rig.dispatcher import Environment, Live
from tests.rig.repository import git
from tests.rig.rig import Rig, rigged
from tests.rig.state import Pull
from trunkline.comment import MARKER
from trunkline.core.files import canonical_json
from trunkline.merging import SETTINGS

pytestmark = pytest.mark.e2e

GATES, MODEL = "conf/gates/flights.yaml", "conf/model/gbm.yaml"
# A model of so short a window is not shown to be worth more than the baseline, nor one that is better to be better.
LENIENT = {
    "metric: log_loss, margin: 0.002}": "metric: log_loss, margin: 0.002, advisory: true}",
    "confidence: 0.95": "confidence: 0.9",
}


@pytest.fixture(scope="module")
def rig(small: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A forge with the project, whose outputs are in a remote that asks for credentials; its trunk is protected."""
    with rigged(tmp_path_factory.mktemp("rig")) as made:
        project = small.copy(tmp_path_factory.mktemp("trunk") / "project")
        for old, new in LENIENT.items():
            project.edit(GATES, old, new)
        project.repro()
        remote = made.remote_s3
        project.run("dvc", "remote", "add", "--default", "store", remote.url)
        project.run("dvc", "remote", "modify", "store", "endpointurl", remote.endpoint)
        project.run("dvc", "push", "--run-cache", env=remote.environment)
        project.commit("a remote")
        made.dispatcher.environments["reproduce"] = Environment(secrets=remote.environment)
        made.import_(project.root)
        made.protect("trunkline")
        yield made


def edit(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
        (folder / path).write_text(text.replace(old, new), encoding="utf-8")

    return change


def iterations(number: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / MODEL).read_text(encoding="utf-8")
        (folder / MODEL).write_text(re.sub(r"max_iter: \d+", f"max_iter: {number}", text), encoding="utf-8")

    return change


def ran(rig: Rig, workflow: str, job: str) -> list[str]:
    return re.findall(r"^Running stage '(\w+)':$", rig.job(workflow, job).log, re.MULTILINE)


def comment(rig: Rig, pull: Pull) -> str:
    """Return the text of the one comment that a pull request has."""
    (found,) = rig.comments(pull.number)
    assert str(found.content["body"]).startswith(f"{MARKER}\n## ")
    return str(found.content["body"])


def at(rig: Rig, sha: str, path: str) -> str:
    return git(rig.upstream.path, "show", f"{sha}:{path}")


def outputs(rig: Rig, sha: str) -> set[str]:
    """Return where the remote has the outputs that a commit's dvc.lock names."""
    stages = yaml.safe_load(at(rig, sha, "dvc.lock"))["stages"].values()
    hashes = {
        out["md5"] for stage in stages for out in stage.get("outs", ()) if out["path"].startswith(("data", "models"))
    }
    return {f"dvc/files/md5/{md5[:2]}/{md5[2:]}" for md5 in hashes}


def test_a_parameter_is_rerun_committed_commented_once_and_merged(rig: Rig) -> None:
    assert rig.job("main", "trunk").conclusion == "success"
    trunk = rig.upstream.sha("refs/heads/main")
    # The forge fails after it has made the comment, and before it has set the check.
    rig.forge.fail("POST", r"/issues/\d+/comments$", 1, 500, after_effect=True)
    rig.forge.fail("POST", r"/statuses/", 1, 429, {"Retry-After": "1"})
    written = rig.push("work", iterations(190))
    pull = rig.open_pull_request("work")

    touched = ["compose", "train", "evaluate", "bundle", "rivals", "gate", "track"]
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
    assert "| `model.max_iter` | `200` | `190` | train, bundle, rivals |" in first
    assert made[:10] in first

    # A page of the docs, on top of it: nothing runs, and the same comment is brought up to date.
    (before,) = rig.comments(pull.number)
    shown = rig.push("work", {"docs/note.md": "A note.\n"}, onto="work")
    assert ran(rig, "pull-request", "trunkline") == ran(rig, "reproduce", "reproduce") == []
    assert (pull.head_sha, rig.checks(shown)["trunkline"]) == (shown, "success")
    assert comment(rig, pull).replace(shown[:10], made[:10]) != first
    assert shown[:10] in comment(rig, pull)
    assert [after.id for after in rig.comments(pull.number)] == [before.id]

    assert rig.merge(pull.number) == ""
    assert (rig.job("main", "trunk").conclusion, ran(rig, "main", "trunk")) == ("success", [])
    merged = rig.upstream.sha("refs/heads/main")
    assert merged not in (trunk, shown)
    assert at(rig, str(merged), "dvc.lock") == at(rig, made, "dvc.lock")


@pytest.fixture(scope="module")
def bad(rig: Rig) -> Pull:
    """A pull request of a fork, whose model is bad."""
    rig.push("bad", iterations(2), repository=rig.fork())
    return rig.open_pull_request("bad", fork=True)


def test_a_bad_model_of_a_fork_is_told_and_not_merged(rig: Rig, bad: Pull) -> None:
    job = rig.job("pull-request", "trunkline")
    assert rig.checks(bad.head_sha)["trunkline"] == job.conclusion == "failure"
    assert "## ❌ Do not merge: blocked by " in comment(rig, bad)
    assert "trunkline" in rig.merge(bad.number)
    assert rig.job("reproduce", "reproduce").conclusion == "skipped"
    assert "the remote cannot be read" in job.log
    assert ran(rig, "pull-request", "trunkline")[:2] == ["compose", "train"]  # the rest was in the trunk's cache
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
        assert "no review that can be read" in comment(rig, bad), what
    artifact.content["zip"] = forged(name=shell)
    assert posted(rig).jobs["comment"].conclusion == "success"
    assert "touch owned" in comment(rig, bad)
    assert "@octocat" not in re.sub(r"`[^`]*`", "", comment(rig, bad))
    assert not list(rig.folder.rglob("owned"))
    artifact.content["zip"] = archive({"review.json": genuine})
    posted(rig)
    assert comment(rig, bad) == told
    assert {number: rig.comments(number) for number in others} == others


def test_a_maintainers_label_runs_a_fork_with_the_rights_of_the_trunk(rig: Rig) -> None:
    fork = rig.fork()
    written = rig.push("kind", edit(GATES, "confidence: 0.9\n", "confidence: 0.91\n"), repository=fork)
    pull = rig.open_pull_request("kind", fork=True)
    assert "## ⚠️ Not committed: all gates pass, but `dvc.lock` " in comment(rig, pull)
    assert rig.checks(written)["trunkline"] == "failure"

    rig.label(pull.number, "reproduce")
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


def test_two_that_are_green_apart_and_red_together_do_not_both_get_in(rig: Rig) -> None:
    small = "small: {kind: operational, measure: megabytes, maximum: "
    rig.push("stricter", edit(GATES, f"{small}50}}", f"{small}0.75}}"), wait=False)
    rig.push("wider", iterations(230), wait=False)
    stricter, wider = (rig.open_pull_request(name, wait=False) for name in ("stricter", "wider"))
    rig.settle()
    assert rig.checks(stricter.head_sha) == rig.checks(wider.head_sha) == {"trunkline": "success"}

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


def test_a_remote_that_is_down_is_told_and_a_retry_converges(rig: Rig) -> None:
    rig.remote_s3.close()
    written = rig.push("down", edit(GATES, "confidence: 0.9\n", "confidence: 0.89\n"), wait=False)
    pull = rig.open_pull_request("down")
    live = rig.runs("reproduce")[-1]
    assert live.jobs["reproduce"].conclusion == "failure"
    assert pull.head_sha == written  # no commit whose outputs nobody can get
    rig.remote_s3.start()
    rig.rerun(live, wait=False)
    rig.wait_for_output("Running stage 'compose'")
    rig.cancel(rig.runs("reproduce")[-1])
    assert pull.head_sha == written
    rig.rerun(live)
    assert rig.checks(pull.head_sha) == {"trunkline": "success"}
    assert outputs(rig, pull.head_sha) <= rig.remote_s3.objects()
    assert pull.head_sha[:10] in comment(rig, pull)
