"""What a run takes from a remote and hands on, with real git repositories, a real DVC and a folder as its remote."""

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from tests.pipelines import IN_GIT, REMADE, Clone, create, objects
from tests.rig.repository import attempt, git
from trunkline.adapters.dvc import reproduce as dvc_reproduce
from trunkline.core.errors import OutsideError, TrunklineError, UserError

# pygtrie, which DVC uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create(tmp_path_factory.mktemp("home"))


@pytest.fixture
def author(home: Path, tmp_path: Path) -> Clone:
    shutil.copytree(home, tmp_path / "home", symlinks=True)
    return Clone(tmp_path / "home/author").linked()


@pytest.fixture
def fresh(author: Clone) -> Clone:
    return author.another("fresh")


def test_a_fresh_clone_brings_what_the_gate_reads_and_nothing_else(author: Clone, fresh: Clone) -> None:
    assert fresh.reproduce() == ([], [])
    assert fresh.objects() == fresh.of("rows", "score")
    assert fresh.git("status", "--porcelain") == ""
    with Repo(str(fresh.root)) as repo:
        status = repo.status()
    assert {name: entry for name, entry in status.items() if "modified" in str(entry)} == {}, "whole folders only"


def test_only_what_changed_runs_with_what_it_reads(author: Clone, fresh: Clone) -> None:
    before = fresh.of("rows", "score")
    fresh.rate(log=8)
    assert fresh.reproduce() == (["log"], [])
    assert fresh.objects() == before | fresh.of("raw", "log")


def test_a_result_that_is_the_same_ends_the_run_and_leaves_whole_folders(author: Clone, fresh: Clone) -> None:
    """What DVC would do by itself: bring the part that `train` reads, and take the folder for another one."""
    before = fresh.of("rows", "score", "train")
    fresh.rate(train=5)
    assert fresh.reproduce() == (["train"], [])
    assert fresh.objects() == before
    assert (fresh.root / "data/rows/two").exists()
    assert fresh.reproduce() == ([], []), "DVC would take a part of a folder for a change"


def test_what_a_merge_has_put_together_is_run(author: Clone) -> None:
    """An entry of dvc.lock that has read another folder than the one that its maker's entry names."""
    author.rate(rows=6)
    author.reproduce()
    author.commit()
    author.push()
    mixed = yaml.safe_load((author.root / "dvc.lock").read_text())
    mixed["stages"]["train"] = yaml.safe_load(author.git("show", "HEAD~1:dvc.lock"))["stages"]["train"]
    (author.root / "dvc.lock").write_text(yaml.safe_dump(mixed, sort_keys=False))
    author.commit("merged")
    fresh = author.another("fresh")
    shutil.rmtree(author.remote / "runs")
    ran, told = fresh.reproduce()
    assert (ran[0], told) == ("train", [])


def test_everything_is_brought_where_it_is_asked_for(author: Clone, fresh: Clone) -> None:
    assert fresh.reproduce(everything=True) == ([], [])
    assert fresh.objects() == objects(author.remote)


def gone(author: Clone) -> None:
    shutil.rmtree(author.remote)


def refused(author: Clone) -> None:
    """A file where the folder was; the suite may run as root, whom no permission stops."""
    shutil.rmtree(author.remote)
    author.remote.write_text("")


def empty(author: Clone) -> None:
    shutil.rmtree(author.remote / "files")


def forgotten(author: Clone) -> None:
    """An output that nobody has pushed."""
    (name,) = [name for name in author.of("score") if name.endswith(".dir")]
    (author.remote / "files/md5" / name[:2] / name[2:]).unlink()


@pytest.mark.parametrize("damage", [gone, refused, empty])
def test_without_what_the_remote_had_all_is_made_again(author: Clone, fresh: Clone, damage: Any) -> None:
    damage(author)
    ran, told = fresh.reproduce(base=author.tip())
    assert sorted(ran) == REMADE
    assert [line for line in told if "made again" in line] == told[-1:]
    assert all("\n" not in line for line in told)
    assert fresh.git("status", "--porcelain") == ""


def test_only_what_nobody_pushed_is_made_again(author: Clone, fresh: Clone) -> None:
    forgotten(author)
    shutil.rmtree(author.remote / "runs")
    ran, told = fresh.reproduce()
    assert ("score" in ran, "does not have all results, so that what is not here is made again" in told[0]) == (
        True,
        True,
    )
    assert fresh.git("status", "--porcelain") == ""
    assert fresh.push().branch == "same"
    assert fresh.another("next").reproduce() == ([], []), "the push has mended the remote"


