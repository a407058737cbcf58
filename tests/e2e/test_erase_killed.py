"""`trunkline erase`, killed before each of its writes, is finished by the next run."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.erasure import project as made
from tests.erasure.project import KEY, run, state

pytestmark = [pytest.mark.e2e, pytest.mark.long]


def test_a_run_that_was_killed_before_any_of_its_writes_is_finished_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv("LOG_KEY", KEY)
    (tmp_path / "project").mkdir()
    folder = made.create(tmp_path / "project", ROOT, tracked=False)
    whole = tmp_path / "whole"
    shutil.copytree(folder, whole)
    monkeypatch.chdir(whole)
    run()
    words = [sys.executable, "-m", "tests.erasure.killed"]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        for effect in range(1, 20):
            broken = tmp_path / f"broken{effect}"
            shutil.copytree(folder, broken)
            server.stdin.write(f"{broken} {effect}\n")
            server.stdin.flush()
            ended = server.stdout.readline().strip()
            os.chdir(broken)
            run()
            assert state(broken) == state(whole)
            if ended == "0":
                break
            assert ended == "killed"
        server.stdin.close()
    assert effect > 5  # of outcomes, two segments, a source, a commit and a branch
