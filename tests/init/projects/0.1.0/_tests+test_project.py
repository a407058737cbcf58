"""What must hold of this project's own files; that the framework does what it says is tested by the framework."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def trunkline(*arguments: str) -> None:
    """Run a command in the root of the project; a failed one fails the test with what it said."""
    done = subprocess.run(["trunkline", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_declared_has_no_mistake_and_is_what_params_holds():
    trunkline("compose", "--check")


def test_the_sources_are_what_is_pinned():
    trunkline("pin", "--check")