def test_without_a_remote_nothing_is_told(author: Clone) -> None:
    config = author.root / ".dvc/config"
    config.write_text("[core]\n    analytics = false\n")
    author.commit()
    ran, told = author.another("fresh").reproduce(base=author.tip())
    assert (sorted(ran), told) == (REMADE, [])
    gone(author)
    (author.root / "model.bin").unlink()
    assert author.reproduce() == ([], []), "the cache of an earlier run is as good"


def test_what_another_clone_ran_is_taken_from_the_run_cache(author: Clone, fresh: Clone) -> None:
    other = author.another("other")
    for clone in (other, fresh):
        clone.rate(log=8)
    assert other.reproduce()[0] == ["log"]
    other.push("nowhere")
    assert fresh.reproduce() == ([], [])
    assert (fresh.root / "dvc.lock").read_text() == (other.root / "dvc.lock").read_text()


def test_the_scores_of_the_base_are_brought_into_the_cache(author: Clone) -> None:
    base = author.tip()
    old = author.of("score")
    author.rate(score=8)
    author.reproduce()
    unpushed = author.commit("scores of which the outputs are here only")
    author.rate(score=12)
    author.reproduce()
    author.commit()
    author.push()
    fresh = author.another("fresh")
    assert fresh.reproduce(base) == ([], [])
    assert fresh.objects() == fresh.of("rows", "score") | old
    ran, told = fresh.reproduce(unpushed)
    assert ran == []
    assert told == [f"the scores of {unpushed[:10]} could not be fetched: nobody has pushed them"]


@pytest.mark.parametrize(("status", "kind"), [(2, UserError), (1, OutsideError), (3, OutsideError), (22, OutsideError)])
@pytest.mark.parametrize("damage", [None, gone])
def test_a_stage_that_fails_is_named_and_decides_the_exit_code(
    author: Clone, fresh: Clone, status: int, kind: type[TrunklineError], damage: Any
) -> None:
    if damage:
        damage(author)
    fresh.rate(train=900 + status)
    with pytest.raises(TrunklineError) as caught:
        fresh.reproduce()
    assert type(caught.value) is kind
    assert "'train'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_outside_a_project_one_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not the root of a project"):
        dvc_reproduce.uncommitted(tmp_path)


def changed(clone: Clone) -> str:
    """A change that somebody has pushed without running it, then run; and two files that are none of its business."""
    clone.rate(score=8)
    commit = clone.commit("change")
    assert clone.reproduce()[0] == ["score", "metrics", "gate"]
    (clone.root / "notes.txt").write_text("other notes\n")
    clone.git("add", "notes.txt")
    (clone.root / "new.txt").write_text("new\n")
    return commit


RESULTS = ("dvc.lock", *IN_GIT)


def test_the_commit_holds_the_results_and_nothing_else(author: Clone, fresh: Clone) -> None:
    before = changed(fresh)
    assert dvc_reproduce.uncommitted(fresh.root) == tuple(sorted(RESULTS))
    pushed = fresh.push()
    assert pushed == dvc_reproduce.Pushed(tuple(sorted(RESULTS)), fresh.tip(), "pushed")
    assert fresh.git("rev-parse", "HEAD~1") == before
    assert fresh.git("diff", "--name-only", "HEAD~1", "HEAD").split() == sorted(RESULTS)
    assert fresh.git("status", "--porcelain").splitlines() == ["M  notes.txt", "?? new.txt"]
    assert objects(fresh.remote) >= fresh.objects()
    assert fresh.push() == dvc_reproduce.Pushed((), fresh.tip(), "same"), "a second push makes no commit"
    assert fresh.another("next").reproduce() == ([], [])


