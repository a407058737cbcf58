"""What `trunkline init` asks where there is a terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

from tests.init import tables


def test_what_is_not_given_is_asked_for_on_a_terminal(tmp_path):
    table, project = tables.write("penguins", tmp_path), tmp_path / "project"
    project.mkdir()
    keyboard, terminal = pty.openpty()
    try:
        os.write(keyboard, f"{table}\nspecies\ngitlab\n".encode())
        done = subprocess.run(
            [Path(sys.executable).with_name("trunkline"), "init", "--dry-run"],
            cwd=project, stdin=terminal, capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        os.close(keyboard)
        os.close(terminal)
    assert done.returncode == 0, done.stderr
    assert "penguins: species, island, bill_length_mm" in done.stderr
    written, _, guessed = done.stdout.partition("Guessed")
    assert ".gitlab-ci.yml" in written.splitlines()
    assert ".github" not in written
    assert "the task is multiclass ('species' is predicted)" in guessed
