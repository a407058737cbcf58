"""Several changes at once, told apart by running them one at a time, without a trace in the repository."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Checkout
from tests.forkserver import ONE_THREAD, commands
from tests.rig import packages

pytestmark = [pytest.mark.e2e, pytest.mark.long]

FACTORS = ["window", "config", "code", "environment"]
COMMAND = (sys.executable, "-c", "from trunkline.cli import main; main()", "attribute")


def ran(log: str) -> set[str]:
    return set(re.findall(r"^Running stage '(\w+)':$", log, re.MULTILINE))


def state(project: Checkout) -> tuple[str, ...]:
    seen = (project.run("git", *words) for words in (("status", "--porcelain"), ("worktree", "list")))
    return (*seen, project.read("dvc.lock"), project.read("params.yaml"), project.read("reports/metrics.json"))


def compiled() -> dict[str, str]:
    """Return the settings with which an environment is installed with its bytecode."""
    return {"UV_CACHE_DIR": str(packages.folder()), "UV_LINK_MODE": "hardlink"}


def attribute(project: Checkout, temporary: Path, *options: str) -> tuple[dict, str]:
    """Return the JSON, and what DVC said."""
    path = os.pathsep.join([str(commands()), str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, **ONE_THREAD, **compiled(), "PATH": path, "TMPDIR": str(temporary)}
    done = subprocess.run(
        ["trunkline", "attribute", "--json", *options],
        cwd=project.root,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture
def changed(project):
    """A branch with another model, window and environment and a comment in the code, of which nothing has been run."""
    project.run("git", "switch", "-qc", "change")
    project.edit("conf/model/boosting_small.yaml", "max_iter: 40", "max_iter: 15")
    project.edit("conf/data/flights.yaml", "{train: 2013-05,", "{train: 2013-04..2013-05,")
    code = project.root / "src/trunkline/pipeline/train/fit.py"
    code.write_text(code.read_text(encoding="utf-8") + "# Says nothing.\n", encoding="utf-8")
    lock = project.root / "locks/pipeline.txt"
    without = re.sub(r"^lightgbm==.*\n(?:    .*\n)*", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lock.write_text(without, encoding="utf-8")
    return project


def test_the_shares_sum_to_the_move_and_are_in_the_comment(changed, tmp_path):
    refused = changed.run(*COMMAND, check=False)
    assert "commit it first" in refused
    changed.commit("four changes")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = state(changed)

    planned, _ = attribute(changed, temporary, "--dry-run")
    assert [row["name"] for row in planned["combinations"]] == ["the base", "everything", *FACTORS]
    assert all(row["seconds"] > 0 for row in planned["combinations"])

    found, log = attribute(changed, temporary, "--verbose")
    shares = {share["factor"]: share for share in found["shares"]}
    assert list(shares) == FACTORS
    assert sum(share["share"] for share in found["shares"]) + found["interaction"] == pytest.approx(found["move"])
    assert found["after"] - found["before"] == pytest.approx(found["move"])
    assert found["before"] == json.loads(changed.read("reports/metrics.json"))["holdout"]["roc_auc"]
    assert shares["code"]["share"] == shares["environment"]["share"] == 0
    assert [change[:9] for change in shares["environment"]["changes"]] == ["lightgbm "]
    assert 0 not in (shares["window"]["share"], shares["config"]["share"], found["interaction"])
    assert found["notes"] == []
    base, everything, _window, config, code, environment = re.split(r"^--- .*$", log, flags=re.MULTILINE)[1:]
    assert ran(base) == set()  # its results are in dvc.lock and in the cache
    assert ran(everything) == {"compose", "ingest", "validate", "features", "search", "train", "evaluate"}
    assert ran(environment) == ran(everything)
    assert ran(config) == {"compose", "search", "train", "evaluate"}
    assert ran(code) == {"compose", "search", "train", "evaluate"}  # compose asks the estimators of the same room
    assert state(changed) == before
    assert list(temporary.iterdir()) == []

    # With the base's lock again, the comment needs no environment of its own; what the others did stays the same.
    changed.run("git", "checkout", "--quiet", "main", "--", "locks/pipeline.txt")
    changed.repro()
    changed.commit("reproduced")
    env = {"PYTHONWARNINGS": "ignore"} | compiled()
    told = changed.run("trunkline", "review", "--base", "main", "--attribute", env=env)
    table = told.partition("### What moved it")[2]
    rows = dict(
        re.findall(r"^\| (window|config|code|environment|interaction|whole move) \|.*\| (\S+) \|$", table, re.M)
    )
    wanted = {name: share["share"] for name, share in shares.items() if name != "environment"}
    wanted |= {"interaction": found["interaction"], "whole move": found["move"]}
    assert rows == {name: f"{value:+.4f}" for name, value in wanted.items()}


def test_ctrl_c_leaves_nothing_behind(project, tmp_path):
    project.run("git", "switch", "-qc", "change")
    project.edit("conf/model/boosting_small.yaml", "max_iter: 40", "max_iter: 15")
    project.commit("a change")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = state(project)
    process = subprocess.Popen(COMMAND, cwd=project.root, env={**os.environ, "TMPDIR": str(temporary)})
    deadline = time.monotonic() + 120
    while not list(temporary.glob("*/tree/.dvc/config.local")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert state(project) == before
    assert list(temporary.iterdir()) == []
