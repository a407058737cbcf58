"""Promotions and rollbacks, with real remotes, signed versions, real bundles, and the rig's forge."""

import json
import os
import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.deploy.rollout import logs
from tests.deploy.rollout.logs import Fault, Traffic
from tests.releases import NAME, REGISTRY, START, history, registry
from tests.rig.repository import git
from tests.rig.rig import rigged
from trunkline.adapters.forge.connect import connect
from trunkline.cli import trunkline
from trunkline.core.errors import TrunklineError, UserError
from trunkline.release.signing import MissingError

# pygtrie, which DVC uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return history(tmp_path_factory.mktemp("history"))


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A clone of a bare origin, as one has it; the working tree holds an edit of somebody."""
    return cloned(made, tmp_path, monkeypatch)


def cloned(made, folder, monkeypatch):
    clone = made.clone(folder / "origin.git", "--bare").clone(folder / "clone")
    for name in ("GITHUB_REPOSITORY", "CI_PROJECT_ID", "GITHUB_TOKEN", "GITLAB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(clone.root)
    return clone


def ran(*words, code=0):
    done = CliRunner().invoke(trunkline, words, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    assert done.return_value == code if done.return_value is not None else done.exit_code == code, done.output
    return done.output


def at(project, commit):
    return project.git("show", f"{commit}:{REGISTRY}") + "\n"


def text(staging="latest", production="v2"):
    return registry(staging=staging, production=production)


def changed(project, commit):
    return project.git("diff", "--name-only", "origin/main", commit).split()


def test_a_promotion_is_a_commit_of_one_value_on_the_tip_of_the_trunk(project):
    project.write(REGISTRY, "somebody's: edit\n")
    found = json.loads(ran("promote", "v3", "--to", "production", "--local", "--json"))
    assert found["branch"] == "promote/production-v3"
    assert at(project, found["branch"]) == text(production="v3")
    assert changed(project, found["branch"]) == [REGISTRY]
    assert project.git("rev-parse", f"{found['branch']}^") == project.git("rev-parse", "origin/main")
    assert project.read(REGISTRY) == "somebody's: edit\n"
    assert project.git("branch", "--show-current") == "main"
    assert json.loads(ran("promote", f"{NAME}@v3", "--to", "production", "--local", "--json")) == found
    told = ran("promote", "v3", "--to", "production", "--local")
    assert told.splitlines()[1] == "run: git push origin promote/production-v3, and open a pull request"


def test_a_dry_run_shows_the_change_and_the_evidence_and_writes_nothing(project):
    before = project.git("for-each-ref")
    told = ran("promote", "v3", "--to", "production", "--dry-run")
    assert f"-{text().splitlines()[1]}\n+{text(production='v3').splitlines()[1]}\n" in told
    assert "\nPromote flight-delay v3 to production\n" in told
    assert "| roc_auc | 0.7600 (0.7500 to 0.7700) | 0.7700 (0.7600 to 0.7800) |" in told
    assert "| #5 | A @\u200bwindow \\| \\`&lt;b&gt;\\` of its own |" in told
    assert "data.window.train" in told
    assert project.git("for-each-ref") == before
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
            "flight-delay.prodution: no such environment in conf/deploy; did you mean 'production'",
        ),
        (("latest", "production"), "flight-delay.production: must be a version such as v3, or null, not 'latest'"),
        (("", "production"), "'' is no version of flight-delay; name one such as v3 or flight-delay@v3"),
        (("3", "production"), "'3' is no version of flight-delay; name one such as v3 or flight-delay@v3"),
    ],
)
def test_a_version_or_environment_that_there_is_not_is_refused(project, words, said):
    with pytest.raises(UserError) as refused:
        ran("promote", words[0], "--to", words[1], "--local")
    assert said in str(refused.value)


def test_staging_may_be_pinned_and_follow_again(project):
    ran("promote", "v2", "--to", "staging", "--local")
    assert at(project, "promote/staging-v2") == text(staging="v2")
    project.git("push", "--quiet", "origin", "promote/staging-v2:main")
    ran("promote", "latest", "--to", "staging", "--local")
    assert at(project, "promote/staging-latest") == text()


def test_a_rollback_goes_to_what_ran_before_and_tries_its_bundle_first(project):
    found = json.loads(ran("rollback", "--to", "production", "--reason", "late", "--local", "--json"))
    assert (found["branch"], found["version"]) == ("rollback/production-v1", "v1")
    assert at(project, found["branch"]) == text(production="v1")
    message = project.git("log", "-1", "--format=%B", found["branch"])
    assert message.startswith("Roll production back to flight-delay v1\n\nIn place of v2. Bundle: ")
    assert message.endswith("\nReason: late")
    body = json.loads(ran("rollback", "--to", "production", "--dry-run", "--json"))["body"]
    assert "- v1 ran here before; " in body
    assert f"Its bundle `{found['digest'][:12]}` could be fetched and loaded, and gives 1 golden row its score." in body


def merged(project, branch):
    project.git("push", "--quiet", "origin", f"{branch}:main")


def test_what_was_rolled_back_is_not_rolled_back_to(project):
    ran("promote", "v3", "--to", "production", "--local")
    merged(project, "promote/production-v3")
    assert json.loads(ran("rollback", "--to", "production", "--local", "--json"))["version"] == "v2"
    merged(project, "rollback/production-v2")
    assert json.loads(ran("rollback", "--to", "production", "--local", "--json"))["version"] == "v1"


def test_what_latest_stood_for_is_decided_by_the_tags(project):
    found = json.loads(ran("rollback", "--to", "staging", "--local", "--json"))
    assert (found["before"], found["after"]) == ("latest", "v2")
    assert at(project, "rollback/staging-v2") == text(staging="v2")


def test_without_a_version_before_one_must_be_named(project):
    ran("promote", "v1", "--to", "staging", "--local")
    project.git("checkout", "--quiet", "--orphan", "new")
    project.declare(staging="v3", production="v3")
    project.commit("A new history")
    project.git("push", "--quiet", "--force", "origin", "new:main")
    with pytest.raises(UserError, match="nothing ran in production before; name a version with --version"):
        ran("rollback", "--to", "production", "--local")
    body = json.loads(ran("rollback", "--to", "production", "--version", "v1", "--dry-run", "--json"))["body"]
    assert "- v1 has **never run here**; " in body


def test_a_revert_of_the_merge_is_the_same_one_line(project):
    ran("promote", "v3", "--to", "production", "--local")
    project.git("merge", "--quiet", "--no-ff", "-m", "Merge pull request #6 from a/b", "promote/production-v3")
    project.git("push", "--quiet", "origin", "main")
    ran("rollback", "--to", "production", "--local")
    project.git("revert", "--no-edit", "--mainline", "1", "HEAD")
    assert project.git("rev-parse", "HEAD^{tree}") == project.git("rev-parse", "rollback/production-v2^{tree}")


def damaged(folder, monkeypatch, change):
    """A clone of a project in which something was done after the releases, and pushed."""
    other = history(folder / "damaged")
    change(other)
    other.commit("Something was done")
    return cloned(other, folder, monkeypatch)


def without_bundles(project):
    shutil.rmtree(project.store)


def other_bytes(project):
    for path in project.store.rglob("*"):
        if path.is_file() and b"# Sums" in path.read_bytes():
            path.write_text("# Sums: changed\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_bundles, r"flight-delay@v1: its bundle could not be fetched .*run: dvc fetch --all-tags"),
        (
            other_bytes,
            r"card\.md: was changed: its sha256 is not the one in manifest\.json|its bundle could not be fetched",
        ),
    ],
)
def test_a_rollback_to_what_cannot_be_run_is_not_proposed(tmp_path, monkeypatch, change, said):
    project = damaged(tmp_path, monkeypatch, change)
    with pytest.raises(TrunklineError, match=said):
        ran("rollback", "--to", "production", "--local")
    assert project.git("branch", "--list", "rollback/*") == ""


def test_a_bundle_that_scores_otherwise_today_is_not_rolled_back_to(tmp_path, monkeypatch):
    def change(project):
        project.build(0.78, excess=0.5).commit()
        project.release()
        project.build(0.79).commit()
        project.release()

    damaged(tmp_path, monkeypatch, change)
    with pytest.raises(UserError, match=r"flight-delay@v4: golden\.json: a request scores .*, not "):
        ran("rollback", "--to", "staging", "--local")
    ran("promote", "v4", "--to", "production", "--local")  # what loads it looks there; a promotion has its gates


def failed(project):
    project.build(0.5).commit()
    project.release()


def undeclared(project):
    project.build(0.78).commit()
    project.release(signer="other")


def unsigned(project):
    project.git("tag", "--annotate", f"{NAME}@v4", "--message", "by hand")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (failed, "refused: flight-delay@v4: "),
        (undeclared, "refused: flight-delay@v4: signed by "),
        (unsigned, "refused: flight-delay@v4: "),
    ],
)
def test_a_version_whose_chain_does_not_hold_is_refused(tmp_path, monkeypatch, change, said):
    project = damaged(tmp_path, monkeypatch, change)
    for words in (("promote", "v4", "--to", "production"), ("rollback", "--to", "production", "--version", "v4")):
        told = ran(*words, "--local", code=1)
        assert told.startswith(said), told
        content = json.loads(ran(*words, "--local", "--json", code=1))
        assert (content["what"], f"refused: {content['reason']}\n") == ("refused", told)
    assert project.git("branch", "--list", "promote/*") == ""


@pytest.mark.parametrize(
    "words",
    [
        ("verify", "v2"),
        ("promote", "v1", "--to", "staging", "--dry-run"),
        ("trace", "v2"),
        ("audit", "--since", "2020-01-01", "--offline"),
        ("gate", "--base", "HEAD~1"),
    ],
    ids=lambda words: words[0],
)
def test_without_the_libraries_no_verb_refuses_but_says_what_to_install(project, monkeypatch, words):
    project.git("reset", "--quiet", "--hard")
    project.declare(production="v1")
    project.git("commit", "--quiet", "--all", "--message", "Run v1")
    monkeypatch.setattr("trunkline.release.signing.find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"is not installed; run: pip install 'trunkline\[sign\]'"):
        ran(*words)


def test_a_tag_that_was_moved_at_origin_is_refused(made, tmp_path, monkeypatch):
    project = cloned(made, tmp_path, monkeypatch)
    name = f"{NAME}@v3"
    git(
        tmp_path / "origin.git", "tag", "--annotate", "--force", name, "--message", "elsewhere", f"{NAME}@v1^{{commit}}"
    )
    told = ran("promote", "v3", "--to", "production", "--local", code=1)
    assert (
        told
        == "refused: flight-delay@v3: origin has another tag of this name: it was moved, and a version never changes\n"
    )
    assert project.git("rev-parse", f"{name}^{{commit}}") == made.git("rev-parse", f"{name}^{{commit}}")
    ran("promote", "v1", "--to", "production", "--local")  # what was not moved


def test_a_shallow_clone_says_what_to_fetch(made, tmp_path, monkeypatch):
    git(tmp_path, "clone", "--quiet", "--depth", "1", made.root.as_uri(), "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    with pytest.raises(UserError, match="run: git fetch --unshallow"):
        ran("rollback", "--to", "production", "--local")


def test_a_registry_file_that_is_broken_is_told_as_it_is(project):
    project.write(REGISTRY, f"{NAME}: {{staging: v9, production: v2}}\n")
    project.commit("An unknown version")
    project.git("push", "--quiet", "origin", "main")
    with pytest.raises(UserError, match=r"models/registry.yaml: flight-delay\.staging: v9 was never released"):
        ran("rollback", "--to", "production", "--local")


def test_without_a_forge_it_is_said_before_anything_is_done(project):
    with pytest.raises(UserError, match=r"no forge: set .*; or ask no forge: --local"):
        ran("promote", "v3", "--to", "production")
    assert project.git("for-each-ref", "refs/heads/promote") == ""


@pytest.fixture
def stepped(project):
    """The same, where conf/deploy has the steps of a rollout of production."""
    environments = {"staging": {"merge": "automatic"}, "production": {"rollout": {"key": ["origin"]}}}
    project.git("reset", "--quiet", "--hard")
    project.params(deploy__environments=environments).push("Steps")
    return project


SHADOW, HELD = {"version": "v2", "shadow": "v3"}, {"version": "v2", "hold": ["v3"]}


def test_a_promotion_begins_a_rollout_where_conf_deploy_has_steps(stepped):
    made = json.loads(ran("promote", "v3", "--to", "production", "--local", "--json"))
    assert (made["branch"], made["title"]) == (
        "promote/production-v3",
        "Begin the rollout of flight-delay v3 to production",
    )
    assert at(stepped, made["branch"]) == text(production=SHADOW)
    told = ran("promote", "v3", "--to", "production", "--dry-run")
    assert "**flight-delay v3** for `production`, beside v2." in told
    assert "It is tried first: it scores too, and does not answer, 100 % of the requests, which is step 1 of 3" in told
    stepped.git("branch", "--quiet", "-D", made["branch"])
    made = json.loads(ran("promote", "v3", "--to", "production", "--at-once", "--local", "--json"))
    assert (at(stepped, made["branch"]), made["title"]) == (
        text(production="v3"),
        "Promote flight-delay v3 to production",
    )
    ran("promote", "v2", "--to", "staging", "--local")
    assert at(stepped, "promote/staging-v2") == text(staging="v2"), "which has no steps"


def test_what_runs_already_needs_no_rollout_and_latest_has_none(stepped):
    steps = {"staging": {"rollout": {"key": ["origin"]}}, "production": {}}
    stepped.params(deploy__environments=steps).declare(staging="v2").push("Steps of staging")
    told = ran("promote", "latest", "--to", "staging", "--local", code=1)
    assert "staging: latest would replace what runs, without a rollout; name a version, or --at-once" in told
    ran("promote", "latest", "--to", "staging", "--at-once", "--local")
    assert at(stepped, "promote/staging-latest") == text()
    merged(stepped, "promote/staging-latest")
    ran("promote", "v3", "--to", "staging", "--local")
    assert at(stepped, "promote/staging-v3") == text(staging="v3"), "which is what latest is"


def test_one_rollout_runs_at_a_time_and_a_rollback_ends_it_with_a_hold(stepped):
    ran("promote", "v3", "--to", "production", "--local")
    merged(stepped, "promote/production-v3")
    told = ran("promote", "v1", "--to", "production", "--local", code=1)
    assert told.startswith("refused: models/registry.yaml: flight-delay.production: a rollout of v3 runs, and one at a")
    assert told.endswith("and at once with: trunkline rollback --to production\n")
    back = json.loads(ran("rollback", "--to", "production", "--local", "--json"))
    assert (back["title"], at(stepped, back["branch"])) == (
        "Take flight-delay v3 back from production",
        text(production=HELD),
    )
    further = json.loads(ran("rollback", "--to", "production", "--version", "v1", "--local", "--json"))
    assert (further["title"], at(stepped, further["branch"])) == (
        "Roll production back to flight-delay v1",
        text(production={"version": "v1", "hold": ["v3"]}),
    )
    merged(stepped, back["branch"])
    for words in (("promote", "v3"), ("promote", "v3", "--at-once"), ("rollback", "--version", "v3")):
        told = ran(*words, "--to", "production", "--local", code=1)
        assert "v3, which is held: it was taken back here; name another version, or lift the hold: remove v3" in told


@pytest.fixture
def rig(made, tmp_path, monkeypatch):
    """The forge with the project on it, and a clone in which one works."""
    with rigged(tmp_path / "rig") as found:
        found.import_(made.root)
        found.protect("trunkline")
        found.state.auto_merge_allowed = True
        token = found.state.grant("promoter[bot]", {"contents": "write", "pull-requests": "write", "statuses": "write"})
        for name, value in found.variables(token).items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(found.clone(tmp_path / "clone"))
        yield found


def test_a_promotion_to_production_waits_for_an_approval_and_is_opened_once(rig):
    found = json.loads(ran("promote", "v3", "--to", "production", "--json"))
    (pull,) = rig.state.pulls.values()
    assert (pull.title, pull.head_ref, pull.base_ref) == (
        "Promote flight-delay v3 to production",
        "promote/production-v3",
        "main",
    )
    assert pull.head_sha == found["commit"] == rig.upstream.sha("promote/production-v3")
    assert (found["number"], found["url"], found["merged"]) == (
        pull.number,
        f"{rig.forge.url}/acme/model/pull/1",
        False,
    )
    assert "| roc_auc | 0.7600 (0.7500 to 0.7700) | 0.7700 (0.7600 to 0.7800) |" in pull.body
    assert pull.auto is None
    told = ran("promote", "v3", "--to", "production")
    assert told == f"#1 Promote flight-delay v3 to production: waits for an approval\n{found['url']}\n"
    assert len(rig.state.pulls) == 1
    assert pull.head_sha == found["commit"]


def test_a_promotion_to_staging_merges_when_its_checks_pass(rig):
    told = ran("promote", "v2", "--to", "staging")
    assert told.startswith("#1 Promote flight-delay v2 to staging: merges when its checks pass\n")
    pull = rig.state.pulls[1]
    assert not pull.merged
    connect(os.environ).set_status(pull.head_sha, "trunkline", "success", "fine", None)
    assert pull.merged
    assert ran("promote", "v2", "--to", "staging") == "staging is declared to run v2 already\n"


def test_results_that_a_run_has_put_on_the_branch_stay_and_anything_else_goes(rig):
    first = json.loads(ran("promote", "v3", "--to", "production", "--json"))
    results = rig.push(first["branch"], {"reports/gates.json": "{}", "dvc.lock": "stages: {}\n"})
    assert json.loads(ran("promote", "v3", "--to", "production", "--json"))["commit"] == results
    rig.push(first["branch"], {"src/trunkline/backdoor.py": "1\n"})
    again = json.loads(ran("promote", "v3", "--to", "production", "--json"))
    assert again["number"] == first["number"]
    assert rig.state.pulls[1].head_sha == again["commit"]
    with rig.upstream.checkout(again["commit"]) as folder:
        assert not (folder / "src").exists()


def test_on_a_trunk_that_has_moved_on_the_branch_is_made_anew(rig):
    first = json.loads(ran("rollback", "--to", "production", "--json"))
    moved_on = rig.push("main", {"README.md": "more\n"})
    again = json.loads(ran("rollback", "--to", "production", "--json"))
    assert again["number"] == first["number"]
    assert again["commit"] != first["commit"]
    assert git(rig.upstream.path, "rev-parse", f"{again['commit']}^") == moved_on
    assert rig.state.pulls[1].head_sha == again["commit"]


def test_a_forge_that_fails_after_the_effect_is_asked_again_and_opens_no_second(rig):
    rig.forge.fail("POST", "/pulls$", 1, 502, after_effect=True)
    ran("promote", "v3", "--to", "production")
    assert len(rig.state.pulls) == 1


TRIALS = {"key": ["carrier", "flight"], "steps": [{"shadow": 100, "for": "1h", "requests": 100}, {"canary": 50}]}


@pytest.fixture
def tried(made, tmp_path, monkeypatch):
    """A clone in whose trunk v3 was a shadow of staging for two hours, and then a canary of 50 %; all in one log."""
    project = made.clone(tmp_path / "tried")
    environments = {"staging": {"rollout": TRIALS}, "production": {}}
    project.params(deploy__environments=environments, serving={"log": {"to": "log"}})
    data = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))["data"]
    project.params(data=data).declare(staging={"version": "v2", "shadow": "v3"}).commit("Try v3")
    began = START + timedelta(hours=project.hours)
    project.hours += 1
    project.declare(staging={"version": "v2", "canary": {"version": "v3", "share": 50}}).commit("Let v3 answer")
    clone = cloned(project, tmp_path, monkeypatch)
    monkeypatch.setattr(logs, "CURRENT", "v2")
    monkeypatch.setattr(logs, "CANDIDATE", "v3")
    logs.write("log", Traffic("shadow", 100, hours=2), Fault(), environment="staging", start=began)
    return clone


def test_a_promotion_shows_what_staging_found(tried):
    body = json.loads(ran("promote", "v3", "--to", "production", "--dry-run", "--json"))["body"]
    _, shadow, canary, _ = re.split(r"^### In staging, as |^### What was merged", body, flags=re.MULTILINE)
    assert shadow.startswith(
        "shadow\n\n**step up**: 1,200 rows in 1h or more, and every rule passes\n\n"
        "`v3` as shadow of 100 % beside `v2`, since"
    )
    assert "\n| errors | all rows | passes | 0 | 0.01 |" in shadow
    assert canary == "canary of 50 %\n\nThe log has no rows of it there.\n\n"
    assert "In staging" not in json.loads(ran("promote", "v1", "--to", "production", "--dry-run", "--json"))["body"]
    shutil.rmtree("log")
    body = json.loads(ran("promote", "v3", "--to", "production", "--dry-run", "--json"))["body"]
    assert "### In staging, as shadow\n\nNot known: log: no prediction log is there; " in body
