"""Promotions and rollbacks, with real remotes, signed versions, real bundles, and the rig's forge."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.releases import COMMENT, NAME, Project, environment, history
from tests.rig.repository import git
from tests.rig.rig import rigged
from trunkline.cli import trunkline

# pygtrie, which DVC uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")

REGISTRY = "models/registry.yaml"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return history(tmp_path_factory.mktemp("history"))


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A clone of a bare origin, as one has it; the working tree holds an edit of somebody."""
    return cloned(made, tmp_path, monkeypatch)


def cloned(made, folder, monkeypatch):
    origin = folder / "origin.git"
    git(folder, "clone", "--quiet", "--bare", str(made.root), str(origin))
    git(folder, "clone", "--quiet", str(origin), str(folder / "clone"))
    for name in ("GITHUB_REPOSITORY", "CI_PROJECT_ID", "GITHUB_TOKEN", "GITLAB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder / "clone")
    return Project(folder / "clone", made.remote)


def ran(*words, code=0):
    done = CliRunner().invoke(trunkline, words, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    assert done.return_value == code if done.return_value is not None else done.exit_code == code, done.output
    return done.output


def at(project, commit):
    return git(project.root, "show", f"{commit}:{REGISTRY}") + "\n"


def text(staging="latest", production="v2"):
    return f"{COMMENT}{NAME}: {{staging: {staging}, production: {production}}}  # two of them\n"


def changed(project, commit):
    return git(project.root, "diff", "--name-only", "origin/main", commit).split()


def test_a_promotion_is_a_commit_of_one_value_on_the_tip_of_the_trunk(project):
    project.write(REGISTRY, "somebody's: edit\n")
    found = json.loads(ran("promote", "v3", "--to", "production", "--local", "--json"))
    assert found["branch"] == "promote/production-v3"
    assert at(project, found["branch"]) == text(production="v3")
    assert changed(project, found["branch"]) == [REGISTRY]
    assert git(project.root, "rev-parse", f"{found['branch']}^") == git(project.root, "rev-parse", "origin/main")
    assert project.read(REGISTRY) == "somebody's: edit\n"
    assert git(project.root, "branch", "--show-current") == "main"
    assert json.loads(ran("promote", f"{NAME}@v3", "--to", "production", "--local", "--json")) == found
    told = ran("promote", "v3", "--to", "production", "--local")
    assert told.splitlines()[1] == "run: git push origin promote/production-v3, and open a pull request"


def test_a_dry_run_shows_the_change_and_the_evidence_and_writes_nothing(project):
    before = git(project.root, "for-each-ref")
    told = ran("promote", "v3", "--to", "production", "--dry-run")
    assert f"-{text().splitlines()[1]}\n+{text(production='v3').splitlines()[1]}\n" in told
    assert "\nPromote flight-delay v3 to production\n" in told
    assert "| roc_auc | 0.7600 (0.7500 to 0.7700) | 0.7700 (0.7600 to 0.7800) |" in told
    assert "| #5 | A @\u200bwindow \\| \\`&lt;b&gt;\\` of its own |" in told
    assert "data.window.train" in told
    assert git(project.root, "for-each-ref") == before
    content = json.loads(ran("promote", "v3", "--to", "production", "--dry-run", "--json"))
    assert (content["before"], content["after"], content["what"]) == ("v2", "v3", "dry run")
    assert content["body"].strip() in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("promote", "v2", "--to", "production"), "production is declared to run v2 already\n"),
        (("promote", "latest", "--to", "staging"), "staging is declared to run latest already\n"),
        (("rollback", "--to", "production", "--version", "v2"), "production is declared to run v2 already\n"),
    ],
)
def test_what_is_declared_already_is_said(project, words, told):
    assert ran(*words, "--local") == told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("v9", "production"),
            "models/registry.yaml: flight-delay.production: v9 was never released (the newest is v3)",
        ),
        (
            ("v3", "prodution"),
            "flight-delay.prodution: no such environment in conf/promotion; did you mean 'production'",
        ),
        (("latest", "production"), "flight-delay.production: must be a version such as v3, or null, not 'latest'"),
        (("3", "production"), "'3' is no version of flight-delay; name one such as v3 or flight-delay@v3"),
    ],
)
def test_a_version_or_environment_that_there_is_not_is_refused(project, words, said):
    from trunkline.core.errors import UserError

    with pytest.raises(UserError) as refused:
        ran("promote", words[0], "--to", words[1], "--local")
    assert said in str(refused.value)


def test_staging_may_be_pinned_and_follow_again(project):
    ran("promote", "v2", "--to", "staging", "--local")
    assert at(project, "promote/staging-v2") == text(staging="v2")
    git(project.root, "push", "--quiet", "origin", "promote/staging-v2:main")
    ran("promote", "latest", "--to", "staging", "--local")
    assert at(project, "promote/staging-latest") == text()
