"""What is foretold of a small pipeline, and what `dvc repro` then does: random edits, real DVC."""

import json
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trunkline.adapters.dvc import survey
from trunkline.adapters.dvc.survey import Stage
from trunkline.core.errors import OutsideError, UserError

# pygtrie, which DVC uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")

STEP = """
import json, pathlib, sys
name, out, *reads = sys.argv[1:]
pathlib.Path("ran.log").open("a").write(name + "\\n")
paths = [path for read in map(pathlib.Path, reads) for path in sorted(read.rglob("*")) or [read]]
numbers = [int(path.read_text()) for path in paths if path.name != "step.py"]
total = sum(numbers) // 2 + json.load(open("params.yaml"))[name]["x"] // 2
if out.endswith("/"):
    for part in ("one", "two"):
        path = pathlib.Path(out, part)
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(total if part == "one" else total // 4))
elif out != "none":
    pathlib.Path(out).write_text(str(total))
"""
READS = {"a": ["a.src"], "b": ["a.out", "b.src"], "c": ["b.dir/one"], "d": ["a.out", "c.json"], "e": ["b.dir", "d.out"]}
OUTS = {"a": "a.out", "b": "b.dir/", "c": "c.json", "d": "d.out", "e": "none"}
PYTHON = Path(sys.executable).as_posix()


def make(root: Path) -> Path:
    """A pipeline of five stages: a folder, an output that is in git, a stage without outputs; results often stay."""
    root.mkdir(parents=True)
    stages = {
        name: {
            "cmd": f"{PYTHON} -IS step.py {name} {OUTS[name]} {' '.join(reads)}",
            "deps": [*reads, "step.py"],
            "params": [f"{name}.x"],
            "outs": [{"c.json": {"cache": False}} if name == "c" else OUTS[name].strip("/")] if name != "e" else [],
        }
        for name, reads in READS.items()
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (root / "params.yaml").write_text(json.dumps({name: {"x": 4} for name in READS}))
    (root / "step.py").write_text(STEP)
    for name in ("a.src", "b.src"):
        (root / name).write_text("8")
    Repo.init(str(root), no_scm=True).close()
    reproduce(root)
    shutil.copy(root / "dvc.lock", root / "first.lock")
    return root


def reproduce(root: Path) -> tuple[set[str], set[str]]:
    """Run `dvc repro`; return the stages that ran, and those that were taken from the cache."""
    (root / "ran.log").unlink(missing_ok=True)
    with chdir(root), Repo(str(root)) as repo:
        done = {stage.name for stage in repo.reproduce()}
    log = root / "ran.log"
    ran = set(log.read_text().split()) if log.exists() else set()
    return ran, done - ran


def foretell(root: Path) -> dict[str, Stage]:
    """Survey the pipeline, whose params.yaml no stage makes."""
    params = yaml.safe_load((root / "params.yaml").read_text())
    return {stage.name: stage for stage in survey.survey(root, params, lambda: params)}


def parameter(root: Path, name: str, value: int) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text())
    params[name]["x"] = value
    (root / "params.yaml").write_text(json.dumps(params))


def remove(root: Path, name: str, _: int) -> None:
    path = root / OUTS[name]
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def write(root: Path, name: str, value: int) -> None:
    (root / name).write_text(str(value))


def tamper(root: Path, _: str, value: int) -> None:
    (root / "c.json").write_text(str(value))


def splice(root: Path, name: str, _: int) -> None:
    """Take a stage's entry of dvc.lock from the first run, as a merge of two locks does."""
    now, first = (yaml.safe_load((root / file).read_text()) for file in ("dvc.lock", "first.lock"))
    now["stages"][name] = first["stages"][name]
    (root / "dvc.lock").write_text(yaml.safe_dump(now))


EDITS = st.one_of(
    st.tuples(st.just(splice), st.sampled_from(list(READS)), st.just(0)),
    st.tuples(st.just(parameter), st.sampled_from(list(READS)), st.integers(2, 9)),
    st.tuples(st.just(write), st.sampled_from(["a.src", "b.src"]), st.integers(6, 13)),
    st.tuples(st.just(remove), st.sampled_from(["a", "b", "c", "d"]), st.just(0)),
    st.tuples(st.just(tamper), st.just(""), st.integers(0, 9)),
)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("pipeline") / "pristine")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.lists(EDITS, min_size=0, max_size=2), min_size=1, max_size=4))
def test_what_is_foretold_is_what_dvc_then_does(pristine: Path, rounds: list[list[tuple]]) -> None:
    root = pristine.parent / "work"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(pristine, root, symlinks=True)
    for edits in rounds:
        for edit, name, value in edits:
            edit(root, name, value)
        foretold = foretell(root)
        ran, restored = reproduce(root)
        for name, stage in foretold.items():
            happened = "runs" if name in ran else "restored" if name in restored else "unchanged"
            allowed = {"changed": {"runs", "restored"}, "follows": {"runs", "restored", "unchanged"}}
            assert happened in allowed.get(stage.action, {stage.action}), (name, stage, edits)
        assert {stage.action for stage in foretell(root).values()} == {"unchanged"}


