"""trunkline reconcile and status as processes: exit codes, what is printed, and what Prometheus is told."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.endpoint import until
from tests.forkserver import commands
from tests.releases import Project
from tests.rig.repository import environment
from tests.servers import free_port
from trunkline.release.provenance import ReviewFacts


@pytest.fixture(scope="module")
def project(tmp_path_factory, mlflow_address):
    folder = tmp_path_factory.mktemp("project")
    project = Project(folder / "project", "sums", folder / "remote", folder / "origin.git").create()
    project.params(tracking={"uri": mlflow_address, "experiment": "releases"}).build().push()
    project.release()
    project.release(ReviewFacts(7, "ada", ("grace",)))
    project.declare(staging="latest", production="v1").push("Promote v1 (#8)")
    project.clone(folder / "bare.git", "--bare")
    return project


def command(*arguments):
    return [commands() / "trunkline", *arguments]


def run(project, *arguments):
    clone = project.root.with_name("bare.git")
    done = subprocess.run(
        command(*arguments), cwd=clone, env=environment(), capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def test_the_verbs_tell_the_same(project):
    code, out, err = run(project, "reconcile", "--dry-run")
    assert (code, err) == (1, "")
    assert out.splitlines()[0].startswith("production: progressing: v1; would fetch the bundle of sums@v1 (")
    code, out, err = run(project, "status")
    assert code == 1
    assert re.search(r"production +v1 +null +null +- +20\S+ \S+ +#8 Ada +progressing", out)

    code, out, err = run(project, "reconcile", "--metrics", "gauges.prom")
    assert (code, out) == (0, "production: in-sync: v1\nstaging: in-sync: latest is v2\n"), err
    assert "production: deliver sums@v1 to production\n" in err
    gauges = (project.root.with_name("bare.git") / "gauges.prom").read_text()
    assert 'trunkline_environment_state{environment="production",state="in-sync"} 1.0' in gauges
    assert 'trunkline_environment_info{actual="v2",declared="latest",environment="staging"} 1.0' in gauges
    assert 'trunkline_environment_arm_share{arm="current",environment="production",version="v1"} 100.0' in gauges
    assert 'trunkline_reconcile_actions_total{action="deliver"} 2.0' in gauges

    code, out, err = run(project, "status", "--json")
    said = json.loads(out)
    assert (code, said["staging"]["pull_request"], said["staging"]["author"]) == (0, "#7", "ada")
    assert said["production"]["pull_request"] == "#8"
    assert {one["state"] for one in said.values()} == {"in-sync"}
    code, out, err = run(project, "reconcile", "--json", "--environment", "production")
    assert (code, json.loads(out)["actions"], list(json.loads(out)["environments"])) == (0, [], ["production"])


def test_watching_tells_what_changes_and_ends_when_it_is_told_to(project):
    run(project, "reconcile")
    port, clone = free_port(), project.root.with_name("bare.git")
    arguments = ["reconcile", "--watch", "1s", "--metrics", str(port)]
    printed = project.root.with_name("printed")
    with printed.open("w") as file:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("trunkline"), *arguments],
            cwd=clone,
            env=environment() | {"PYTHONUNBUFFERED": "1"},
            stdout=file,
            stderr=file,
        )

    def lines():
        return [line for line in printed.read_text().splitlines() if ": fetch" not in line]

    def gauges():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return answer.read().decode()

    try:
        until(lambda: len(lines()) >= 2)
        project.declare(production="v9").push()
        until(lambda: "trunkline_reconcile_exit_code 2.0" in gauges())
        assert 'trunkline_environment_state{environment="production",state="in-sync"} 1.0' in gauges()
        project.declare(production="v2").push()
        until(lambda: "production: in-sync: v2" in lines())
        assert "trunkline_reconcile_exit_code 0.0" in gauges()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        project.declare(production="v1").push()
    told = [line for line in lines() if not line.startswith(("production: point", "production: deliver"))]
    assert told[:2] == ["production: in-sync: v1", "staging: in-sync: latest is v2"]
    assert "production: v9 was never released" in told[2]
    assert told[3:] == ["production: in-sync: v2", "staging: in-sync: latest is v2", "stopped"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--watch", "soon"], "'soon' is not a duration such as 90s, 30min, 2h or 7d"),
        (["--watch", "0s"], "must be at least 1s"),
        (["--watch", "1s", "--once"], "--watch does not go with --once or --dry-run"),
        (["--metrics", "9400"], "--metrics PORT needs --watch"),
        (["--environment", "producton"], "did you mean 'production'?"),
        (["--trunk", "master"], "origin has no branch 'master'"),
    ],
)
def test_a_mistake_is_told(project, arguments, said):
    code, out, err = run(project, "reconcile", *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_what_is_outside_is_exit_code_3(project):
    away = project.origin.rename(project.root.with_name("away"))
    try:
        code, out, err = run(project, "reconcile")
    finally:
        away.rename(project.origin)
    assert (code, out) == (3, "")
    assert err.startswith("error: git fetch origin failed: ")
