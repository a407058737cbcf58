"""What git says of a folder, asked of the real git."""

import subprocess
from pathlib import Path

import pytest

from trunkline import git
from trunkline.core.errors import UserError


@pytest.fixture
def repository(tmp_path):
    for name in ("conf", "reports"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("1")
    run(tmp_path, "init", "--quiet")
    return tmp_path


def run(folder, *arguments):
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder):
    run(folder, "add", "--all")
    run(folder, "commit", "--quiet", "--message", "one")
    return run(folder, "rev-parse", "HEAD")


def test_the_commit_is_known_once_there_is_one(repository):
    assert git.head(repository) is None
    assert git.head(repository / "conf") is None
    assert commit(repository) == git.head(repository) == git.head(repository / "conf")


def test_only_what_decides_a_result_makes_a_folder_dirty(repository):
    commit(repository)
    (repository / "reports/file").write_text("2")
    assert not git.is_dirty(repository)
    (repository / "conf/file").write_text("2")
    assert git.is_dirty(repository)
    commit(repository)
    assert not git.is_dirty(repository)
    (repository / "conf/new").write_text("1")
    assert git.is_dirty(repository)


def test_without_a_repository_or_git_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git.head(tmp_path) is None
    assert not git.is_dirty(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git.head(tmp_path) is None


def make(folder, *names):
    """A repository with one commit per file, on main."""
    folder.mkdir()
    run(folder, "init", "--quiet", "--initial-branch=main")
    for name in names:
        write(folder, name)
    return folder


def write(folder, name):
    (folder / name).write_text(name)
    commit(folder)


def test_the_base_is_where_the_branch_left(tmp_path):
    repo = make(tmp_path / "repo", "a", "b")
    left = run(repo, "rev-parse", "HEAD")
    run(repo, "checkout", "--quiet", "-b", "work")
    write(repo, "c")
    run(repo, "checkout", "--quiet", "main")
    write(repo, "d")
    run(repo, "checkout", "--quiet", "work")
    assert git.merge_base(repo, "main") == left
    clone = tmp_path / "clone"
    run(tmp_path, "clone", "--quiet", "--branch", "work", str(repo), str(clone))
    assert git.merge_base(clone, "main") == left, "only origin/main is there"


def test_a_base_that_is_not_here_says_what_to_fetch(tmp_path):
    repo = make(tmp_path / "repo", "a")
    run(repo, "checkout", "--quiet", "-b", "work")
    write(repo, "b")
    run(repo, "checkout", "--quiet", "main")
    write(repo, "c")
    single, shallow = tmp_path / "single", tmp_path / "shallow"
    run(tmp_path, "clone", "--quiet", "--single-branch", "--branch", "work", str(repo), str(single))
    with pytest.raises(UserError, match="run: git fetch origin main:refs/remotes/origin/main"):
        git.merge_base(single, "main")
    run(single, "fetch", "--quiet", "origin", "main:refs/remotes/origin/main")
    git.merge_base(single, "main")
    address = repo.as_uri()
    run(tmp_path, "clone", "--quiet", "--depth=1", "--no-single-branch", "--branch", "work", address, str(shallow))
    with pytest.raises(UserError, match=r"this clone is shallow.*run: git fetch --unshallow"):
        git.merge_base(shallow, "main")
    run(shallow, "fetch", "--quiet", "--unshallow")
    git.merge_base(shallow, "main")
    with pytest.raises(UserError, match="there is no '--all' here"):
        git.merge_base(repo, "--all")


def test_what_has_changed_since_a_commit(tmp_path):
    repo = make(tmp_path / "repo", "a", "b")
    since = git.Since(repo, run(repo, "rev-parse", "HEAD"))
    assert since.changed(".") == []
    (repo / "a").write_text("other")
    (repo / "new").write_text("x")
    assert since.changed(".") == ["a", "new"]
    assert since.changed("b") == []
    assert (since.text("a"), since.current("a")) == ("a", "other")
    assert (since.text("new"), since.current("gone")) == (None, None)
    assert git.Since(repo, None).changed(".") == []
    assert git.last_commit(repo, Path("a")) == run(repo, "rev-parse", "HEAD~1")
    assert git.last_commit(repo, Path("gone")) is None
