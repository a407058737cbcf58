"""Who changed what an environment is to run, from the trunk's history."""

import pytest

from tests.rig.repository import git
from trunkline.deploy import history


@pytest.fixture
def repo(tmp_path):
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / "models").mkdir()
    return tmp_path


def declare(repo, text, message="change"):
    (repo / "models/registry.yaml").write_text(text)
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(repo, "rev-parse", "HEAD")


def found(repo, name="m"):
    changes = history.changes(repo, git(repo, "rev-parse", "HEAD"), name)
    return [(one.environment, one.before.version, one.after.version, one.pull_request) for one in changes]


def test_changes_along_the_trunk(repo):
    declare(repo, "m: {staging: latest, production: null}")
    declare(repo, "# a comment\nm: {staging: latest, production: null}")
    declare(repo, "m: {staging: latest, production: v3}", "promote (#12)")
    declare(repo, "m: {staging: lates, production: v3}", "broken (#13)")
    declare(repo, "other: {production: v1}", "gone (#14)")
    git(repo, "checkout", "--quiet", "-b", "work")
    declare(repo, "m: {staging: latest, production: v5}", "on a branch (#15)")
    declare(repo, "m: {staging: v4, production: v4}", "on a branch (#16)")
    git(repo, "checkout", "--quiet", "main")
    git(repo, "merge", "--quiet", "--no-ff", "--message", "Merge pull request #17 from a/work", "work")
    merged = git(repo, "rev-parse", "HEAD")
    assert found(repo) == [
        ("production", 3, 4, "#17"),
        ("staging", "latest", 4, "#17"),
        ("production", None, 3, "#12"),
        ("staging", None, "latest", None),
    ]
    changes = history.changes(repo, merged, "m")
    assert history.since(changes, "staging").commit == merged
    assert (changes[0].author, changes[0].date[:2]) == ("Forge", "20")
    assert history.since(changes, "canary") is None
    assert found(repo, "other") == [("production", None, 1, "#14")]


def test_a_file_that_was_deleted_and_is_back_is_no_change(repo):
    declare(repo, "m: {production: v1}")
    git(repo, "rm", "--quiet", "models/registry.yaml")
    git(repo, "commit", "--quiet", "--message", "delete it")
    (repo / "models").mkdir(exist_ok=True)
    declare(repo, "")
    declare(repo, "m: {production: v1}", "back again")
    declare(repo, "m: {production: v2}", "promote (#2)")
    assert found(repo) == [("production", 1, 2, "#2"), ("production", None, 1, None)]


def test_a_revert_is_a_change_like_any_other(repo):
    declare(repo, "m: {production: v1}")
    declare(repo, "m: {production: v2}")
    git(repo, "revert", "--no-edit", "HEAD")
    assert found(repo) == [("production", 2, 1, None), ("production", 1, 2, None), ("production", None, 1, None)]


def test_what_a_shallow_clone_does_not_know_is_not_told(repo, tmp_path_factory):
    declare(repo, "m: {production: v1}")
    declare(repo, "m: {production: v2}")
    declare(repo, "m: {production: v3}")
    clone = tmp_path_factory.mktemp("clone") / "clone"
    git(repo, "clone", "--quiet", "--bare", "--depth=2", repo.as_uri(), str(clone))
    assert found(clone) == [("production", 2, 3, None)]


def test_a_step_of_a_rollout_leaves_the_version_where_it_was(repo):
    declare(repo, "m: {production: v1}", "promote (#1)")
    declare(repo, "m: {production: {version: v1, shadow: v2}}", "begin (#2)")
    declare(repo, "m: {production: {version: v1, canary: {version: v2, share: 5}}}", "step up")
    declare(repo, "m: {production: {version: v1, hold: [v2]}}", "take it back")
    changes = history.changes(repo, git(repo, "rev-parse", "HEAD"), "m")
    assert [str(one.after) for one in changes][:2] == (
        ["{version: v1, hold: [v2]}", "{version: v1, canary: {version: v2, share: 5}}"]
    )
    assert history.since(changes, "production").pull_request == "#1"
    assert history.rollout_since(changes, "production") == changes[0]
    assert history.rollout_since(changes[2:], "production").pull_request == "#2"
