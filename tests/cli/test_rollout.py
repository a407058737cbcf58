"""`trunkline rollout` finds the step, judges it by the log, and says so in a table, as JSON and as a page."""

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.deploy.rollout import logs
from tests.deploy.rollout.logs import SINCE, Fault, Traffic, write
from tests.rig.repository import git
from trunkline.cli.rollout import rollout as verb
from trunkline.core.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden/rollout"
STEPS = {
    "key": ["carrier", "flight"],
    "steps": [{"shadow": 100}, {"canary": 25, "for": "12h"}],
    "rules": {"slices": ["origin"]},
}
AS_OF = ["--as-of", "2026-11-02T20:00"]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    write(folder, Traffic("canary", 25, hours=12, requests=1500), Fault(bias=2, only="JFK", failing=0.002))
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose commit declares a canary at the time from which the log has one."""
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    environments = {"staging": {}, "production": {"rollout": STEPS}}
    params = {
        "name": "late",
        "deploy": {"environments": environments},
        "data": yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))["data"],
    }
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    Path("models").mkdir()
    declare("{version: v4, shadow: v5}", "2026-11-01T08:00:00Z")
    declare("{version: v4, canary: {version: v5, share: 25}}", "2026-11-02T13:00:00+05:00")  # which is SINCE
    declare("{version: v4, canary: {version: v5, share: 25}, hold: [v3]}", "2026-11-02T09:00:00Z")
    return tmp_path


def declare(text, date):
    Path("models/registry.yaml").write_text(f"late: {{staging: null, production: {text}}}\n", encoding="utf-8")
    git(Path(), "add", "models")
    git(Path(), "commit", "--quiet", "--message", "change", GIT_AUTHOR_DATE=date, GIT_COMMITTER_DATE=date)


def run(*arguments):
    return CliRunner().invoke(verb, arguments, catch_exceptions=False)


def test_it_says_what_it_found_and_exits_1_where_the_answer_is_to_go_back(project, log):
    told = run("--log", str(log), *AS_OF)
    assert told.exit_code == 1
    assert told.output == (GOLDEN / "table.txt").read_text(encoding="utf-8")


def test_a_server_that_has_logged_nothing_yet_is_waited_for(project):
    with pytest.raises(UserError, match="log: no prediction log is there"):
        run("--log", "log")
    Path("log").mkdir()  # as a server that starts does
    told = run("--log", "log", *AS_OF, "--json")
    assert told.exit_code == 0
    answer = json.loads(told.output)
    assert (answer["answer"], answer["rows"]) == ("hold", 0)


def test_a_page_has_all_of_it_and_loads_nothing(project, log):
    assert run("--log", str(log), *AS_OF, "--html", "page.html").exit_code == 1
    page = Path("page.html").read_text(encoding="utf-8")
    assert "go back" in page
    assert page.count("<svg") == 8  # six rules hour by hour, the scores, and one rule by slice
    assert not re.search(r'(src|href)="(?!#)', page)


def test_what_clients_sent_as_a_value_of_a_slice_stays_text(project, tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "ORIGINS", ("[red]E\x1b[2J",))
    write(tmp_path / "log", Traffic("canary", 25, hours=3), Fault(bias=5))
    told = run("--log", str(tmp_path / "log"), *AS_OF)
    assert "mean of origin [red]E[2J: the mean" in told.output
    assert "\x1b" not in told.output


def test_as_json_every_finding_is_there_with_its_numbers(project, log):
    content = json.loads(run("--log", str(log), *AS_OF, "--json").output)
    assert content["answer"] == "go back"
    assert (content["kind"], content["share"], content["step"], content["change"]) == ("canary", 25, 1, "commit")
    assert content["since"] == SINCE.isoformat()  # a hold that came later began no step
    broken = [(each["rule"], each["label"]) for each in content["findings"] if each["verdict"] == "breaks"]
    assert ("mean", "JFK") in broken
    assert all(label in (None, "JFK") for _, label in broken)


def test_before_anything_is_in_the_log_it_holds(project, log):
    told = run("--log", str(log), "--since", "2026-11-03", "--as-of", "2026-11-03T01:00", "--html", "page.html")
    assert told.exit_code == 0
    assert (
        "hold: 1.0 h of 12.0 h have passed\nhold: 0 of 1,000 rows of v5 are there\nhold: errors: no rows" in told.output
    )


def test_without_a_rollout_there_is_nothing_to_judge(project):
    declare("v4", "2026-11-02T10:00:00Z")
    assert run().output == "production: no rollout runs there\n"


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        (["--env", "staging"], None, r"deploy\.environments\.staging\.rollout: is not declared; write"),
        (["--env", "produktion"], None, "no such environment in conf/deploy; did you mean 'production'"),
        ([], "{version: v4, canary: {version: v5, share: 10}}", "has no canary 10, only shadow 100, canary 25"),
    ],
)
def test_what_is_not_declared_is_named_with_what_to_write(project, arguments, text, message):
    if text:
        declare(text, "2026-11-02T10:00:00Z")
    with pytest.raises(UserError, match=message):
        run(*arguments)


def test_a_step_that_nobody_committed_has_no_beginning(project, log):
    Path("models/registry.yaml").write_text("late: {production: {version: v4, shadow: v5}}", encoding="utf-8")
    with pytest.raises(UserError, match="no commit declares it as it is here; commit it, or say since when: --since"):
        run("--log", str(log))
