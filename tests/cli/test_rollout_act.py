"""`trunkline rollout --act` does what the verdict says, once, and says what it did."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.deploy.rollout import logs
from tests.deploy.rollout.logs import SINCE, Fault, Traffic, write
from tests.releases import REGISTRY, history, registry
from trunkline.cli import rollout
from trunkline.deploy.propose import Opened

STEPS = [{"canary": 25, "for": "5h", "change": "pull_request"}]
WHEN = ["--since", f"{SINCE:%Y-%m-%dT%H:%M}", "--as-of", "2026-11-02T14:00"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    project = history(tmp_path_factory.mktemp("history"))
    steps = {"key": ["carrier", "flight"], "steps": STEPS}
    environments = {"staging": {}, "production": {"rollout": steps}}
    declared = {"version": "v2", "canary": {"version": "v3", "share": 25}}
    data = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))["data"]
    project.params(deploy__environments=environments, data=data).declare(production=declared)
    project.commit("Have v3 answer a quarter")
    return project


@pytest.fixture
def act(made, tmp_path, monkeypatch):
    """Return what writes a log of a candidate with a fault, runs the verb on it, and returns what it said."""
    clone = made.clone(tmp_path / "origin.git", "--bare").clone(tmp_path / "clone")
    monkeypatch.chdir(clone.root)
    monkeypatch.setattr(logs, "CURRENT", "v2")
    monkeypatch.setattr(logs, "CANDIDATE", "v3")

    def run(fault, *arguments):
        if not (tmp_path / "log").exists():
            write(tmp_path / "log", Traffic("canary", 25, hours=6, requests=1000), fault)
        given = ["--all", "--act", "--log", str(tmp_path / "log"), *WHEN, *arguments]
        told = CliRunner().invoke(rollout.rollout, given, catch_exceptions=False)
        assert told.exit_code == 0, told.output
        return told.stdout

    run.clone = clone
    return run


def trunk(clone):
    clone.git("fetch", "--quiet", "origin")
    return clone.git("show", f"origin/main:{REGISTRY}") + "\n"


def test_a_bad_version_is_taken_back_by_a_commit_and_once(act):
    before = trunk(act.clone)
    shown = act(Fault(bias=4), "--dry-run")
    assert "\n+flight-delay: {staging: latest, production: {version: v2, hold: [v3]}}" in shown
    assert trunk(act.clone) == before
    assert "Take flight-delay v3 back from production" in act(Fault(bias=4))
    assert trunk(act.clone) == registry(staging="latest", production={"version": "v2", "hold": ["v3"]})
    again = json.loads(act(Fault(bias=4), "--json"))["production"]
    assert (again["answer"], again["did"]) == (
        "go back",
        "nothing: the trunk declares production: {version: v2, hold: [v3]} by now",
    )


def test_a_good_version_is_a_pull_request_with_the_evidence_where_the_step_says_so(act, monkeypatch):
    proposals = []
    monkeypatch.setattr(rollout, "_open", lambda proposal: proposals.append(proposal) or Opened("c0", 7, "url", False))
    before = trunk(act.clone)
    content = json.loads(act(Fault(), "--json"))["production"]
    assert (content["answer"], content["did"], content["pull_request"]) == ("finish", "#7 url", 7)
    (proposal,) = proposals
    assert (proposal.title, trunk(act.clone)) == ("Promote flight-delay v3 to production", before)
    assert proposal.text == registry(staging="latest", production="v3")
    assert "| errors | all rows | passes |" in proposal.body


def test_the_pull_request_starts_from_what_the_same_run_has_committed(act, tmp_path, monkeypatch):
    tried = {"staging": {"shadow": "v3"}, "production": {"canary": {"version": "v3", "share": 25}}}
    steps = {"staging": [{"shadow": 100, "for": "5h"}], "production": STEPS}
    environments = {name: {"rollout": {"key": logs.KEY, "steps": each}} for name, each in steps.items()}
    clone = act.clone.params(deploy__environments=environments)
    clone.declare(**{name: {"version": "v2"} | each for name, each in tried.items()}).push("Have v3 shadow staging")
    write(tmp_path / "log", Traffic("canary", 25, requests=1000), Fault())
    write(tmp_path / "log", Traffic("shadow", 100, requests=1000, seed=1), Fault(bias=4), environment="staging")
    proposals = []
    monkeypatch.setattr(rollout, "_open", lambda proposal: proposals.append(proposal) or Opened("c0", 7, "url", False))
    assert "Take flight-delay v3 back from staging" in act(Fault())
    (proposal,) = proposals
    assert proposal.text == registry(staging={"version": "v2", "hold": ["v3"]}, production="v3")


def test_what_cannot_be_judged_keeps_nothing_else_from_going_back(act, tmp_path):
    production = {"key": logs.KEY, "steps": STEPS}
    staging = {"key": ["no_such_column"], "steps": [{"shadow": 100, "for": "5h"}]}
    clone = act.clone.params(
        deploy__environments={"staging": {"rollout": staging}, "production": {"rollout": production}}
    )
    tried = {"version": "v2", "canary": {"version": "v3", "share": 25}}
    clone.declare(staging={"version": "v2", "shadow": "v3"}, production=tried).push("Have v3 shadow staging")
    write(tmp_path / "log", Traffic("canary", 25, requests=1000), Fault(bias=4))
    write(tmp_path / "log", Traffic("shadow", 100, requests=1000, seed=1), Fault(), environment="staging")
    given = ["--all", "--act", "--log", str(tmp_path / "log"), *WHEN]
    told = CliRunner().invoke(rollout.rollout, given)
    assert "Take flight-delay v3 back from production" in told.stdout
    assert "staging: cannot be judged: " in told.stderr
    assert "no_such_column" in str(told.exception) + told.stderr
    assert told.exit_code != 0
