"""What git says of a folder, asked of the real git."""

import subprocess

import pytest

from trunkline import git


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
