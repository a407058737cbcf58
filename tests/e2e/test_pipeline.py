"""What reruns when, and that the same commit gives the same bytes."""

import ast
import json
import sys
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import Checkout, checkout

pytestmark = pytest.mark.e2e

STAGES = ["compose", "ingest", "validate", "features", "train", "evaluate", "bundle", "track"]


@pytest.mark.parametrize(("threads", "folder"), [("1", "here"), ("4", "a folder/with é and space")])
def test_a_clone_reproduces_the_committed_bytes_anywhere(root: Path, tmp_path: Path, threads: str, folder: str) -> None:
    """One thread or four, this path or another: dvc.lock, params.yaml and reports come out as they are in git."""
    clone = checkout(root, tmp_path / folder)
    assert set(clone.repro(env={"TRUNKLINE_THREADS": threads})) >= {"ingest", "train", "evaluate"}
    assert clone.run("git", "status", "--porcelain") == ""
    assert clone.repro() == []


EDITS = [
    ("nothing", None, "", "", []),
    ("a comment", "conf/model/gbm.yaml", "learning_rate: 0.05", "learning_rate: 0.05 # slow", ["compose"]),
    (
        "evaluation",
        "conf/evaluation/binary.yaml",
        "resamples: 1000",
        "resamples: 500",
        ["compose", "evaluate", "bundle", "track"],
    ),
    (
        "the model",
        "conf/model/gbm.yaml",
        "max_iter: 200",
        "max_iter: 20",
        ["compose", "train", "evaluate", "bundle", "track"],
    ),
    (
        "the model card",
        "conf/serving/flights.yaml",
        "golden_rows: 20",
        "golden_rows: 5",
        ["compose", "bundle", "track"],
    ),
    (
        "tracking",
        "conf/tracking/mlflow.yaml",
        "experiment: flight-delay",
        "experiment: other",
        ["compose", "track"],
    ),
    (
        "a description in the contract",
        "conf/contract/flights.yaml",
        "description: Tail number}",
        "description: The tail number}",
        ["compose", "validate", "features", "bundle"],
    ),
    (
        "the window",
        "conf/data/flights.yaml",
        "holdout: 2013-06-01..2013-06-14",
        "holdout: 2013-06-01..2013-06-15",
        ["compose", "validate", "features", "evaluate", "bundle", "track"],
    ),
    ("the readme", "README.md", "# Trunkline", "# Trunk line", []),
]


@pytest.mark.parametrize(("file", "old", "new", "ran"), [edit[1:] for edit in EDITS], ids=[edit[0] for edit in EDITS])
def test_an_edit_reruns_only_what_it_touches(
    project: Checkout, file: str | None, old: str, new: str, ran: list[str]
) -> None:
    if file:
        project.edit(file, old, new)
    assert project.repro() == ran
    project.run("trunkline", "compose", "--check")


def test_undoing_an_edit_reruns_nothing_but_restores(project: Checkout) -> None:
    before = project.read("reports/metrics.json")
    project.edit("conf/model/gbm.yaml", "max_iter: 200", "max_iter: 20")
    project.repro()
    assert project.read("reports/metrics.json") != before
    project.edit("conf/model/gbm.yaml", "max_iter: 20", "max_iter: 200")
    # Reports are in git and not in the cache, so the stage that writes them runs; the model comes from the cache.
    assert "train" not in project.repro()
    assert project.read("reports/metrics.json") == before


def test_a_wrong_config_gets_no_further_than_compose(project: Checkout) -> None:
    project.edit("conf/model/gbm.yaml", "max_iter: 200", "max_itr: 200")
    printed = project.run("dvc", "repro", check=False)
    assert "error: conf/model/gbm.yaml:4: model.max_itr: " in printed
    assert "did you mean 'max_iter'?" in printed
    assert "Traceback" not in printed
    assert "Running stage 'train'" not in printed


def test_every_stage_declares_what_it_reads(project: Checkout, root: Path) -> None:
    """Each file of the project that a stage opened or imported is one of its declared dependencies."""
    pipeline = yaml.safe_load(project.read("dvc.yaml"))["stages"]
    assert list(pipeline) == STAGES
    record = project.root / "record.json"
    for name, stage in pipeline.items():
        project.run(
            sys.executable,
            str(root / "tests/e2e/record.py"),
            str(record),
            stage["cmd"].removeprefix("python "),
            env={"PYTHONPATH": "src"},
        )
        read = [Path(file) for file in json.loads(record.read_text())]
        outs = {
            next(iter(out)) if isinstance(out, dict) else out
            for out in [*stage.get("outs", []), *stage.get("metrics", [])]
        }
        declared = {Path(path) for path in {*stage.get("deps", []), *outs}}
        parameters = Path("params.yaml") if "params" in stage else Path("conf")
        undeclared = [
            str(file)
            for file in read
            if not {file, *file.parents} & {*declared, parameters} and "__pycache__" not in file.parts
            if not file.name.startswith("mlflow.db") and not says_nothing(project.root / file)
        ]
        assert not undeclared, f"{name} reads {undeclared} without declaring it in dvc.yaml"
        assert "locks/pipeline.txt" in stage["deps"], f"{name} does not depend on the locked environment"


def says_nothing(file: Path) -> bool:
    """Whether a module is a docstring and a version only, so that no result can depend on it."""
    if file.name != "__init__.py":
        return False
    docstring, *rest = ast.parse(file.read_text(encoding="utf-8")).body
    return isinstance(docstring, ast.Expr) and all(isinstance(node, ast.Assign) for node in rest)


def test_the_pipeline_is_literal_and_fits_a_screen(root: Path) -> None:
    text = (root / "dvc.yaml").read_text(encoding="utf-8")
    assert "${" not in text
    assert len(text.splitlines()) <= 90


def test_a_broken_input_ends_the_stage_with_one_message(project: Checkout) -> None:
    project.edit(
        "conf/contract/flights.yaml",
        "distance: {type: integer, min: 1, max: 10000",
        "distance: {type: integer, min: 1, max: 200",
    )
    printed = project.run("dvc", "repro", check=False)
    assert "distance" in printed
    assert "above 200" in printed
    assert "Traceback" not in printed
    assert (project.root / "data/raw/flights.parquet").exists()
