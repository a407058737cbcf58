"""What the check says of a change that ships no other model, and of one that does: `trunkline gate --base`."""

import json

import pytest
from click.testing import CliRunner

from tests.releases import NAME, history
from trunkline.adapters.git.snapshot import Since, Snapshot
from trunkline.cli import trunkline
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.deploy import moves
from trunkline.deploy.moves import Move

# pygtrie, which DVC uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return history(tmp_path_factory.mktemp("history"))


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A clone on a branch; production runs v2, and the trunk's model is v3."""
    clone = made.clone(tmp_path / "clone")
    clone.git("checkout", "--quiet", "-b", "work")
    monkeypatch.chdir(clone.root)
    return clone


def blocked(project):
    """Let the verdict on the trunk's own model be another one, as it may be beside another champion."""
    gates = json.loads(project.read("reports/gates.json"))
    gates["gates"][0]["verdict"] = gates["verdict"] = "fail"
    project.write("reports/gates.json", gates)


def gate(code):
    done = CliRunner().invoke(trunkline, ["gate", "--base", "main"], standalone_mode=False)
    assert done.exception is None, done.exception
    assert done.return_value == code, done.output
    return done.output


def judges_again():
    """The verdict decides: it is computed again, for which this small project has no data."""
    done = CliRunner().invoke(trunkline, ["gate", "--base", "main"], standalone_mode=False)
    assert isinstance(done.exception, UserError)
    assert "nothing can be judged again without the data" in str(done.exception)


def judged(*words):
    done = CliRunner().invoke(trunkline, ["gate", "--json", *words], standalone_mode=False)
    return json.loads(done.output), done.return_value


def test_a_rollback_passes_whatever_the_gates_say_of_the_trunks_own_model(project):
    project.declare(production="v1")
    blocked(project)
    project.commit("Roll back")
    told = gate(0).splitlines()
    assert told[-3:] == [
        "fail: 1 of 3 verdicts block",
        "Rolls production back to v1",
        "this does not decide here: no other model is shipped, since the bundle is that of the base",
    ]
    found, code = judged("--base", "main")
    assert (found["verdict"], found["same_model"], code) == ("fail", True, 0)
    move = Move("production", "v2", "v1", "v1", back=True, signer="release")
    base = Snapshot(project.root, project.git("rev-parse", "main"))
    assert moves.moves(project.root, Params.read(project.root), base) == (move,)
    found, code = judged()
    assert (found["verdict"], code) == ("fail", 1)
    assert "same_model" not in found


@pytest.mark.parametrize("path", ["conf/gates/flights.yaml", "src/trunkline/x.py", "dvc.yaml", "params.yaml"])
@pytest.mark.parametrize("committed", [True, False])
def test_what_decides_a_result_is_judged_though_the_bundle_is_the_same(project, path, committed):
    project.declare(production="v1")
    project.write(path, f"{project.read(path)}# more\n" if (project.root / path).exists() else "more: 1\n")
    if committed:
        project.commit("More than a rollback")
    blocked(project)
    judges_again()


def test_another_bundle_is_judged(project):
    project.declare(production="v3")
    project.build(0.5)
    judges_again()


def test_a_lock_that_names_another_bundle_is_judged_whatever_the_reports_say(project):
    project.declare(production="v1")
    blocked(project)
    assert "this does not decide" in gate(0)
    project.write("dvc.lock", project.read("dvc.lock").replace("path: models/bundle", "path: models/other"))
    judges_again()


@pytest.mark.parametrize("new", ["", "0" * 40])
def test_on_a_new_branch_the_verdict_decides(project, new):
    assert judged("--base", new)[1] == 0
    project.declare(production="v1")
    blocked(project)
    found, code = judged("--base", new)
    assert (found["verdict"], code) == ("fail", 1)


def test_what_passes_says_what_it_moves(project):
    project.declare(production="v3")
    assert gate(0).splitlines()[-2:] == ["pass: nothing blocks", "Promotes v3 to production"]


def test_a_change_of_neither_moves_nothing(project):
    project.write("README.md", "more\n")
    blocked(project)
    assert gate(0).splitlines()[-1].startswith("this does not decide here")
    assert judged("--base", "main")[0]["moves"] == []


@pytest.mark.parametrize(
    ("environments", "said"),
    [
        ({"staging": "v9"}, "refused: models/registry.yaml: flight-delay.staging: v9 was never released"),
        (
            {"staging": "v2", "production": "v1", "shadow": "v1"},
            "flight-delay.shadow: no such environment in conf/deploy",
        ),
    ],
)
def test_a_version_that_may_not_run_does_not_pass_though_the_gates_do(project, environments, said):
    project.declare(**environments)
    assert said in gate(1)


def test_a_version_that_nobody_signed_does_not_pass(project):
    project.git("tag", "--annotate", f"{NAME}@v4", "--message", "by hand")
    project.declare(production="v4")
    assert "refused: flight-delay@v4: " in gate(1)


def test_a_base_without_reports_is_another_model(project):
    first = Snapshot(project.root, project.git("rev-list", "--max-parents=0", "HEAD"))
    assert not moves.same_model(Since(project.root, first))


def stepped(project, production):
    """Let conf/deploy have the steps of a rollout on the trunk, and production be declared so there."""
    project.git("checkout", "--quiet", "main")
    environments = {"staging": {}, "production": {"rollout": {"key": ["origin"]}}}
    project.params(deploy__environments=environments).declare(production=production)
    project.commit("Steps")
    project.git("checkout", "--quiet", "-B", "work")


SHADOW = {"version": "v2", "shadow": "v3"}
CANARY = {"version": "v2", "canary": {"version": "v3", "share": 5}}
HELD = {"version": "v2", "hold": ["v3"]}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("v2", SHADOW, ["Tries v3 in production as a shadow, which answers nothing"]),
        (SHADOW, CANARY, ["Tries v3 in production as a canary, which answers 5 %"]),
        (CANARY, "v3", ["Promotes v3 to production"]),
        (CANARY, HELD, ["Ends the rollout of v3 in production", "Holds v3 in production"]),
        (HELD, "v2", ["Lifts the hold of v3 in production"]),
        (SHADOW, {"version": "v1", "shadow": "v3"}, ["Rolls production back to v1"]),
    ],
)
def test_what_a_rollout_moves_is_said(project, before, after, said):
    stepped(project, before)
    project.declare(production=after)
    blocked(project)
    lines = gate(0).splitlines()
    assert lines[lines.index("fail: 1 of 3 verdicts block") + 1 : -1] == said


def test_a_candidate_is_verified_as_a_version_is(project):
    project.git("tag", "--annotate", f"{NAME}@v4", "--message", "by hand")
    stepped(project, "v2")
    project.declare(production={"version": "v2", "shadow": "v4"})
    assert "refused: flight-delay@v4: " in gate(1)
