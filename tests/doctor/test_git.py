"""Git as a set-up has it, each time a real clone with one thing missing."""

import pytest

from tests.doctor.conftest import found
from trunkline.cli.ci.merge_driver import merge_driver
from trunkline.doctor import git


def states(project, **more):
    return {what: finding.state for what, finding in found(git.check, project, **more).items()}


def test_a_clone_that_is_set_up_works(project):
    merge_driver.main(["--install"], standalone_mode=False)
    assert states(project) == dict.fromkeys(
        ("git", "author of commits", "repository", "origin", "trunk", "merge driver"), "works"
    )


@pytest.mark.parametrize(
    ("breaking", "what", "state", "advice"),
    [
        (("config", "--unset", "user.email"), "author of commits", "fails", "git config --global user.email …"),
        (("remote", "remove", "origin"), "origin", "not set up", "git remote add origin"),
        (("config", "merge.trunkline.driver", "other %A"), "merge driver", "not set up", "merge-driver --install"),
    ],
)
def test_what_is_missing_is_told_and_the_rest_works(project, breaking, what, state, advice):
    merge_driver.main(["--install"], standalone_mode=False)
    project.git(*breaking)
    findings = found(git.check, project)
    assert {name for name, finding in findings.items() if finding.state != "works"} == {what}
    assert findings[what].state == state
    assert advice in findings[what].advice


def test_the_environment_says_who_commits_as_git_reads_it(project):
    project.git("config", "--unset", "user.email")
    environ = {"GIT_AUTHOR_EMAIL": "eve@example.org"}
    assert found(git.check, project, environ)["author of commits"].detail == "Ada <eve@example.org>"


def test_a_trunk_that_is_not_here_or_whose_history_is_cut_fails(project, tmp_path):
    unknown = found(git.check, project, trunk="production")["trunk"]
    assert (unknown.state, "git fetch origin production" in unknown.advice) == ("fails", True)
    project.write("more", "").commit()
    project.git("push", "--quiet", "origin", "main")
    shallow = found(git.check, project.clone(tmp_path / "shallow", "--depth=1", "--no-local"))["trunk"]
    assert (shallow.state, shallow.advice) == ("fails", "git fetch --unshallow")


def test_no_password_of_an_origin_is_shown(project):
    project.git("remote", "set-url", "origin", "https://ada:secret@example.org/flights.git")
    assert found(git.check, project)["origin"].detail == "https://example.org/flights.git"


def test_without_git_nothing_else_is_told(project, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert states(project) == {"git": "fails"}
