"""That the same commit gives the same bytes anywhere, passes its own gates, and declares all that it reads."""

import ast
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Checkout, checkout

pytestmark = pytest.mark.e2e

STAGES = ["compose", "ingest", "validate", "features", "search", "train", "evaluate", "bundle"]
STAGES += ["rivals", "champion", "gate", "track"]


def test_a_clone_reproduces_the_committed_bytes_anywhere(root: Path, tmp_path: Path) -> None:
    """The whole year at another path and with more threads than cores, each stage a process of its own.

    dvc.lock, params.yaml and reports come out as they are in git, and the fork server's commands see them so.
    """
    clone = checkout(root, tmp_path / "a folder/with é and space")
    assert set(clone.repro(env={"TRUNKLINE_THREADS": "3"}, forked=False)) >= {"ingest", "train", "evaluate"}
    assert clone.run("git", "status", "--porcelain") == ""
    assert clone.repro() == []
    assert "pass: nothing blocks" in clone.run("trunkline", "gate")
    assert "planted models got the right verdict" in clone.run("trunkline", "gate", "--self-test")


def test_a_wrong_config_gets_no_further_than_compose(project: Checkout) -> None:
    project.edit("conf/model/boosting_small.yaml", "max_iter: 40", "max_itr: 40")
    printed = project.run("dvc", "repro", check=False)
    assert "error: conf/model/boosting_small.yaml:5: model.max_itr: " in printed
    assert "did you mean 'max_iter'?" in printed
    assert "Traceback" not in printed
    assert "Running stage 'train'" not in printed


def test_every_stage_declares_what_it_reads(project: Checkout, root: Path) -> None:
    """Each file of the project that a stage opened or imported is one of its declared dependencies."""
    pipeline = yaml.safe_load(project.read("dvc.yaml"))["stages"]
    assert list(pipeline) == STAGES
    for name, stage in pipeline.items():
        found = undeclared(project, root, stage)
        assert not found, f"{name} reads {found} without declaring it in dvc.yaml"
        assert "locks/pipeline.txt" in stage["deps"], f"{name} does not depend on the locked environment"


def undeclared(project: Checkout, root: Path, stage: dict[str, Any]) -> list[str]:
    """Run a stage, and return what it read of the project without declaring it."""
    record = project.root / "record.json"
    project.run(
        "python",
        str(root / "tests/e2e/record.py"),
        str(record),
        stage["cmd"].removeprefix("python "),
        env={"PYTHONPATH": "src"},
    )
    read = [Path(file) for file in json.loads(record.read_text())]
    outs = {*declared(stage, "outs"), *declared(stage, "metrics")}
    named = {Path(path) for path in {*stage.get("deps", []), *outs}}
    parameters = Path("params.yaml") if "params" in stage else Path("conf")
    return [
        str(file)
        for file in read
        if not {file, *file.parents} & {*named, parameters} and "__pycache__" not in file.parts
        if not file.name.startswith("mlflow.db") and not says_nothing(project.root / file)
    ]


def declared(stage: dict[str, Any], kind: str) -> list[str]:
    return [next(iter(item)) if isinstance(item, dict) else item for item in stage.get(kind, [])]


@pytest.mark.long
def test_a_stage_needs_nothing_that_it_does_not_declare(small: Checkout, tmp_path: Path) -> None:
    """Each stage gives the same bytes in a folder with its declared dependencies alone, whatever library reads them."""
    for name, stage in yaml.safe_load(small.read("dvc.yaml"))["stages"].items():
        alone = Checkout(tmp_path / name)
        empty = [path for path in (small.root / "src").rglob("__init__.py") if says_nothing(path)]
        for path in [*(small.root / dep for dep in declared(stage, "deps")), *empty]:
            target = alone.root / path.relative_to(small.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(path, target) if path.is_dir() else shutil.copy2(path, target)
        if "params" in stage:
            named = {key.partition(".")[0] for key in stage["params"]}
            groups = yaml.safe_load(small.read("params.yaml"))
            # What a run was given is logged whole; whether it is logged again depends on the results alone.
            kept = groups if name == "track" else {group: groups[group] for group in named}
            (alone.root / "params.yaml").write_text(yaml.safe_dump(kept), encoding="utf-8")
        alone.run(*stage["cmd"].split())
        for out in [*declared(stage, "outs"), *declared(stage, "metrics")]:
            assert hashes(alone.root / out) == hashes(small.root / out), f"{name}: {out}"


def hashes(path: Path) -> dict[str, str]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()
    }


def test_another_library_reruns_every_stage_and_another_linter_none(project: Checkout) -> None:
    """The lock of the pipeline is one dependency: a library that only some stages import reruns the others as well."""
    libraries = {"dev": "ruff", "ci": "pygithub", "serve": "onnxruntime", "pipeline": "scikit-learn"}
    for purpose, library in libraries.items():
        path = project.root / f"locks/{purpose}.txt"
        text, replaced = re.subn(f"^{library}==\\S+", f"{library}==99.0", path.read_text(), flags=re.MULTILINE)
        assert replaced == 1
        path.write_text(text)
        changed = json.loads(project.run("dvc", "status", "--json"))
        assert sorted(changed) == (sorted(STAGES) if purpose == "pipeline" else []), purpose


def says_nothing(file: Path) -> bool:
    """Whether a module is a docstring and a version only, so that no result can depend on it."""
    if file.name != "__init__.py":
        return False
    docstring, *rest = ast.parse(file.read_text(encoding="utf-8")).body
    return isinstance(docstring, ast.Expr) and all(isinstance(node, ast.Assign) for node in rest)


def test_the_pipeline_is_literal_and_fits_a_screen(root: Path) -> None:
    text = (root / "dvc.yaml").read_text(encoding="utf-8")
    assert "${" not in text
    assert len(text.splitlines()) <= 120


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
