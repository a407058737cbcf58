"""Every command of README.md is run, on the small project; what is not says why."""

import re
from pathlib import Path

import pytest

from tests.e2e.conftest import Checkout

pytestmark = pytest.mark.e2e

ELSEWHERE = {
    "make repro": "installs into an environment of its own; CI runs it",
    "make test": "runs this test; CI runs it",
    "$EDITOR conf/model/gbm.yaml": "opens an editor",
    "trunkline init data.csv --target 'ArrDelay > 15'": "is for a folder of its own; test_init.py runs it there",
    "dvc exp run -S experiment=small": "test_experiments.py runs experiments",
    "dvc exp run -S model=forest": "test_experiments.py runs experiments",
}
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.split("  #")[0].strip() for line in re.findall(r"^ {4}(\S.*)$", README, re.MULTILINE)]


@pytest.fixture(scope="module")
def project(small: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """One copy for all commands, as a reader has one clone."""
    return small.copy(tmp_path_factory.mktemp("readme") / "project")


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ELSEWHERE])
def test_a_command_of_the_readme_gives_an_answer(command: str, project: Checkout) -> None:
    said = project.run("sh", "-c", f"{command} || [ $? -eq 1 ]")  # 1 is an answer: no
    assert "Traceback" not in said


def test_what_is_not_run_is_still_in_the_readme() -> None:
    assert set(ELSEWHERE) < set(COMMANDS)
    assert README[: README.index("## Measured")].count("\n") <= 70, "a screen and a half; what is longer is in docs/"
