"""A search as the pipeline runs it: the same for any number of cores and after a kill, and without the holdout."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import Checkout
from tests.e2e.test_pipeline import undeclared
from tests.searches import laid, results
from trunkline.conf.model import Model
from trunkline.core import paths
from trunkline.core.params import Params
from trunkline.pipeline.train import choice
from trunkline.pipeline.train.choice import Choice

pytestmark = [pytest.mark.e2e, pytest.mark.long]
ROOT = Path(__file__).parent.parent.parent


def stage(project: Path, threads: str) -> subprocess.Popen[bytes]:
    environ = os.environ | {"TRUNKLINE_THREADS": threads}
    command = [sys.executable, str(ROOT / "stages/search.py")]
    return subprocess.Popen(command, cwd=project, env=environ, stderr=subprocess.PIPE)


def done(process: subprocess.Popen[bytes]) -> bytes:
    _, printed = process.communicate(timeout=300)
    assert process.returncode == 0, printed.decode()
    return printed


def test_any_number_of_cores_and_a_kill_give_the_same_bytes(tmp_path: Path) -> None:
    project = laid(tmp_path)
    printed = done(stage(project, "1")).decode()
    assert "14 trials" in printed
    assert "was 0." in printed
    alone = results(project)
    assert set(alone) == {"choice.json", "history.svg", "importance.svg", "trials.json"}
    assert list((project / paths.SEARCHING).iterdir()) == []

    for path in (project / paths.SEARCH).iterdir():
        path.unlink()
    process = stage(project, "4")
    kept = await_scores(project, 9)
    process.kill()
    process.communicate(timeout=60)  # its workers, which hold the pipe too, end with it
    assert not (project / paths.CHOICE).exists()
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) - 20])  # as if the last line had not been written whole
    done(stage(project, "4"))
    assert results(project) == alone
    chosen = Choice.read(project)
    assert chosen.value is not None
    assert chosen.declared is not None
    assert chosen.value < chosen.declared
    trained = choice.trained(Params.read(project).group(Model), project)
    assert trained.model_dump(by_alias=True, mode="json") == chosen.model


def await_scores(project: Path, count: int) -> Path:
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        found = list((project / paths.SEARCHING).glob("*.jsonl"))
        if found and found[0].read_bytes().count(b"\n") >= count:
            return found[0]
        time.sleep(0.002)
    raise AssertionError("the search did not begin")


def test_the_pipeline_trains_what_the_search_found(small: Checkout, root: Path, tmp_path: Path) -> None:
    project = small.copy(tmp_path / "project")
    before = {name: project.read(f"reports/{name}.json") for name in ("bundle", "metrics", "slices")}
    project.run("git", "switch", "-qc", "searching")
    project.edit("conf/model/boosting_small.yaml", "learning_rate: 0.1", "learning_rate: 0.01")  # there is a better one
    project.edit("conf/config.yaml", "search: none", "search: gbm")
    project.edit("conf/search/gbm.yaml", "trials: 40", "trials: 10")
    ran = project.repro()
    assert ran == ["compose", "search", "train", "evaluate", "bundle", "rivals", "gate", "track"]
    chosen = Choice.read(project.root).model
    assert chosen is not None
    assert f"| max_iter | `{chosen['max_iter']}` |" in project.read("models/bundle/card.md")
    project.commit("searched")
    told = project.run(
        *["trunkline", "review", "--base", "main", "--html", "report.html"], env={"PYTHONWARNINGS": "ignore"}
    )
    assert "Search: 10 trials" in told
    assert 'aria-label="Search: log_loss of each trial"' in project.read("report.html")

    (project.root / "data/features/holdout.parquet").unlink()
    search = yaml.safe_load(project.read("dvc.yaml"))["stages"]["search"]
    assert undeclared(project, root, search) == []  # runs it again, too
    assert project.run("git", "status", "--porcelain", "reports/search") == ""
    project.run("dvc", "checkout", "data/features")

    project.edit("conf/model/boosting_small.yaml", "learning_rate: 0.01", "learning_rate: 0.1")
    project.edit("conf/config.yaml", "search: gbm", "search: none")
    project.repro()
    assert {name: project.read(f"reports/{name}.json") for name in before} == before
