"""A day with Trunkline: docs/day.md is run as it stands."""

import re
from pathlib import Path

import pytest

from tests.e2e.conftest import Checkout

pytestmark = [pytest.mark.e2e, pytest.mark.long]


def test_a_day_is_run_command_by_command_and_leaves_nothing(project: Checkout, tmp_path: Path) -> None:
    (tmp_path / "dvc").mkdir()
    (tmp_path / "dvc/config").write_text(f"[cache]\ndir = {project.root}/.dvc/cache\n")  # so that v1 need not run again
    (tmp_path / "tmp").mkdir()
    status = project.run("git", "status", "--porcelain")
    env = {"DVC_GLOBAL_CONFIG_DIR": str(tmp_path / "dvc"), "TMPDIR": str(tmp_path / "tmp"), "PYTHONWARNINGS": "ignore"}
    told = project.run("docs/day.sh", env=env)

    commands = re.findall(r"^ {4}(\S.*)$", project.read("docs/day.md"), re.MULTILINE)
    assert re.findall(r"^\$ (.*)$", told, re.MULTILINE) == commands
    assert re.findall(r"^flight-delay@(v\d): bundle", told, re.MULTILINE) == ["v1", "v2"]
    assert re.findall(r"^production: in-sync: (v\d)", told, re.MULTILINE) == ["v1", "v2", "v1"]
    assert "prediction" in told[told.index("$ trunkline trace") :]
    assert list((tmp_path / "tmp").iterdir()) == []
    assert project.run("git", "status", "--porcelain") == status


def test_a_day_that_fails_says_where_it_stopped(project: Checkout, tmp_path: Path) -> None:
    project.edit("docs/day.md", "    cd flights\n", "    cd nowhere\n")
    told = project.run("sh", "-c", "docs/day.sh || echo failed", env={"TMPDIR": str(tmp_path)})
    assert told.rstrip().endswith("failed")
    assert "The tour stopped here" in told
    assert "$ dvc repro" not in told
