"""A retraining on a branch of this repository: what it changes, what it leaves alone, and what it does not do twice."""

import hashlib
import json
import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.monitor.tables import performance
from tests.retrain import project as made
from tests.retrain.project import BRANCH, DATA, DECLARED
from tests.rig.repository import git
from trunkline.cli import trunkline
from trunkline.core import durations
from trunkline.core.errors import OutsideError, UserError
from trunkline.retrain import causes, propose
from trunkline.retrain.propose import Nothing, Where, Wish

AUGUST = ("2013-02..2013-07", "2013-08")


@pytest.fixture(scope="module")
def origin(root, tmp_path_factory):
    folder = made.create(tmp_path_factory.mktemp("project"), root)
    git(folder.parent, "clone", "--quiet", "--bare", str(folder), f"{folder}.git")
    return Path(f"{folder}.git")


@pytest.fixture
def project(origin, tmp_path, monkeypatch):
    """A clone of an origin, as one has it; the working tree holds an edit of somebody."""
    git(tmp_path, "clone", "--quiet", "--bare", str(origin), "origin.git")
    git(tmp_path, "clone", "--quiet", "origin.git", "clone")
    monkeypatch.chdir(tmp_path / "clone")
    return tmp_path / "clone"


def push(project, path, edit, title="A change"):
    """Change a file on the trunk of origin."""
    git(project, "checkout", "--quiet", "main")
    file = project / path
    file.write_text(edit(file.read_text(encoding="utf-8")), encoding="utf-8")
    made.commit(project, title)
    git(project, "push", "--quiet", "origin", "main")


