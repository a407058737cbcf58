"""Branches of a real git and DVC project, merged by git with the driver: what DVC says of the result is the truth."""

import json
import os
import random
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Checkout

pytestmark = pytest.mark.e2e

# What each stage reads of the others; two branches of the graph meet in `train`.
STAGES = {
    "prepare": [],
    "clean": ["work/prepare.txt"],
    "lookup": [],
    "train": ["work/clean.txt", "work/lookup.txt"],
    "evaluate": ["work/train.txt", "work/clean.txt"],
}
REPORT = "reports/evaluate.json"
# `clean` is coarse, so that some changes before it do not reach the stages behind it.
SCRIPT = """import sys
from pathlib import Path
import yaml
FACTOR = 1
NAME = "{name}"
rate = yaml.safe_load(Path("params.yaml").read_text())[NAME]["rate"]
total = sum(int(Path(path).read_text()) for path in sys.argv[2:])
value = total * 7 + FACTOR * 1000 + rate
Path(sys.argv[1]).parent.mkdir(exist_ok=True)
Path(sys.argv[1]).write_text(str(value // 2000 if NAME == "clean" else value))
"""


def target(name: str) -> str:
    return REPORT if name == "evaluate" else f"work/{name}.txt"


def written(name: str) -> dict[str, Any]:
    code = f"code/{name}.py"
    stage = {
        "cmd": f"python {code} {' '.join([target(name), *STAGES[name]])}",
        "deps": [code, *STAGES[name]],
        "params": [f"{name}.rate"],
    }
    return stage | ({"metrics": [{REPORT: {"cache": False}}]} if name == "evaluate" else {"outs": [target(name)]})


def in_repo(root: Path, act: Callable[[Any], Any]) -> Any:
    """Do something with DVC, in this process because its import takes longer than the pipeline."""
    from dvc.repo import Repo

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patched:
        warnings.simplefilter("ignore")  # of DVC's dependencies
        patched.chdir(root)
        patched.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        with Repo(str(root)) as repo:
            return act(repo)


def repro(root: Path) -> list[str]:
    return [stage.addressing for stage in in_repo(root, lambda repo: repo.reproduce())]


def status(root: Path) -> Any:
    return in_repo(root, lambda repo: repo.status())


def results(root: Path) -> dict[str, str]:
    return {name: (root / target(name)).read_text() for name in STAGES}


def from_scratch(source: Path, root: Path) -> dict[str, str]:
    """Return what the sources of a checkout give where nothing is known of earlier runs."""
    for name in ("code", "dvc.yaml", "params.yaml"):
        copy = shutil.copytree if (source / name).is_dir() else shutil.copy2
        copy(source / name, root / name)
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    assert set(repro(root)) == set(STAGES)
    return results(root)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Checkout:
    folder = tmp_path_factory.mktemp("tiny") / "project"
    (folder / "code").mkdir(parents=True)
    (folder / ".dvc").mkdir()
    for name in STAGES:
        (folder / f"code/{name}.py").write_text(SCRIPT.format(name=name))
    (folder / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (folder / ".dvc/.gitignore").write_text("/cache\n/tmp\n/config.local\n")
    (folder / ".gitignore").write_text("/work\n")
    shutil.copy2(root / ".gitattributes", folder)
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {name: written(name) for name in STAGES}}))
    (folder / "params.yaml").write_text(yaml.safe_dump({name: {"rate": 1} for name in STAGES}))
    project = Checkout(folder)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.run("git", "config", "user.name", "Test")
    project.run("git", "config", "user.email", "test@example.org")
    project.run("trunkline", "ci", "merge-driver", "--install")
    repro(folder)
    project.commit("main")
    return project


@pytest.fixture
def tiny(made: Checkout, tmp_path: Path) -> Checkout:
    return made.copy(tmp_path / "project")


def branch(project: Checkout, name: str, edits: dict[str, dict[str, int]]) -> None:
    """Commit a branch on which some stages have another rate or factor, reproduced."""
    project.run("git", "checkout", "-qb", name, "main")
    in_repo(project.root, lambda repo: repo.checkout(force=True))
    params = yaml.safe_load(project.read("params.yaml"))
    for stage, edit in edits.items():
        params[stage]["rate"] = edit.get("rate", 1)
        project.edit(f"code/{stage}.py", "FACTOR = 1\n", f"FACTOR = {edit.get('factor', 1)}\n")
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    assert set(repro(project.root)) >= set(edits)
    project.commit(name)


