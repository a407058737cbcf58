"""What is decided on a rollout becomes a commit on the trunk, or a branch, once, and only on what it was decided on."""

import os
from dataclasses import replace

import pytest

from tests.releases import REGISTRY, history, registry
from trunkline.adapters.git import remote
from trunkline.conf.registry import Candidate, Declaration
from trunkline.core.errors import OutsideError, UserError
from trunkline.deploy import propose
from trunkline.deploy.propose import NoChange
from trunkline.deploy.rollout import change
from trunkline.deploy.rollout.change import RolloutIntent
from trunkline.release.verify import RefusedError

SHADOW = Declaration(2, Candidate("shadow", 3))
CANARY = Declaration(2, Candidate("canary", 3, 5.0))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    project = history(tmp_path_factory.mktemp("history"))
    environments = {"staging": {}, "production": {"rollout": {"key": ["origin"]}}}
    project.params(deploy__environments=environments).declare(production={"version": "v2", "shadow": "v3"})
    project.commit("Begin the rollout of v3")
    return project


@pytest.fixture
def project(made, tmp_path):
    return made.clone(tmp_path / "origin.git", "--bare").clone(tmp_path / "clone")


def intent(decision, seen=SHADOW):
    return RolloutIntent("production", decision, seen, "it is | as good", "| a | table |")


def commit(project, decision, seen=SHADOW):
    return change.commit(project.root, "main", intent(decision, seen), os.environ)


def trunk(project):
    project.git("fetch", "--quiet", "origin")
    return project.git("show", f"origin/main:{REGISTRY}") + "\n"


def text(production):
    return registry(staging="latest", production=production)


def test_a_rollout_goes_on_by_commits_each_done_once(project):
    first = commit(project, "step up")
    assert trunk(project) == text({"version": "v2", "canary": {"version": "v3", "share": 5}})
    assert project.git("rev-parse", "origin/main") == first.commit
    message = project.git("log", "-1", "--format=%B", first.commit)
    assert message == "Have flight-delay v3 answer 5 % of production\n\nReason: it is | as good"
    assert commit(project, "step up") == NoChange("production", str(CANARY)), "what was decided on is past"
    commit(project, "step up", CANARY)
    commit(project, "finish", Declaration(2, Candidate("canary", 3, 25.0)))
    assert trunk(project) == text("v3")
    assert project.git("log", "-1", "--format=%s", "origin/main") == "Promote flight-delay v3 to production"


def test_going_back_holds_the_version_whatever_has_become_of_it(project):
    project.tag("flight-delay@v3", "by hand")
    project.git("push", "--quiet", "--force", "origin", "refs/tags/flight-delay@v3")
    with pytest.raises(RefusedError):
        commit(project, "step up")
    made = commit(project, "go back")
    assert trunk(project) == text({"version": "v2", "hold": ["v3"]})
    assert made.proposal.title == "Take flight-delay v3 back from production"
    with pytest.raises(UserError, match=r"flight-delay\.production: no rollout runs there"):
        commit(project, "go back", Declaration(2, None, (3,)))


def test_others_who_push_meanwhile_lose_nothing(project, tmp_path, monkeypatch):
    other = replace(project, root=tmp_path / "origin.git").clone(tmp_path / "other")
    push, times = remote.push, iter(range(2))

    def interrupted(*arguments, **options):
        if next(times, None) is not None:
            other.git("pull", "--quiet", "origin", "main")
            other.write("README.md", f"{other.hours}").push("Meanwhile")
        return push(*arguments, **options)

    monkeypatch.setattr(change.remote, "push", interrupted)
    commit(project, "step up")
    assert trunk(project) == text({"version": "v2", "canary": {"version": "v3", "share": 5}})
    assert project.git("log", "--format=%s", "origin/main").splitlines().count("Meanwhile") == 2
    monkeypatch.setattr(change.remote, "push", lambda *arguments, **options: "moved")
    with pytest.raises(OutsideError, match="others pushed 5 times meanwhile; run it again"):
        commit(project, "step up", CANARY)


def test_a_pull_request_has_the_evidence(project):
    proposal = change.prepare(project.root, "main", intent("step up"), os.environ)
    assert (proposal.branch, proposal.automatic) == ("rollout/production-v3-canary-5", False)
    assert proposal.body == (
        "One value of `models/registry.yaml` changes: `production: {version: v2, shadow: v3}` → "
        "`production: {version: v2, canary: {version: v3, share: 5}}`.\n\n"
        "Reason: it is \\| as good\n\n| a | table |\n"
    )
    commit = propose.local(project.root, proposal)
    assert propose.local(project.root, proposal) == commit
    assert project.git("diff", "--name-only", "origin/main", commit) == REGISTRY
    back = change.prepare(project.root, "main", intent("go back"), os.environ)
    assert (back.branch, back.facts["after"]) == ("rollout/production-v3-back", "{version: v2, hold: [v3]}")
    assert change.prepare(project.root, "main", intent("finish"), os.environ).branch == "rollout/production-v3"
