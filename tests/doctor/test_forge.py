"""The forge and what it guards: real libraries against a server that answers as GitLab's documentation says."""

import pytest

from tests.doctor.conftest import found
from tests.forgeserver import BOT, TOKEN, running
from trunkline.doctor import forge

RULES = {
    "protected_branches": [{"name": "main", "push_access_levels": [{"access_level": 0}], "allow_force_push": False,
                            "code_owner_approval_required": True}],
    "protected_tags": [{"name": "*@v*", "create_access_levels": []}],
    "approval_rules": [],
}  # fmt: skip


@pytest.fixture
def server():
    with running() as started:
        yield started


def environ(server, token=TOKEN):
    return {"CI_API_V4_URL": f"{server.url}/api/v4", "CI_PROJECT_ID": "5", "GITLAB_TOKEN": token}


def test_the_owner_of_a_token_is_named_and_each_guard_is_told(project, server):
    server.rules = RULES
    findings = found(forge.check, project, environ(server))
    assert findings["forge"].detail == f"CI_PROJECT_ID=5: the token is that of {BOT}"
    states = {what.removeprefix("guard: "): one.state for what, one in findings.items() if what != "forge"}
    assert states == {
        "pull request required": "works",
        "approval required": "fails",
        "code owners must approve": "works",
        "check trunkline required": "fails",
        "force pushes blocked": "works",
        "deletion blocked": "works",
        "version tags protected": "works",
        "code owners": "fails",
    }
    server.rules = dict.fromkeys(RULES)
    hidden = found(forge.check, project, environ(server))
    assert hidden["guard: approval required"].state == "not known"
    assert server.writes == []


def test_a_wrong_token_fails_and_is_not_shown(project, server):
    finding = found(forge.check, project, environ(server, "wrong-secret"))["forge"]
    assert (finding.state, "wrong-secret" in str(finding)) == ("fails", False)
    assert "401" in finding.detail
    assert "token is wrong or has expired" in finding.advice


def test_without_a_token_its_variable_is_named(project):
    for given, missing in (({"GITHUB_REPOSITORY": "a/b"}, "GITHUB_TOKEN"), ({"CI_PROJECT_ID": "5"}, "GITLAB_TOKEN")):
        finding = found(forge.check, project, given)["forge"]
        assert (finding.state, finding.detail.endswith(f"{missing} is not")) == ("not set up", True)
    assert found(forge.check, project)["forge"].state == "not set up"


def test_owners_are_those_of_the_trunk(project):
    lacking = found(forge.check, project)["guard: code owners"]
    assert (lacking.state, lacking.detail) == (
        "not set up", "4 of 4 paths have no owner: models/registry.yaml, conf/deploy, dvc.yaml and 1 more"
    )  # fmt: skip
    project.write(".github/CODEOWNERS", "* @ada\n").write("conf/deploy/flights.yaml", "").commit()
    project.git("push", "--quiet", "origin", "main")
    assert found(forge.check, project)["guard: code owners"].state == "works"