def merged(
    project: Checkout, ours: dict[str, dict[str, int]], theirs: dict[str, dict[str, int]]
) -> subprocess.CompletedProcess[str]:
    """Merge two branches with git, and check that no entry of dvc.lock is a mixture."""
    branch(project, "theirs", theirs)
    branch(project, "ours", ours)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["git", "merge", "--no-edit", "theirs"],
        cwd=project.root,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    locks = [yaml.safe_load(project.run("git", "show", f"{name}:dvc.lock")) for name in ("main", "ours", "theirs")]
    found = yaml.safe_load(project.read("dvc.lock"))["stages"]
    assert set(found) == set(STAGES)
    for stage, entry in found.items():
        assert entry in [lock["stages"][stage] for lock in locks]
    return done


def drawn(rng: random.Random, stages: list[str]) -> dict[str, dict[str, int]]:
    return {stage: {rng.choice(["rate", "factor"]): rng.randint(2, 9)} for stage in stages}


@pytest.mark.parametrize("seed", range(4))
def test_branches_of_different_stages_merge_and_dvc_tells_the_truth(tiny: Checkout, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    shuffled = rng.sample(list(STAGES), k=4)
    cut = rng.randint(1, 3)
    done = merged(tiny, drawn(rng, shuffled[:cut]), drawn(rng, shuffled[cut:]))
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "scratch").mkdir()
    truth = from_scratch(tiny.root, tmp_path / "scratch")
    in_repo(tiny.root, lambda repo: repo.checkout(force=True))
    if status(tiny.root) == {}:
        assert results(tiny.root) == truth
    repro(tiny.root)
    assert results(tiny.root) == truth
    assert status(tiny.root) == {}


def test_where_two_changes_meet_the_stages_are_made_again_and_no_others(tiny: Checkout, tmp_path: Path) -> None:
    done = merged(tiny, {"prepare": {"factor": 9}}, {"lookup": {"rate": 5}})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dvc.lock: train, evaluate must be made again; run: dvc repro\n" in done.stderr
    assert f"{REPORT}: the report must be made again" in done.stderr
    in_repo(tiny.root, lambda repo: repo.checkout(force=True))
    before = results(tiny.root)
    assert list(status(tiny.root)) == ["train"]
    (tmp_path / "scratch").mkdir()
    truth = from_scratch(tiny.root, tmp_path / "scratch")
    assert {name for name in STAGES if before[name] != truth[name]} == {"train", "evaluate"}
    assert repro(tiny.root) == ["train", "evaluate"]
    assert results(tiny.root) == truth


def test_what_each_made_alone_stays_made(tiny: Checkout, tmp_path: Path) -> None:
    """A change that does not reach the other branch's stages: nothing is left to be run."""
    done = merged(tiny, {"prepare": {"rate": 2}}, {"evaluate": {"rate": 5}})
    assert (done.returncode, "must be made again" in done.stderr) == (0, False)
    in_repo(tiny.root, lambda repo: repo.checkout(force=True))
    assert status(tiny.root) == {}
    (tmp_path / "scratch").mkdir()
    assert results(tiny.root) == from_scratch(tiny.root, tmp_path / "scratch")


@pytest.mark.parametrize("seed", range(2))
def test_a_stage_that_both_changed_is_a_conflict_until_it_is_resolved(
    tiny: Checkout, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    both, mine, other = rng.sample(list(STAGES), k=3)
    ours = {both: {"rate": 2}} | drawn(rng, [mine])
    theirs = {both: {"rate": 3} if seed else {"factor": 4}} | drawn(rng, [other])
    done = merged(tiny, ours, theirs)
    assert done.returncode == 1, done.stdout + done.stderr
    assert [line.split(": ")[1] for line in done.stderr.splitlines() if "dvc.lock: " in line and "ours" in line] == [
        both
    ]
    assert f"ours params {both}.rate 1 → 2; theirs " in done.stderr
    assert (f"params.yaml: {both}.rate: ours 1 → 2; theirs 1 → 3; " in done.stderr) == bool(seed)
    assert yaml.safe_load(tiny.read("params.yaml"))[both] == {"rate": 2}
    assert "dvc.lock" in tiny.run("git", "diff", "--name-only", "--diff-filter=U")
    # What the message says: here ours is what is wanted.
    in_repo(tiny.root, lambda repo: repo.checkout(force=True))
    repro(tiny.root)
    tiny.run("git", "add", "dvc.lock", "params.yaml", "reports")
    tiny.run("git", "commit", "-qm", "merged")
    assert status(tiny.root) == {}
    (tmp_path / "scratch").mkdir()
    assert results(tiny.root) == from_scratch(tiny.root, tmp_path / "scratch")
    json.loads(tiny.read(REPORT))
