"""Real checkouts with real DVC: nothing here is simulated."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from filelock import FileLock

from tests.forkserver import ONE_THREAD, commands
from trunkline.pipeline.compose.compose import compose

# What `experiment: small` says, written into the files that a test may want to edit.
SMALL = {
    "conf/config.yaml": {"model: gbm": "model: boosting_small"},
    "conf/data/flights.yaml": {
        "{train: 2013-01..2013-06, holdout: 2013-07}": "{train: 2013-05, holdout: 2013-06-01..2013-06-14}"
    },
    "conf/evaluation/binary.yaml": {"resamples: 1000": "resamples: 200"},
    "conf/gates/flights.yaml": {
        "confidence: 0.95": "confidence: 0.9",
        "resamples: 2000": "resamples: 500",
        "metric: log_loss, margin: 0.002}": "metric: log_loss, margin: 0.002, advisory: true}",
    },
}


def environment(*, forked: bool = True) -> dict[str, str]:
    """Return the variables of a user with an activated environment; `forked` puts the fork server's commands first."""
    found = [str(commands())] if forked else []
    return {
        **os.environ,
        **ONE_THREAD,
        "PATH": os.pathsep.join([*found, str(Path(sys.executable).parent), os.environ["PATH"]]),
    }


COMMITTER = ("-c", "user.name=Test", "-c", "user.email=test@example.org")


@dataclass(frozen=True)
class Checkout:
    """A git checkout of the project with a DVC cache of its own."""

    root: Path

    def run(self, *command: str, env: Mapping[str, str] | None = None, check: bool = True, forked: bool = True) -> str:
        """Run a command in the checkout as a user with an activated environment would; return all that it printed.

        `forked` says whether it, and what it starts, may come from the fork server.
        """
        done = subprocess.run(
            command,
            cwd=self.root,
            env=environment(forked=forked) | {"PYTHONWARNINGS": "default", **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=900,
        )
        assert not check or done.returncode == 0, f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def repro(self, *arguments: str, env: Mapping[str, str] | None = None, forked: bool = True) -> list[str]:
        """Run `dvc repro` and return the stages that ran, in order."""
        printed = self.run("dvc", "repro", *arguments, env=env, forked=forked)
        return re.findall(r"^Running stage '(\w+)':$", printed, re.MULTILINE)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text that stands once in a file."""
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def read(self, file: str) -> str:
        """Return the text of a file."""
        return (self.root / file).read_text(encoding="utf-8")

    def commit(self, message: str, when: datetime | None = None) -> None:
        """Commit everything that is not ignored, also where the machine knows no committer; `when`, if not now."""
        dates = {f"GIT_{role}_DATE": when.isoformat() for role in ("AUTHOR", "COMMITTER")} if when else {}
        self.run("git", "add", "--all")
        self.run("git", *COMMITTER, "commit", "-qm", message, env=dates)

    def copy(self, root: Path) -> "Checkout":
        """Copy the checkout with its cache and data."""
        shutil.copytree(self.root, root, symlinks=True)
        return Checkout(root)


def checkout(source: Path, root: Path) -> Checkout:
    """Make a fresh clone of what is in the working tree, committed or not, without what is ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=source,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, root / name)
    made = Checkout(root)
    made.run("git", "init", "--quiet", "--initial-branch=main")
    made.run("git", "config", "user.name", "Test")
    made.run("git", "config", "user.email", "test@example.org")
    made.commit("clone")
    return made


def shortened(source: Path, root: Path) -> Checkout:
    """Make a clone of the small project, which is reproduced and committed."""
    made = checkout(source, root)
    for file, edits in SMALL.items():
        for old, new in edits.items():
            made.edit(file, old, new)
    assert compose(root / "conf").content == compose(source / "conf", ["experiment=small"]).content
    made.repro()
    made.commit("a small project")
    made.run("git", "gc", "--quiet")  # one file instead of 1,700, which each copy would copy
    return made


# The files that take longest. A worker is given its next one as soon as it has two tests left, whatever these take.
LONGEST = ("promotion", "pull_requests_together", "pull_requests", "attribute", "watching")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what takes longest begin first: it would be the last to end."""
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session")
def small(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A reproduced and committed checkout of the small project, for all workers; copy it before changing it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / "small" / "project", shared / "small" / "done"
    with FileLock(shared / "small.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            shortened(root, folder)
            done.touch()
    return Checkout(folder)


@pytest.fixture
def project(small: Checkout, tmp_path: Path) -> Iterator[Checkout]:
    """A copy of the small checkout to change."""
    copied = small.copy(tmp_path / "project")
    yield copied
    shutil.rmtree(copied.root, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the times that tests have recorded."""
    reports = [each for outcome in terminalreporter.stats.values() for each in outcome]
    calls = [each for each in reports if getattr(each, "when", "") == "call"]
    found = [pair for each in calls for pair in each.user_properties if isinstance(pair[1], float)]
    if found:
        terminalreporter.section("times of a promotion")
    for step, seconds in found:
        terminalreporter.write_line(f"{seconds:7.1f} s  {step}")
