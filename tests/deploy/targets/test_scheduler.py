"""Files of schedulers that each scheduler itself, or its own types, reads; and what a run of them does to a clone."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.conftest import ROOT
from tests.deploy.targets import validators
from tests.deploy.targets.projects import image, project
from trunkline.cli import trunkline
from trunkline.core.errors import UserError
from trunkline.deploy.targets import scheduler

READERS = Path(__file__).with_name("schedulers")  # a program for each, run where the scheduler is installed
LOCKS = {"airflow": "airflow"}  # Airflow and Prefect want different FastAPIs
PLANTED = {
    "airflow": ("task_id=name", "task_idd=name", "missing 1 required keyword-only argument: 'task_id'"),
    "dagster": ("In(Nothing) for each in before", "In(Nothing) for each in before[1:]", "checkout"),
    "prefect": ("@flow(name=", "@flow(nmae=", "nmae"),
    "argo-workflows": ("workingDir", "workingDirectory", "workingDirectory"),
    "databricks": ("max_concurrent_runs", "max_concurrent_run", "Unexpected field 'max_concurrent_run'"),
}
VERBS = tuple(PLANTED)
SCHEDULE = "0 3 * * 1-5"


def declared(verb: str, folder: Path, **more: Any) -> dict[str, Any]:
    own = {
        "argo-workflows": {"image": image("trunkline")},
        "databricks": {"spark_version": "16.4.x-scala2.12", "node_type": "m5.xlarge"},
    }.get(verb, {"project": str(folder)})
    return {f"deploy__targets__{verb.replace('-', '_')}": {"schedule": SCHEDULE, **own, **more}}


def render(root: Path, verb: str, *arguments: str) -> Path:
    """Render into a folder of a project, and return the file that the scheduler reads."""
    shutil.copy(ROOT / "dvc.yaml", root)
    out = root / "deploy" / verb
    done = CliRunner().invoke(trunkline, ["render", verb, "--project", str(root), "-o", str(out), *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return next(path for path in sorted(out.iterdir()) if path.name != "reproduce.py")


def read(verb: str, *paths: Path, cwd: Path) -> dict[str, Any]:
    """Return what the scheduler has read of each file, by its name; `error` where it refuses it."""
    reader = READERS / f"read_{verb.replace('-', '_')}.py"
    python = validators.environment(LOCKS.get(verb, "schedulers")) / "bin/python"
    own = {
        "AIRFLOW_HOME": str(cwd),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PREFECT_HOME": str(cwd),
        "HOME": str(cwd),
    }
    done = subprocess.run(
        [python, reader, *paths],
        cwd=cwd,
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.mark.parametrize("verb", VERBS)
def test_the_scheduler_reads_its_file_until_a_mistake_is_planted(tmp_path, verb):
    stages = {} if verb == "databricks" else {"tasks": "stages"}
    path = render(project(tmp_path, **declared(verb, tmp_path / "clone", **stages, push=True)), verb)
    before, after, complaint = PLANTED[verb]
    wrong = path.with_stem("wrong")
    text = path.read_text()
    assert before in text
    wrong.write_text(text.replace(before, after))
    answers = read(verb, path, wrong, cwd=tmp_path)
    assert complaint in answers[wrong.name]["error"]
    names = [*yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"], "checkout", "push"]
    assert answers[path.name] == {
        "name": "flight_delay" if verb == "dagster" else "flight-delay",
        "tasks": ["reproduce"] if verb == "databricks" else sorted(names),
        "schedule": {"databricks": "0 0 3 ? * 2-6", "prefect": None}.get(verb, SCHEDULE),
    }


@pytest.fixture
def origin(tmp_path) -> Path:
    """A repository whose lock installs programs that write down what they are called with."""
    folder = tmp_path / "origin"
    (folder / "locks").mkdir(parents=True)
    log = tmp_path / "calls"
    (folder / "locks/install").write_text(
        "#!/bin/sh\nmkdir -p .venv/bin\nfor each in dvc trunkline; do\n"
        f"  printf '#!/bin/sh\\necho %s \"$@\" >>{log}\\n' $each >.venv/bin/$each; chmod +x .venv/bin/$each\ndone\n"
        f"echo install $1 >>{log}\n"
    )
    (folder / "locks/install").chmod(0o755)
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x", *command], cwd=folder, check=True)
    return folder


REPRODUCED = ["install ci", "trunkline ci reproduce run", "trunkline ci reproduce push main"]


@pytest.mark.parametrize("tasks", ["one", "stages"])
def test_dagster_runs_it_in_the_clone_at_the_trunk(tmp_path, origin, tasks):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", origin, clone], check=True)
    (clone / "locks/install").write_text("left by the last run")
    path = render(project(tmp_path / "p", **declared("dagster", clone, tasks=tasks, push=True)), "dagster")
    assert read("dagster", Path("run"), path, cwd=tmp_path) == {"success": True}
    calls = (tmp_path / "calls").read_text().splitlines()
    if tasks == "one":
        assert calls == REPRODUCED
        return
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert (calls[0], calls[-1]) == (REPRODUCED[0], REPRODUCED[-1])
    order = [call.removeprefix("dvc repro --single-item --pull ") for call in calls[1:-1]]
    assert sorted(order) == sorted(stages)
    for name, before in scheduler.upstream(stages).items():
        assert all(order.index(each) < order.index(name) for each in before)


def test_databricks_runs_it_in_a_clone_of_its_own(tmp_path, origin):
    path = render(project(tmp_path / "p", **declared("databricks", tmp_path, push=True)), "databricks")
    script = path.with_name("reproduce.py")
    script.write_text(script.read_text().replace("git@host.example.org:team/flights.git", str(origin)))
    subprocess.run([sys.executable, script], cwd=tmp_path, check=True)
    assert (tmp_path / "calls").read_text().splitlines() == REPRODUCED


def test_each_stage_waits_for_those_that_it_reads_from():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    after = scheduler.upstream(stages)
    assert (after["compose"], after["ingest"], after["validate"]) == ((), ("compose",), ("compose", "ingest"))
    inside = {"a": {"cmd": "x", "outs": [{"data/a": {"cache": False}}]}, "b": {"cmd": "x", "deps": ["data"]}}
    inside |= {"c": {"cmd": "x", "deps": ["data/a/one"]}, "d": {"cmd": "x", "deps": ["data/ab"]}}
    assert scheduler.upstream(inside) == {"a": (), "b": ("a",), "c": ("a",), "d": ()}


@pytest.mark.parametrize(
    ("cron", "quartz"),
    [
        ("0 3 * * 1", "0 0 3 ? * 2"),
        ("*/15 0-6 * * 0,5-7/2", "0 */15 0-6 ? * 1,6-1/2"),
        ("30 4 1,15 */2 *", "0 30 4 1,15 */2 ?"),
    ],
)
def test_a_schedule_is_that_of_quartz(cron, quartz):
    assert scheduler.quartz(cron, "key") == quartz


@pytest.mark.parametrize(
    ("verb", "changes", "message"),
    [
        (
            "airflow",
            {"deploy__targets__airflow": None},
            "deploy.targets.airflow: is missing; declare it in conf/deploy",
        ),
        ("airflow", {"deploy__targets__airflow__schedule": "daily"}, "airflow.schedule"),
        ("airflow", {"deploy__targets__airflow__project": "flights"}, "airflow.project"),
        ("argo-workflows", {"deploy__targets__argo_workflows__image": "x:latest"}, "'x:latest' names no digest"),
        ("argo-workflows", {"deploy__targets__origin": None}, "deploy.targets.origin: is missing"),
        (
            "databricks",
            {"deploy__targets__databricks__schedule": "0 0 1 * 1"},
            "limits days of the month and of the week",
        ),
    ],
)
def test_what_would_not_run_is_refused(tmp_path, verb, changes, message):
    with pytest.raises(UserError, match=re.escape(message)):
        render(project(tmp_path, **(declared(verb, tmp_path) | changes)), verb)


@pytest.mark.parametrize("stage", [{"a@b": {"cmd": "x"}}, {"push": {"cmd": "x"}}, {"each": {"foreach": [1], "do": {}}}])
def test_stages_that_are_no_task_are_refused(stage):
    with pytest.raises(UserError, match=r"is no stage that a task can be made of.*declare: tasks: one"):
        scheduler.upstream(stage)


@pytest.mark.parametrize("verb", VERBS)
def test_the_same_declaration_gives_the_same_bytes(tmp_path, verb):
    root = project(tmp_path, **declared(verb, tmp_path))
    render(root, verb)
    render(root, verb, "--check")
