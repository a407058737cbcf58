"""A retraining's one pull request, on the rig's forge: opened once, kept, left to a person, and never tried twice."""

import json
import os
from pathlib import Path

import pytest
import yaml

from tests.monitor.tables import days, performance
from tests.retrain import project as made
from tests.retrain.project import BRANCH, DATA, DECLARED, OCTOBER, SEPTEMBER
from tests.rig.repository import git
from tests.rig.rig import rigged
from trunkline.adapters.forge.connect import connect
from trunkline.cli import acting
from trunkline.core import durations
from trunkline.core.errors import OutsideError
from trunkline.release.verify import RefusedError
from trunkline.retrain import causes, propose, publish
from trunkline.retrain.propose import Where, Wish

AUGUST, LATER = ("2013-02..2013-07", "2013-08"), ("2013-03..2013-08", "2013-09")
ME = "retrainer[bot]"


@pytest.fixture(scope="module")
def project(root, tmp_path_factory):
    return made.create(tmp_path_factory.mktemp("project"), root)


@pytest.fixture
def rig(project, tmp_path, monkeypatch):
    """The forge with the project on it, and a clone in which one works."""
    with rigged(tmp_path / "rig") as forge:
        forge.import_(project)
        forge.protect("trunkline")
        forge.state.auto_merge_allowed = True
        clone = tmp_path / "clone"
        git(tmp_path, "clone", "--quiet", str(forge.upstream.path), str(clone))
        git(clone, "remote", "set-url", "origin", f"{forge.forge.url}/acme/model.git")
        token = forge.state.grant(ME, dict.fromkeys(("contents", "pull-requests", "statuses", "issues"), "write"))
        known = {"GITHUB_API_URL": f"{forge.forge.url}/api/v3", "GITHUB_SERVER_URL": forge.forge.url}
        for name, value in (known | {"GITHUB_REPOSITORY": "acme/model", "GITHUB_TOKEN": token}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        monkeypatch.chdir(clone)
        yield forge


def asked(as_of=SEPTEMBER, because="a wish", report=None):
    """Ask for a retraining; return the step that is taken, and what is done."""
    forge = connect(os.environ)
    where = Where(Path(), "main", os.environ, forge, lambda line: None)
    proposal = propose.prepare(where, Wish(as_of, report, causes.asking(report), because))
    done = publish.publish(where, forge, proposal)
    publish.say_no_help(where, forge, done)
    return proposal.step, done


def declared(rig, commit):
    return made.declared(rig.upstream.path, commit)


def results(verdict="pass", reason="roc_auc is 0.01 better"):
    """What a run of the pipeline puts on the branch."""
    gate = {"id": "better", "kind": "compare", "blocking": True, "verdict": verdict, "reason": reason}
    champion = {"version": "flight-delay@v4", "digest": "b" * 64}
    window = {"rows": 1234, "unlabelled": 0, "label_not_yet_known": 0, "base_rate": 0.2}
    whole = {"n": 600, "metrics": {"roc_auc": {"value": 0.75, "interval": [0.74, 0.76]}}}
    reports = {
        "gates": {"verdict": verdict, "challenger": "c" * 64, "champion": champion, "gates": [gate]},
        "slices": {"all": {"all": whole}},
        "dataset": {"source_rows": 1, "unlabelled": 0, "features": {}, "windows": {"train": window, "holdout": window}},
    }
    lock = {"schema": "2.0", "stages": {"train": {"cmd": "true"}, "gate": {"cmd": "true"}}}
    return {f"reports/{name}.json": json.dumps(each) for name, each in reports.items()} | {
        "dvc.lock": yaml.safe_dump(lock)
    }


def test_it_is_opened_once_and_its_branch_stays_as_it_is_while_its_text_is_kept_up_to_date(rig):
    step, done = asked()
    (pull,) = rig.state.pulls.values()
    assert (step, pull.head_ref, pull.title) == ("new", BRANCH, "Retrain flight-delay on 2013-02..2013-07")
    assert pull.head_sha == done.commit == rig.upstream.sha(BRANCH)
    assert declared(rig, done.commit) == AUGUST
    assert "CI is computing it" in pull.body
    rig.push("main", {"README.md": "more\n"})
    computed = rig.push(BRANCH, results())
    step, done = asked(because="another wish")
    assert (step, done.commit, done.number, len(rig.state.pulls)) == ("kept", computed, 1, 1)
    assert "- Asked for: a wish <!--" in pull.body
    assert "- Asked for: another wish <!--" in pull.body
    assert "| roc_auc | — | 0.7500 (0.7400 to 0.7600) |" in pull.body
    assert "beside `flight-delay@v4` on the new holdout: **pass**" in pull.body
    assert "- Rows learnt from: 1,234.\n- Stages that run again: `gate`, `train`." in pull.body
    Path(".dvc/tmp").mkdir(parents=True)
    for stage, seconds in (("gate", 12.4), ("train", 80.0)):
        durations.write(Path(), stage, seconds)
    asked()
    assert "`gate`, `train`; 1 min 32 s when they last ran on one machine." in pull.body
    assert pull.auto is None, "it waits for a person"
    body = pull.body
    asked(because="a wish")
    assert (pull.body, rig.upstream.sha(BRANCH)) == (body, computed)


def test_where_the_trunk_changes_what_it_changes_it_is_made_anew_and_with_the_same_rows(rig):
    _, first = asked()
    with rig.upstream.checkout(rig.upstream.sha("main")) as folder:
        text = (folder / DATA).read_text(encoding="utf-8")
    tip = rig.push("main", {DATA: f"# Somebody's\n{text}"})
    step, again = asked()
    assert (step, again.number) == ("again", first.number)
    assert git(rig.upstream.path, "rev-parse", f"{again.commit}^") == tip
    assert rig.upstream.sha(BRANCH) == again.commit
    assert declared(rig, again.commit) == AUGUST


def test_gates_that_fail_are_said_first_and_told_once_and_the_rows_are_not_tried_again(rig):
    asked()
    computed = rig.push(BRANCH, results("fail", "roc_auc is 0.05 <worse>"))
    for _ in range(2):
        step, done = asked()
        assert (step, done.commit) == ("kept", computed)
    pull = rig.state.pulls[1]
    assert pull.body.startswith("**Retraining does not help: roc_auc is 0.05 &lt;worse&gt;.**\n")
    (comment,) = rig.comments(1)
    assert (
        comment.content["body"]
        .strip()
        .endswith("\nRetraining does not help: roc_auc is 0.05 &lt;worse&gt;. These rows are not tried again: #1.")
    )
    step, done = asked(as_of=OCTOBER)
    assert (step, done.number, declared(rig, done.commit)) == ("again", 1, LATER), "the next month is another holdout"
    assert "CI is computing it" in pull.body


def test_what_a_person_has_changed_on_the_branch_stays_and_the_text_says_so(rig):
    asked()
    own = rig.push(BRANCH, {"conf/model/gbm.yaml": "_target_: x\n"})
    step, done = asked(as_of=OCTOBER)
    assert (step, done.commit, rig.upstream.sha(BRANCH)) == ("a person's", own, own)
    assert "A person has changed this branch: its commits stay" in rig.state.pulls[1].body
    assert "### What changes" not in rig.state.pulls[1].body


def test_what_a_person_has_closed_stays_closed_until_the_rows_are_all_others(rig):
    _, first = asked()
    rig.push(BRANCH, results())
    rig.state.pulls[1].state = "closed"
    step, done = asked()
    assert (step, done.number, len(rig.state.pulls)) == ("left closed", None, 1)
    step, done = asked(as_of=OCTOBER)
    assert (step, done.number, declared(rig, done.commit)) == ("again", 2, LATER)
    rig.state.pulls[2].state = "closed"
    rig.upstream.point(f"refs/heads/{BRANCH}", None)
    step, done = asked(as_of=OCTOBER)
    assert (step, done.number) == ("new", 3), "whoever deletes the branch has it tried again"
    assert first.commit != done.commit


@pytest.mark.parametrize("after", [False, True])
def test_a_run_that_ends_before_the_pull_request_is_open_is_taken_up_by_the_next(rig, after):
    rig.forge.fail("POST", "/pulls$", 1, 422, after_effect=after)
    with pytest.raises(OutsideError):
        asked()
    pushed = rig.upstream.sha(BRANCH)
    step, done = asked()
    assert (step, done.commit, done.number, len(rig.state.pulls)) == ("kept", pushed, 1, 1)


def test_what_somebody_pushes_meanwhile_stays_and_the_next_run_finds_it(rig, monkeypatch):
    asked()
    rig.push("main", {"dvc.lock": "schema: '2.0'\n"})
    rig.push(BRANCH, results())
    own, push = [], publish.remote.push

    def late(*arguments, **options):
        own.append(rig.push(BRANCH, {"conf/model/gbm.yaml": "_target_: x\n"}))
        return push(*arguments, **options)

    monkeypatch.setattr(publish.remote, "push", late)
    with pytest.raises(OutsideError, match=f"git push origin {BRANCH}: somebody else pushed to it meanwhile"):
        asked()
    assert asked()[0] == "a person's"
    assert [rig.upstream.sha(BRANCH)] == own


def test_it_merges_by_itself_where_conf_deploy_says_so_and_the_gates_let_it(rig):
    with rig.upstream.checkout(rig.upstream.sha("main")) as folder:
        text = (folder / "conf/deploy/flights.yaml").read_text(encoding="utf-8")
    rig.push("main", {"conf/deploy/flights.yaml": f"{text}retrain: {{merge: automatic}}\n"})
    asked()
    pull = rig.state.pulls[1]
    assert pull.auto is not None
    pull.auto = None
    rig.push(BRANCH, results("fail"))
    asked()
    assert pull.auto is None
    rig.push(BRANCH, results("pass"))
    _, done = asked()
    connect(os.environ).set_status(done.commit, "trunkline", "success", "fine", None)
    assert pull.merged
    assert declared(rig, "main") == AUGUST
    assert DECLARED != AUGUST


def test_what_production_does_is_in_the_text(rig):
    asked(report=made.report(performance([0.7] * 3 + [0.61] * 5)))
    body = rig.state.pulls[1].body
    assert "`performance` of `roc_auc`: `value` is 0.61" in body
    assert "| 2026-03-08 00:00 | 0.6100 | 0.6000 to 0.6200 | 0.7000 | 5,000 | 90% |" in body


WORSE = performance([0.7] * 3 + [0.61] * 5)


def act(report, write=True):
    """What `trunkline monitor --act` does of a report; return what became of each alert."""
    done = acting.act(report, "main", write=write)
    assert done.error is None
    return [each.what for each in done.followed]


def said(issue):
    return [comment.body for comment in connect(os.environ).issue_comments(issue)]


def test_an_alert_opens_one_retraining_says_so_once_on_its_issue_and_whether_it_helps(rig):
    assert act(made.report(WORSE), write=False) == ["opened", "retraining proposed"]
    assert (rig.state.pulls, rig.state.issues) == ({}, {})
    assert act(made.report(WORSE)) == ["opened", "retraining proposed"]
    (issue,), (pull,) = rig.state.issues.values(), rig.state.pulls.values()
    assert declared(rig, BRANCH) == ("2025-08..2026-01", "2026-02")
    assert [text.partition(" -->")[2].strip() for text in said(issue.number)] == [
        f"A retraining is proposed: {rig.forge.url}/acme/model/pull/{pull.number}"
    ]
    rig.push(BRANCH, results("fail"))
    for _ in range(2):
        assert act(made.report(WORSE)) == ["unchanged", "retraining proposed"]
    assert len(rig.state.pulls) == 1
    assert pull.body.startswith("**Retraining does not help: ")
    assert [text.splitlines()[1][:26] for text in said(issue.number)] == [
        "A retraining is proposed: ",
        "Retraining does not help: ",
    ]
    assert len(rig.comments(pull.number)) == 0, "it is told once"


def test_what_the_model_is_given_is_mended_first_whoever_asks(rig):
    broken = made.report(days([0.0] * 3 + [0.9] * 5, measure="missing"), WORSE)
    assert act(broken) == ["opened"]
    assert rig.state.pulls == {}
    for because in (None, "a wish"):
        with pytest.raises(
            RefusedError, match=r"what the model is given is broken: missing of dew_point since 2026-03-04"
        ):
            asked(because=because, report=broken)
    assert rig.upstream.sha(BRANCH) is None


def test_a_schedule_alone_opens_it_too_and_says_nothing_before_it_has_come(rig):
    quiet = performance([0.7] * 8)
    assert act(made.report(quiet, retrain={"every": "30d"})) == [], "the trunk declares no schedule"
    with rig.upstream.checkout(rig.upstream.sha("main")) as folder:
        text = (folder / "conf/monitoring/flights.yaml").read_text(encoding="utf-8")
    rig.push("main", {"conf/monitoring/flights.yaml": f"{text}retrain: {{every: 30d}}\n"})
    for _ in range(2):
        assert act(made.report(quiet, retrain={"every": "30d"})) == ["retraining proposed"]
    assert "- By schedule, every 30d: " in rig.state.pulls[1].body
    assert rig.state.issues == {}
