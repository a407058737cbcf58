"""A project with two versions, which production has run in turn: what is traced and audited."""

import shutil
from dataclasses import replace

import pytest

from tests.releases import Project
from trunkline.release.provenance import ReviewFacts


def flights(root):
    """Two versions, of pull requests by Ada and Bob; staging follows, production went to v1, v2, and back to v1."""
    project = Project(root).create().build()
    project.commit("First run")
    project.declare(staging="latest").merge(10)
    project.params(model__max_iter=150).build().merge(11, "Longer")
    project.release(ReviewFacts(11, "ada", ("bob",)))
    project.declare(production="v1").merge(12)
    project.params(model__max_iter=200).build().merge(13, "Longer still", who="Bob")
    project.release(ReviewFacts(13, "bob", ("ada", "eve")))
    project.declare(production="v2").merge(14)
    project.declare(production="v1").merge(15)
    return project


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return flights(tmp_path_factory.mktemp("flights") / "project")


@pytest.fixture
def inside(made, tmp_path, monkeypatch):
    """A copy of the flights' project, which a test may break; it is the working directory, and no forge is named."""
    monkeypatch.chdir(shutil.copytree(made.root, tmp_path / "project"))
    for name in ("GITHUB_REPOSITORY", "CI_PROJECT_ID", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return replace(made, root=tmp_path / "project")
