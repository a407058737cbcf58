"""A full disk, a killed stage, damaged files: one message, nothing is lost, and the next run mends it."""

import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from tests.e2e.attempts import Attempt, results
from tests.e2e.conftest import Checkout

pytestmark = [pytest.mark.e2e, pytest.mark.long]

# A mount that only this process and its children see, as root of a user namespace where one is no root.
MOUNT = 'mount -t tmpfs -o "$1" none "$2" && shift 2 && exec "$@"'
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh"]


def stage(project: Checkout, name: str, *before: str) -> tuple[int, list[str]]:
    """Run a stage alone; return its exit code and the lines of its standard error."""
    command = [*before, sys.executable, f"stages/{name}.py"]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False, timeout=600)
    return done.returncode, done.stderr.splitlines()


def cached_model(project: Checkout) -> Path:
    """Return where DVC's cache has the model."""
    digest = yaml.safe_load(project.read("dvc.lock"))["stages"]["train"]["outs"][0]["md5"]
    return project.root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def leftovers(project: Checkout) -> list[Path]:
    return list((project.root / "data").rglob("*.part"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("size=100k", "No space left on device; free some space and run again"),
        ("ro", "Read-only file system; the file system is read-only; use a folder that can be written"),
    ],
    ids=["full", "read-only"],
)
def test_a_folder_that_takes_nothing_is_told_and_nothing_is_lost(project: Checkout, options: str, told: str) -> None:
    if subprocess.run([*UNSHARE, "size=1k", "/mnt", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    before = results(project)
    code, lines = stage(project, "ingest", *UNSHARE, options, "data/raw")
    assert (code, len(lines)) == (3, 1), lines
    assert lines[0].startswith("error: data/raw/")
    assert lines[0].endswith(told)
    assert results(project) == before
    assert project.repro() == []


def test_a_limit_on_the_size_of_files_is_told_and_the_next_run_mends_it(project: Checkout) -> None:
    before = results(project)
    code, lines = stage(project, "ingest", "sh", "-c", 'ulimit -f 100 && exec "$@"', "sh")
    assert (code, len(lines)) == (3, 1), lines
    assert lines[0].startswith("error: data/raw/")
    assert "File too large; raise the limit" in lines[0]
    assert leftovers(project) == []
    assert project.repro() == []
    assert results(project) == before


@pytest.mark.parametrize(
    ("name", "reader"), [("data/features/train.parquet", "train"), ("data/valid/flights.parquet", "features")]
)
def test_a_cut_off_table_is_told_and_made_again(project: Checkout, name: str, reader: str) -> None:
    before, table = results(project), project.root / name
    table.write_bytes(table.read_bytes()[:10_000])
    code, lines = stage(project, reader)
    assert (code, len(lines)) == (3, 1), lines
    assert lines[0].startswith("error: a Parquet file of data/ is cut off or damaged (")
    assert lines[0].endswith("run: dvc repro, to make it again")
    project.repro()
    assert results(project) == before


def test_a_damaged_object_of_the_cache_is_never_taken_for_a_good_one(project: Checkout) -> None:
    before = results(project)
    cached = cached_model(project)
    cached.chmod(0o644)
    cached.write_bytes(cached.read_bytes()[:-1000])
    (project.root / "models/model.skops").unlink()
    assert "train" in project.repro()
    assert results(project) == before


def test_a_stage_that_the_system_kills_is_named_and_the_next_run_completes(project: Checkout) -> None:
    before = results(project)
    cached_model(project).unlink()
    (project.root / "models/model.skops").unlink()
    attempt = Attempt(project, forked=False)
    attempt.until(lambda: "stages/train.py" in attempt.printed)
    attempt.until(lambda: [child.kill() for child in psutil.Process(attempt.process.pid).children(recursive=True)])
    attempt.until(lambda: False)
    assert attempt.kill() not in (0, -9)
    assert re.search(r"failed to run: python stages/train.py, exited with (-9|137)", attempt.printed), attempt.printed
    assert "Traceback" not in attempt.printed
    project.repro()
    assert results(project) == before


def test_half_a_lock_file_or_a_bomb_in_its_place_is_one_line_of_the_plan(project: Checkout) -> None:
    whole = project.read("dvc.lock")
    for text in ("", whole[: len(whole) // 2 - len(whole) % 97], "schema: " + "[" * 100_000):
        (project.root / "dvc.lock").write_text(text, encoding="utf-8")
        printed = project.run("trunkline", "plan", env={"PYTHONWARNINGS": "ignore"}, check=False)
        assert "Traceback" not in printed
        if printed.startswith("error: "):
            assert printed.startswith("error: dvc.lock: ")
            assert "git restore dvc.lock" in printed
            assert len(printed.splitlines()) == 1
        else:
            assert "stages may run" in printed, printed
    project.run("git", "checkout", "dvc.lock")
    assert project.repro() == []
