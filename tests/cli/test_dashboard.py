"""`trunkline dashboard` as a process: what it joins of a real project, how it is served, and that it ends at once."""

import http.client
import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests import bundles
from tests.endpoint import until
from tests.monitor.logs import reference_of, rows, write, write_outcomes
from tests.releases import Project
from tests.rig.repository import environment, git
from trunkline.cli import overview
from trunkline.cli.dashboard import dashboard
from trunkline.cli.overview import Asked
from trunkline.cli.reconcile import reconcile
from trunkline.core.errors import OutsideError
from trunkline.review.dashboard.data import Failed
from trunkline.review.dashboard.troubles import troubles

INPUTS = (bundles.field("distance", "number"), bundles.field("origin", "text", nullable=False))
ALL = timedelta(days=36500)  # the project's time is its own


@pytest.fixture(scope="module")
def project(tmp_path_factory, root, mlflow_address):
    """A project whose production is to run v1, and has logged four quiet days."""
    folder = tmp_path_factory.mktemp("project")
    bundle = bundles.make(folder / "bundle", INPUTS)
    content = reference_of(rows(5000, seed=1), {"roc_auc": 0.77})
    (bundle / "reference.json").write_text(json.dumps(content), encoding="utf-8")
    bundles.seal(bundle)
    project = Project(folder / "project", "late", folder / "remote", folder / "origin.git").create()
    whole = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    project.params(
        tracking={"uri": mlflow_address, "experiment": "late"},
        data=whole["data"],
        evaluation=whole["evaluation"],
        monitoring={"matures": "1h", "read": "10d", "rules": None},
        serving={"log": {"to": str(folder / "log")}},
    )
    project.build(bundle=bundle).push("First (#7)")
    project.release()
    project.declare(production="v1").push("Promote v1 (#8)")
    log(project)
    return project


def log(project):
    """Write what production has logged in the four days until now."""
    place, start = project.root.with_name("log"), datetime.now(UTC) - timedelta(days=4)
    content = rows(4000, seed=2, start=start, days=4)
    write(place, content, digest=project.digest(1), environment="production")
    write_outcomes(place, content, after=timedelta(minutes=1))


@pytest.fixture
def clone(project, tmp_path, monkeypatch):
    """A clone, which is the working directory, and no forge is named."""
    git(tmp_path, "clone", "--quiet", str(project.origin), "clone")
    monkeypatch.chdir(tmp_path / "clone")
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    for name in ("GITHUB_REPOSITORY", "CI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def look(clone):
    return overview.look(Asked("main", ".trunkline", None, ALL, clone))


def test_it_joins_what_the_others_say(clone):
    before = look(clone)
    assert [(each.level, each.where) for each in troubles(before)] == [
        ("warn", "production"),
        ("unknown", "production"),
    ]
    assert "neither in models/bundle" in troubles(before)[1].text
    assert CliRunner().invoke(reconcile, [], catch_exceptions=False).exit_code == 0
    after = look(clone)
    assert troubles(after) == ()
    production, staging = after.environments
    assert (production.standing.outcome.actual, production.standing.pull_request) == ("v1", "#8")
    assert (production.watched.watched.version, production.watched.answer) == ("v1", "quiet")
    assert production.watched.windows in (4, 5)  # 4 at midnight
    assert (staging.standing.outcome.version, staging.watched) == ("null", None)
    promoted, released = after.changes.events
    assert (promoted.kind, promoted.before, promoted.after, promoted.pull_request) == (
        "promotion",
        "nothing",
        "v1",
        "#8",
    )
    assert (released.kind, released.after, released.approved) == ("release", "v1", None)
    assert promoted.how == released.how == "signed by release, gates: pass"


def test_a_part_that_cannot_be_read_leaves_the_others(clone, project, monkeypatch, capfd):
    git(Path(), "remote", "set-url", "origin", str(clone / "nowhere.git"))
    away = look(clone)
    assert isinstance(away.environments, Failed)
    assert "git fetch origin failed" in away.environments.reason
    assert [each.kind for each in away.changes.events] == ["promotion", "release"]
    git(Path(), "remote", "set-url", "origin", str(project.origin))

    def broken(*_):
        raise KeyError("a bug")

    monkeypatch.setattr("trunkline.cli.watching.report", broken)
    CliRunner().invoke(reconcile, [], catch_exceptions=False)
    bug = look(clone).environments[0]
    assert bug.watched == Failed("an error of Trunkline itself, KeyError; stderr has it")
    assert bug.standing.outcome.state == "in-sync"
    assert "KeyError: 'a bug'" in capfd.readouterr().err


def test_a_page_is_written_once(clone):
    done = CliRunner().invoke(dashboard, ["--html", "page.html", "--back", "36500d"], catch_exceptions=False)
    assert (done.exit_code, done.stderr) == (0, "page.html: written\n")
    text = Path("page.html").read_text(encoding="utf-8")
    assert "<h1><strong>Not everything is in order</strong> late: production nothing → v1, staging nothing</h1>" in text
    assert git(Path(), "status", "--porcelain").strip() == "?? page.html"


def test_a_process_serves_it_and_ends_at_once(clone):
    command = [Path(sys.executable).with_name("trunkline"), "dashboard", "--port", "0", "--back", "36500d"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline()
        port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\n", address)[1])
        until(lambda: get(port)[0] == 200, 60)
        assert "<strong>Not everything is in order</strong> late: production nothing → v1" in get(port)[1]
        with pytest.raises(OutsideError, match=f"--port {port}: cannot listen there: .*; name another one"):
            CliRunner().invoke(dashboard, ["--port", str(port)], catch_exceptions=False)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr.read() == "stopped\n"
    finally:
        process.kill()
        process.communicate()


HANGS = """
import time
from concurrent.futures import ThreadPoolExecutor
from trunkline.cli import dashboard
dashboard._page = lambda asked: ThreadPoolExecutor(1).submit(time.sleep, 60).result()
dashboard.dashboard(["--port", "0"])
"""


def test_it_ends_at_once_while_something_that_it_reads_hangs(tmp_path):
    command = [sys.executable, "-c", HANGS]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            port = int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
            assert get(port)[0] == 503
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0  # and not after the minute that the read takes
        finally:
            process.kill()


def get(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/")
    answer = connection.getresponse()
    return answer.status, answer.read().decode()
