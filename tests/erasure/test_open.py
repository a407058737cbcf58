"""`trunkline erase --open` on the rig's forge: one pull request, that names nobody, however often it is run."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.erasure import project as made
from tests.erasure.project import KEPT, KEY, OTHER, SOURCE, WHO, run
from tests.rig.repository import git
from tests.rig.rig import rigged
from trunkline.core.errors import OutsideError, UserError

ME = "eraser[bot]"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOG_KEY", KEY)
        return made.create(tmp_path_factory.mktemp("project"), ROOT, tracked=True)


@pytest.fixture
def rig(project, tmp_path, monkeypatch):
    """The forge with the project on it, and the project's folder as a clone of it."""
    monkeypatch.setenv("LOG_KEY", KEY)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    home = shutil.copytree(project, tmp_path / "project")
    with rigged(tmp_path / "rig") as forge:
        forge.import_(home)
        git(home, "remote", "add", "origin", f"{forge.forge.url}/{forge.upstream.name}.git")
        token = forge.state.grant(ME, dict.fromkeys(("contents", "pull-requests"), "write"))
        for name, value in forge.variables(token).items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(home)
        yield forge


def opened():
    return json.loads(run("--open", "--json"))["pull_request"]


def test_an_erasure_has_one_pull_request_whose_branch_stays_while_the_trunk_does(rig):
    rig.forge.fail("POST", "/pulls$", 1, 422, after_effect=True)
    with pytest.raises(OutsideError):
        opened()
    answer = opened()
    (pull,) = rig.state.pulls.values()
    assert (answer["number"], pull.base_ref) == (pull.number, "main")
    assert pull.head_ref.startswith("erase/")
    assert WHO not in pull.title + pull.body
    assert "| `flights` | 2 | merge: filtered and repinned by the branch |" in pull.body
    assert "| `flight-delay@v1` | 2 | kept: was trained on them and runs in staging" in pull.body
    changed = git(rig.upstream.path, "diff", "--name-only", "main", pull.head_sha).splitlines()
    assert changed == ["conf/data/flights.yaml", SOURCE.as_posix()]
    assert git(rig.upstream.path, "show", f"{pull.head_sha}:{SOURCE}").split() == KEPT.split()

    results = rig.push(pull.head_ref, {"dvc.lock": "schema: '2.0'\n"}, wait=False)
    shutil.rmtree(".git/refs/heads/erase")
    assert opened() == answer
    assert rig.upstream.sha(pull.head_ref) == results, "what the pipeline has made of it stays"
    later = rig.push("main", {"README.md": "more\n"}, wait=False)
    assert opened() == answer
    assert git(rig.upstream.path, "rev-parse", f"{pull.head_ref}^") == later
    assert len(rig.state.pulls) == 1


@pytest.mark.parametrize("file", ["README.md", SOURCE.as_posix()])  # the latter is what the verb itself has written
def test_what_a_person_has_added_to_the_branch_is_not_replaced(rig, file):
    opened()
    (pull,) = rig.state.pulls.values()
    theirs = rig.push(pull.head_ref, {file: "by hand\n"}, wait=False)
    with pytest.raises(UserError, match="somebody has changed more on this branch"):
        opened()
    assert rig.upstream.sha(pull.head_ref) == theirs


def test_nothing_is_opened_where_the_sources_have_nobody(rig):
    opened()
    (pull,) = rig.state.pulls.values()
    git(Path(), "merge", "--quiet", pull.head_ref)
    made.data(Path(), [OTHER])
    made.commit(Path(), "Reproduced without them")
    rig.import_(Path.cwd(), wait=False)
    assert opened() is None
    assert len(rig.state.pulls) == 1


def test_without_a_forge_nothing_is_erased(rig, monkeypatch):
    monkeypatch.delenv("GITHUB_REPOSITORY")
    before = made.state(Path())
    with pytest.raises(UserError, match="no forge: set GITHUB_REPOSITORY"):
        run("--open")
    assert made.state(Path()) == before
    assert "--open: is of an erasure" in run("--open", "--check", code=2)
