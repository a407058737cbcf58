"""What dvc.yaml says that a stage's code is, against what the stage can import; nothing is run."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = PIPELINE["stages"]
# Rooms whose modules stand for themselves, so that a stage may name one of them; elsewhere it names the folder.
APART = {f"src/trunkline/{room}" for room in ("adapters", "conf", "pipeline", "show")}
ABOVE = {"cli", "deploy", "doctor", "lineage", "monitor", "release", "retrain", "review", "serve"}
# How many modules a stage is run again for although it cannot import them; where this grows, a room is too wide.
UNUSED = {"search": 2, "train": 6}


@cache
def imports(path: Path) -> frozenset[Path]:
    """Return the modules of Trunkline that a file imports, also inside functions."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(module for name in names if (module := module_of(name)))


def module_of(name: str) -> Path | None:
    """Return the file of a dotted name of Trunkline; None for a name in a module, and for an empty package."""
    path = SOURCE.joinpath(*name.split("."))
    files = [path.with_suffix(".py"), path / "__init__.py"]
    return next((file for file in files if name.startswith("trunkline") and file.is_file() and says(file)), None)


def says(path: Path) -> bool:
    """Tell whether a file has more than a docstring."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text(encoding="utf-8")).body)


@cache
def reached(stage: str) -> frozenset[Path]:
    """Return all modules that a stage's script can import, in turn."""
    waiting, seen = [ROOT / f"stages/{stage}.py"], set()
    while waiting:
        new = imports(waiting.pop()) - seen
        seen |= new
        waiting += new
    return frozenset(seen - {SOURCE / "trunkline/__init__.py"})


def code(stage: str) -> list[Path]:
    return [ROOT / dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")]


def contained(stage: str) -> Iterator[Path]:
    """Yield the modules under a stage's declared code."""
    for path in code(stage):
        yield from (file for file in (path.rglob("*.py") if path.is_dir() else [path]) if says(file))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_all_code_that_it_can_import_and_no_other(stage: str) -> None:
    declared = code(stage)
    missing = [file for file in reached(stage) if not {file, *file.parents} & set(declared)]
    idle = [path for path in declared if not any({file, *file.parents} & {path} for file in reached(stage))]
    assert (missing, idle) == ([], []), f"dvc.yaml: {stage}: add what is missing, remove what is idle"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_a_script_over_its_own_room(stage: str) -> None:
    script = ROOT / f"stages/{stage}.py"
    assert STAGES[stage]["cmd"] == f"python stages/{stage}.py"
    room = SOURCE / "trunkline/pipeline" / stage
    assert any(room in module.parents for module in imports(script)), f"stages/{stage}.py calls nothing of {room}"
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 50, "a stage reads, calls and writes"


@pytest.mark.parametrize("stage", STAGES)
def test_code_is_declared_by_the_folder(stage: str) -> None:
    for path in code(stage):
        assert path.is_dir() or str(path.parent.relative_to(ROOT)) in APART, f"{stage}: {path}: name its folder"


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_depends_on_a_room_above_the_pipeline(stage: str) -> None:
    rooms = {file.relative_to(SOURCE / "trunkline").parts[0] for file in {*reached(stage), *contained(stage)}}
    assert rooms & ABOVE == set()


@pytest.mark.parametrize("stage", UNUSED)
def test_what_is_slow_runs_again_for_little_that_it_does_not_import(stage: str) -> None:
    unused = sorted(str(file.relative_to(SOURCE)) for file in {*contained(stage)} - reached(stage))
    assert len(unused) <= UNUSED[stage], unused


def test_the_table_of_contents_stays_one() -> None:
    assert sum(len(code(stage)) for stage in STAGES) <= 74
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= 102


def test_the_bundle_is_an_artifact_under_the_name_that_tags_of_versions_have() -> None:
    name = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["name"]
    [(artifact, declared)] = PIPELINE["artifacts"].items()
    assert (artifact, declared["type"]) == (name, "model")
    assert declared["path"] in STAGES["bundle"]["outs"]
