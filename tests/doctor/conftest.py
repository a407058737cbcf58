"""A project that is set up, with a folder as DVC's remote, of which a test may break what it looks at."""

import shutil
from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.releases import Project, signers
from tests.rig.repository import ISOLATED
from trunkline.doctor.findings import Finding, Setup


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """The project and its remote, made once."""
    home = tmp_path_factory.mktemp("doctor")
    project = Project(home / "project", store=home / "store", origin=home / "origin.git").create()
    project.params(tracking={"experiment": "flights"}, deploy__recorders=signers("record")).build()
    project.commit()
    project.git("push", "--quiet", "origin", "main")
    return project


@pytest.fixture
def project(home, tmp_path, monkeypatch):
    """A clone of it with the configuration of this machine out of the way; it is the working directory."""
    for name, value in ISOLATED.items():
        monkeypatch.setenv(name, value)
    for variable in ("GITHUB_REPOSITORY", "GITHUB_TOKEN", "CI_PROJECT_ID", "GITLAB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    own = home.clone(tmp_path / "project")
    own.git("config", "user.name", "Ada")
    own.git("config", "user.email", "ada@example.org")
    shutil.copytree(home.root / ".dvc", own.root / ".dvc", dirs_exist_ok=True)
    monkeypatch.chdir(own.root)
    return replace(own, store=home.store)


def found(check, project: Project, environ: Mapping[str, str] = {}, trunk: str = "main") -> dict[str, Finding]:
    """What a check finds, by what it is of."""
    findings = list(check(Setup(project.root, trunk, environ)))
    by_name = {finding.what: finding for finding in findings}
    assert len(by_name) == len(findings)
    assert all(finding.advice for finding in findings if finding.state == "fails")
    return by_name