def ran(*words, code=0):
    done = CliRunner().invoke(trunkline, ["retrain", *words], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    assert (done.return_value if done.return_value is not None else done.exit_code) == code, done.output
    return done.stdout


def local(*words, as_of="2013-09-05"):
    return json.loads(ran("--because", "a wish", "--as-of", as_of, "--local", "--json", *words))


def test_one_commit_on_the_tip_of_the_trunk_changes_the_declared_windows_and_nothing_else(project):
    (project / DATA).write_text("somebody's: edit\n", encoding="utf-8")
    done = local()
    assert (done["branch"], done["step"], done["files"]) == (BRANCH, "new", [DATA])
    assert git(project, "rev-parse", BRANCH, f"{BRANCH}^").split() == [
        done["commit"],
        git(project, "rev-parse", "origin/main"),
    ]
    assert git(project, "diff", "--numstat", "origin/main", BRANCH) == f"1\t1\t{DATA}"
    assert "- Asked for: a wish <!-- trunkline:cause " in done["body"]
    assert made.declared(project, BRANCH) == AUGUST
    assert "\nAsked for: a wish\n" in git(project, "log", "-1", "--format=%B", BRANCH)
    assert (project / DATA).read_text(encoding="utf-8") == "somebody's: edit\n"
    assert git(project, "branch", "--show-current") == "main"
    assert len(git(project, "worktree", "list").splitlines()) == 1
    again = local()
    assert (again["step"], again["commit"]) == ("kept", done["commit"])
    assert ran("--because", "x", "--as-of", "2013-09-05", "--local").splitlines()[1] == (
        f"run: git push origin {BRANCH}, and open a pull request"
    )


def test_a_dry_run_shows_the_change_and_the_text_and_writes_nothing(project):
    before = git(project, "for-each-ref")
    shown = ran("--because", "a <b>wish</b>", "--as-of", "2013-09-05", "--dry-run")
    assert f"\n-window: {{train: {DECLARED[0]}, holdout: {DECLARED[1]}}}\n" in shown
    assert f"\n+window: {{train: {AUGUST[0]}, holdout: {AUGUST[1]}}}\n" in shown
    assert "- Asked for: a &lt;b&gt;wish&lt;/b&gt; <!-- trunkline:cause " in shown
    assert git(project, "for-each-ref") == before


def test_without_a_reason_or_newer_rows_there_is_nothing_to_do(project):
    assert ran("--as-of", "2013-09-05", "--local").startswith("nothing asks for a retraining: ")
    assert ran("--because", "x", "--as-of", "2013-09-03T03:59", "--local").startswith(
        "there is nothing newer to learn from: no outcomes are all known of a month after the declared holdout, 2013-07"
    )
    assert git(project, "branch", "--list", "retrain/*") == ""
    with pytest.raises(Exception, match="--as-of is a replay of the past"):
        ran("--as-of", "2013-09-05")
    with pytest.raises(UserError, match=r"no forge: set .*; or ask no forge: --local"):
        ran("--because", "x")


def test_a_schedule_asks_once_the_newest_rows_are_that_much_later(project):
    monitoring = "conf/monitoring/flights.yaml"
    push(project, monitoring, lambda text: f"{text}retrain: {{every: 60d, window: grow}}\n")
    assert ran("--as-of", "2013-09-20", "--local").startswith("nothing asks for a retraining")
    done = json.loads(ran("--as-of", "2013-10-05", "--local", "--json"))
    assert made.declared(project, done["commit"]) == ("2013-01..2013-08", "2013-09")
    assert "\nBy schedule, every 60d: " in git(project, "log", "-1", "--format=%B", BRANCH)


def test_rows_that_were_tried_are_tried_on_until_the_holdout_is_another_one_altogether(project):
    push(project, DATA, lambda text: text.replace(DECLARED[1], "2013-07..2013-08"))
    first = local(as_of="2013-10-05")
    assert made.declared(project, first["commit"]) == ("2013-02..2013-07", "2013-08..2013-09")
    kept = local(as_of="2013-11-05")
    assert (kept["step"], kept["commit"]) == ("kept", first["commit"]), "two holdouts that share September"
    push(project, DATA, lambda text: f"# Somebody's\n{text}")
    again = local(as_of="2013-11-05")
    assert (again["step"], made.declared(project, again["commit"])) == (
        "again",
        ("2013-02..2013-07", "2013-08..2013-09"),
    )
    assert git(project, "rev-parse", f"{again['commit']}^") == git(project, "rev-parse", "origin/main")
    later = local(as_of="2013-12-05")
    assert (later["step"], made.declared(project, later["commit"])) == (
        "again",
        ("2013-04..2013-09", "2013-10..2013-11"),
    )


def test_what_is_merged_is_history_and_what_is_taken_back_is_not_tried_again(project):
    first = local()
    git(project, "merge", "--quiet", "--no-ff", "-m", "Merge it", BRANCH)
    git(project, "push", "--quiet", "origin", "main")
    assert ran("--because", "x", "--as-of", "2013-09-20", "--local").startswith("there is nothing newer to learn from")
    second = local(as_of="2013-10-05")
    assert (second["step"], made.declared(project, second["commit"])) == ("new", ("2013-03..2013-08", "2013-09"))
    git(project, "branch", "--quiet", "--force", BRANCH, first["commit"])
    git(project, "revert", "--no-edit", "--mainline", "1", "HEAD")
    git(project, "push", "--quiet", "origin", "main")
    assert f"git branch -D {BRANCH}" in ran("--because", "x", "--as-of", "2013-09-20", "--local")
    assert git(project, "rev-parse", BRANCH) == first["commit"]
    assert local(as_of="2013-10-05")["step"] == "again"


def test_a_commit_of_a_person_stays_on_the_branch(project):
    local()
    git(project, "checkout", "--quiet", BRANCH)
    (project / DATA).write_text((project / DATA).read_text(encoding="utf-8") + "\n# Longer\n", encoding="utf-8")
    own = made.commit(project, "Mine")
    git(project, "checkout", "--quiet", "main")
    done = local(as_of="2013-12-05")
    assert (done["step"], done["commit"], git(project, "rev-parse", BRANCH)) == ("a person's", own, own)


TIMED = "mkdir -p reports .dvc/tmp/trunkline && echo 2.5 > .dvc/tmp/trunkline/seen"  # as a stage of ours does
STAGE = f"{{cmd: {TIMED} && cp DATA reports/seen.yaml, deps: [DATA], outs: [reports/seen.yaml: {{cache: false}}]}}"


def test_with_run_the_results_are_a_second_commit_and_a_pipeline_that_fails_leaves_no_branch(project):
    git(project, "rm", "--quiet", "dvc.lock")
    (project / ".dvc").mkdir()
    for name, content in {".dvc/config": "", ".gitignore": ".dvc/*\n!.dvc/config\n", "dvc.yaml": ""}.items():
        (project / name).write_text(content, encoding="utf-8")
    push(project, "dvc.yaml", lambda _: f"stages: {{seen: {{cmd: exit 4, deps: [{DATA}]}}}}\n", "A pipeline")
    with pytest.raises(OutsideError, match=r"dvc repro failed on \w{12}: .*seen"):
        local("--run")
    assert git(project, "branch", "--list", "retrain/*") == ""
    push(project, "dvc.yaml", lambda _: f"stages: {{seen: {STAGE.replace('DATA', DATA)}}}\n", "A better one")
    local()
    done = local("--run")
    assert (done["step"], done["computed"]) == ("kept", True)
    titles = git(project, "log", "--reverse", "--format=%s", f"origin/main..{BRANCH}").splitlines()
    assert (titles[0], len(titles)) == ("Retrain flight-delay on 2013-02..2013-07", 2)
    assert made.declared(project, BRANCH) == AUGUST
    assert git(project, "show", f"{BRANCH}:reports/seen.yaml") == git(project, "show", f"{BRANCH}:{DATA}")
    again = local("--run")
    assert (again["commit"], again["computed"]) == (done["commit"], True)
    assert not (project / "reports").exists()
    assert durations.read(project) == {"seen": 2.5}, "for the text, and for trunkline plan"


def incoming(project):
    """Let a source be what is in a folder of the project, which is not in git."""
    (project / "incoming").mkdir()
    (project / "incoming/rows.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    return "{kind: files, url: incoming/, glob: '*.csv'}"


PINNED = {"rows.csv": hashlib.sha256(b"a,b\n1,2\n").hexdigest()}


def test_pins_move_with_the_windows(project):
    source = incoming(project)
    push(project, DATA, lambda text: re.sub("planes: .*", f"planes: {source}", text))
    done = local()
    assert (done["windows"]["after"]["holdout"], done["pins"]) == (
        "2013-08-01..2013-08-31",
        ["data.sources.planes.files.rows.csv"],
    )
    assert yaml.safe_load(git(project, "show", f"{BRANCH}:{DATA}"))["sources"]["planes"]["files"] == PINNED


def test_pins_alone_move_for_a_person_and_not_for_an_alert_again_and_again(project):
    source = incoming(project)
    push(project, DATA, lambda text: re.sub("planes: .*", f"planes: {source}", text))
    where = Where(project, "main", os.environ, None, print, local=True)
    worse = made.report(performance([0.7] * 3 + [0.61] * 5))
    alert = Wish(datetime(2013, 8, 20, tzinfo=UTC), worse, causes.asking(worse))
    assert isinstance(propose.prepare(where, alert), Nothing)
    proposal = propose.prepare(where, replace(alert, because="a wish"))
    assert (len(proposal.change.moves), proposal.change.after) == (1, proposal.change.before)


def test_where_a_hash_splits_the_rows_pins_move_alone(project):
    push(project, "conf/config.yaml", lambda text: text.replace("experiment: null", "experiment: diabetes"))
    push(project, "models/registry.yaml", lambda _: "diabetes: {staging: null, production: null}\n")
    source, data = incoming(project), "conf/data/diabetes.yaml"
    push(project, data, lambda text: re.sub(r"(?s)patients:.*\n\nobs", f"patients: {source}\n\nobs", text))
    done = local()
    assert (done["windows"], done["files"]) == ({"before": None, "after": None}, [data])
    assert done["title"] == "Retrain diabetes on what its sources are now"
    assert yaml.safe_load(git(project, "show", f"{done['branch']}:{data}"))["sources"]["patients"]["files"] == PINNED
    git(project, "push", "--quiet", "origin", f"{done['branch']}:main")
    assert ran("--because", "x", "--local").startswith("there is nothing newer to learn from: every source is what")