@pytest.mark.parametrize("who", ["Ada", None])
def test_the_committer_is_the_user_of_the_repository_or_trunkline(
    fresh: Clone, who: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_") or name == "EMAIL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    changed(fresh)
    if who:
        fresh.git("config", "user.name", who)
        fresh.git("config", "user.email", "ada@example.org")
    fresh.push()
    expected = "Ada ada@example.org" if who else "trunkline trunkline@localhost"
    assert fresh.git("show", "--no-patch", "--format=%an %ae%n%cn %ce").splitlines() == [expected] * 2


def test_outputs_reach_the_remote_before_the_commit_exists(fresh: Clone) -> None:
    before = changed(fresh)
    shutil.rmtree(fresh.remote)
    fresh.remote.write_text("")
    with pytest.raises(OutsideError, match=r"the results cannot be pushed to the remote: \S"):
        fresh.push()
    assert (fresh.git("rev-parse", "HEAD"), fresh.tip()) == (before, before)


def test_what_was_stopped_between_the_commit_and_its_push_is_pushed(fresh: Clone) -> None:
    changed(fresh)
    git(fresh.root, "remote", "set-url", "origin", "../nowhere.git")
    with pytest.raises(OutsideError, match=r"git push origin main failed: .*nowhere\.git"):
        fresh.push()
    committed = fresh.git("rev-parse", "HEAD")
    git(fresh.root, "remote", "set-url", "origin", str(fresh.origin))
    assert fresh.push() == dvc_reproduce.Pushed((), committed, "pushed")
    assert fresh.tip() == committed


def test_a_branch_that_has_moved_on_is_left_alone(author: Clone, fresh: Clone) -> None:
    changed(fresh)
    (author.root / "notes.txt").write_text("newer\n")
    author.git("pull", "--quiet", "--rebase", "--autostash")
    newer = author.commit("newer")
    assert fresh.push().branch == "moved"
    assert fresh.tip() == newer
    author.git("push", "--quiet", "origin", "HEAD:refs/heads/merged")
    author.git("push", "--quiet", "origin", ":refs/heads/merged")
    assert fresh.push("merged").branch == "moved"
    assert git(fresh.origin, "branch", "--list", "merged") == "", "a branch that was deleted stays so"


@pytest.mark.parametrize("text", ["protected by a rule", "! HEAD:refs/heads/main [rejected]"])
def test_a_branch_that_is_protected_is_an_error_of_one_line(fresh: Clone, text: str) -> None:
    before = changed(fresh)
    hook = fresh.origin / "hooks/update"
    hook.write_text(f"#!/bin/sh\necho '{text}' >&2\nexit 1\n")
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(OutsideError, match=r"git push origin main failed: .*hook declined") as caught:
        fresh.push()
    assert "\n" not in str(caught.value)
    assert fresh.tip() == before


@pytest.mark.parametrize("name", ["", "main:other", "a b", "a..b", "x\ny"])
def test_what_no_branch_can_be_named_is_refused(fresh: Clone, name: str) -> None:
    with pytest.raises(UserError, match="--push: no branch can be named"):
        fresh.push(name)
    assert attempt(fresh.origin, "for-each-ref", "--format=%(refname)").stdout == "refs/heads/main\n"


@pytest.mark.parametrize(
    "arguments", [["push"], ["check", "--all"], ["run", "--dry-run"], ["run", "main"]], ids=" ".join
)
def test_each_form_of_the_verb_takes_its_own_arguments_only(fresh: Clone, arguments: list[str]) -> None:
    assert fresh.verb(*arguments)[:2] == (2, "")
    assert fresh.objects() == set()


def test_a_base_that_is_not_here_is_told_before_anything_is_done(fresh: Clone) -> None:
    with pytest.raises(UserError, match="--base: there is no 'nowhere' here"):
        fresh.verb("run", "--base", "nowhere")
    assert fresh.objects() == set()


def test_the_verb_runs_checks_foretells_and_pushes(fresh: Clone) -> None:
    assert fresh.verb("check") == (0, "every result is committed\n", "")
    fresh.rate(score=8)
    before = fresh.commit()
    code, _, told = fresh.verb("run", "--base", "main")
    assert (code, "remote" in told) == (0, False)
    assert (fresh.root / "ran.log").read_text().split() == ["score", "metrics", "gate"]
    listed = "".join(f"not committed: {name}\n" for name in sorted(RESULTS))
    assert fresh.verb("check") == (1, listed, "run: dvc repro, and commit these files; then: dvc push\n")
    assert fresh.verb("push", "main", "--dry-run") == (0, listed, "")
    assert fresh.tip() == before
    output = fresh.root.parent / "output"
    code, told, _ = fresh.verb("push", "main", GITHUB_OUTPUT=str(output))
    assert (code, told.splitlines()[-1]) == (0, f"main: {fresh.tip()[:10]}, {', '.join(sorted(RESULTS))}")
    assert output.read_text() == f"commit={fresh.tip()}\n"
    code, told, _ = fresh.verb("push", "main", GITHUB_OUTPUT=str(output))
    assert (code, told.splitlines()[-1]) == (0, "main: every result is committed and pushed")
    assert output.read_text() == f"commit={fresh.tip()}\n", "so that what follows a commit is not done twice"


def test_the_verb_says_that_a_branch_has_moved_on_and_names_no_commit(author: Clone, fresh: Clone) -> None:
    changed(fresh)
    author.git("pull", "--quiet")
    (author.root / "notes.txt").write_text("newer\n")
    newer = author.commit("newer")
    output = fresh.root.parent / "output"
    code, told, _ = fresh.verb("push", "main", GITHUB_OUTPUT=str(output))
    assert (code, told.splitlines()[-1].partition(":")[0]) == (0, "main has moved on, or is gone")
    assert (output.exists(), fresh.tip()) == (False, newer)