def test_a_plan_says_more_than_that_anything_may_happen(pristine: Path, tmp_path: Path) -> None:
    root = shutil.copytree(pristine, tmp_path / "work", symlinks=True)
    parameter(root, "d", 9)
    assert {name: stage.action for name, stage in foretell(root).items()} == {
        "a": "unchanged", "b": "unchanged", "c": "unchanged", "d": "runs", "e": "follows",
    }  # fmt: skip
    reproduce(root)
    parameter(root, "d", 4)
    assert foretell(root)["d"].action == "restored"
    parameter(root, "a", 9)
    assert [stage.action for stage in foretell(root).values()] == ["runs", "follows", "follows", "changed", "follows"]


def test_nothing_is_written_or_run(pristine: Path, tmp_path: Path) -> None:
    root = shutil.copytree(pristine, tmp_path / "work", symlinks=True)
    parameter(root, "a", 9)
    remove(root, "d", 0)

    def state() -> dict[Path, bytes]:
        files = (path for path in root.rglob("*") if path.is_file() and "tmp" not in path.relative_to(root).parts)
        return {path: path.read_bytes() for path in files}

    before = state()
    foretell(root)
    assert state() == before


def test_dvc_prints_nothing_between_what_a_verb_prints(pristine: Path, tmp_path: Path) -> None:
    root = shutil.copytree(pristine, tmp_path / "work", symlinks=True)
    remove(root, "a", 0)
    asked = (
        "from pathlib import Path; from trunkline.adapters.dvc import survey; params = {n: {'x': 4} for n in 'abcde'}"
    )
    code = f"{asked}; print(survey.survey(Path(), params, dict)[0].action)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=root, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"restored\n", b"")


def test_with_a_remote_what_is_absent_is_pulled_where_it_is_needed(pristine: Path, tmp_path: Path) -> None:
    root = shutil.copytree(pristine, tmp_path / "work", symlinks=True)
    with Repo(str(root)) as repo, repo.config.edit() as config:
        config["remote"]["store"] = {"url": str(tmp_path / "store")}
        config["core"]["remote"] = "store"
    with Repo(str(root)) as repo:
        repo.push()
    for name in ("a", "b", "d"):
        remove(root, name, 0)
    shutil.rmtree(root / ".dvc/cache")
    assert {stage.action for stage in foretell(root).values()} == {"unchanged"}
    parameter(root, "d", 9)
    foretold = foretell(root)
    assert {name: stage.action for name, stage in foretold.items()} == {
        "a": "unchanged", "b": "unchanged", "c": "unchanged", "d": "changed", "e": "follows",
    }  # fmt: skip
    assert [(absent.path, absent.cached) for absent in foretold["d"].needs] == [("a.out", False)]
    assert [(absent.path, absent.files) for absent in foretold["e"].needs] == [("b.dir", 2)]
    with chdir(root), Repo(str(root)) as repo:
        done = {stage.name for stage in repo.reproduce(pull=True, allow_missing=True)}
    assert {"d"} <= done <= {"d", "e"}


def test_a_pipeline_that_dvc_refuses_is_one_message(pristine: Path, tmp_path: Path) -> None:
    root = shutil.copytree(pristine, tmp_path / "work", symlinks=True)
    (root / "dvc.yaml").write_text("stages: {a: {cmdd: x}}")
    with pytest.raises(UserError, match=r"^dvc\.yaml: "):
        foretell(root)


def test_beside_another_dvc_command_it_does_not_guess(pristine: Path, tmp_path: Path) -> None:
    root = shutil.copytree(pristine, tmp_path / "work", symlinks=True)
    busy = pytest.raises(OutsideError, match="another DVC command is running here")
    with Repo(str(root)) as repo, repo.lock, busy:
        foretell(root)
