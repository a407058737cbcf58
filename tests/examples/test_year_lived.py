"""Two months of the year with real parts and all that is planted, and their beginning again with a kill in between."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from examples.year import lived, loop, plan
from examples.year.changes import CHALLENGER, NAME
from examples.year.setting import DAY, World

from tests.conftest import ROOT
from tests.forkserver import ONE_THREAD, commands
from tests.rig.repository import git

pytestmark = pytest.mark.long

LIVE = """
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from examples.year import loop, plan
story = replace(plan.SHORT, end=date.fromisoformat(sys.argv[2]))
for _ in loop.live(Path(sys.argv[1]), story): pass
"""
DEW_POINT = ("missing", "dew_point")
BEFORE = date(2013, 6, 1)  # the schedule asks for a retraining on the day after
Days = Mapping[date, Mapping[str, Any]]


@contextmanager
def running(state: Path, end: date = plan.SHORT.end) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process that lives the story in a state folder up to a day; what it has started is killed with it."""
    path = os.pathsep.join([str(commands()), str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-c", LIVE, str(state), str(end)]
    environ = {**os.environ, **ONE_THREAD, "PATH": path}
    with subprocess.Popen(command, cwd=ROOT, env=environ, start_new_session=True) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def finish(process: "subprocess.Popen[bytes]") -> None:
    assert process.wait(900) == 0


def at_work(folder: Path) -> bool:
    """Tell whether a process works in a folder, or below it."""
    for path in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # it has ended
            if path.readlink().is_relative_to(folder):
                return True
    return False


def kill_when_merged(state: Path, process: "subprocess.Popen[bytes]") -> date:
    """Kill all of it as soon as the trunk of origin moves: a retraining is merged; return its day, not over."""
    origin = state / "world/origin.git"
    tip = git(origin, "rev-parse", "main")
    while git(origin, "rev-parse", "main") == tip:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    while at_work(state):  # a fork is killed a moment after who has asked for it
        time.sleep(0.05)
    (state / "world/flights/.git/packed-refs.lock").touch()  # as a git leaves it that is killed while it packs
    begun, over = (sorted(path.stem for path in (state / name).iterdir()) for name in ("before", "days"))
    assert begun[:-1] == over
    return date.fromisoformat(begun[-1])


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The state of a run that nobody disturbs, and that of one which is killed and goes on until a rollout is over."""
    folder = tmp_path_factory.mktemp("year")
    one, other = folder / "one", folder / "other"
    with running(one, end=BEFORE) as process:
        finish(process)
    shutil.copytree(one, other, symlinks=True)
    with running(one) as undisturbed:
        with running(other) as process:
            killed = kill_when_merged(other, process)
        with running(other, end=killed + 4 * DAY) as process:
            finish(process)
        finish(undisturbed)
    return one, other


@pytest.fixture(scope="module")
def days(states: tuple[Path, Path]) -> Days:
    return dict(loop.lived(states[0]))


def retrained(days: Days) -> list[date]:
    return [day for day, content in days.items() if (content["retraining"] or {}).get("became") == "released"]


def happened(state: Path) -> tuple[list[Any], ...]:
    """Return the trunk's trees and titles, the tags, the days and the pull requests, in their order."""
    origin = state / "world/origin.git"
    history = git(origin, "log", "--reverse", "--format=%T %s", "main").splitlines()
    return history, git(origin, "tag").splitlines(), loop.lived(state), lived.pulls(state)


def test_a_killed_run_ends_as_one_that_was_not(states: tuple[Path, Path]) -> None:
    whole, part = map(happened, states)
    for one, other in zip(whole, part, strict=True):
        assert one[: len(other)] == other


def test_a_retraining_is_merged_and_rolled_out_step_by_step(days: Days) -> None:
    day = retrained(days)[0]
    assert days[day]["retraining"]["version"] == "v2"
    steps = [days[day + number * DAY]["rollout"] for number in (1, 2)]
    assert [(each["kind"], each["answer"]) for each in steps] == [("shadow", "step up"), ("canary", "finish")]
    assert steps[1]["declared"] == "v2"
    logged = [days[day + number * DAY]["counts"]["logged"] for number in (1, 2)]
    asked = [days[day + number * DAY]["counts"]["asked"] for number in (1, 2)]
    assert logged == [2 * asked[0], asked[1]]


def test_a_broken_upstream_is_seen_and_nothing_is_learnt_from_it(days: Days) -> None:
    faulty = [plan.SHORT.fault + number * DAY for number in range((plan.SHORT.mended - plan.SHORT.fault).days)]
    seen = [day for day in days if DEW_POINT in [(each["rule"], each["subject"]) for each in days[day]["alerts"]]]
    assert (set(seen) & set(faulty), min(seen) in faulty) == (set(faulty[1:]), True)  # of the first, a third is missing
    refused = [
        content["retraining"] for content in days.values() if (content["retraining"] or {}).get("what") == "refused"
    ]
    assert refused
    assert all("what the model is given is broken" in each["reason"] for each in refused)
    assert not set(retrained(days)) & set(faulty)


def test_a_bad_challenger_is_refused_by_the_gates(states: tuple[Path, Path], days: Days) -> None:
    act = days[plan.SHORT.challenged]["challenger"]
    assert (act["verdict"], bool(act["gates"])) == ("fail", True)
    project = World(states[0] / "world").project
    assert "max_iter" not in git(project, "diff", f"main...{NAME}@v1", "--", "conf/model")
    assert "max_iter: 4\n" in git(project, "show", f"{CHALLENGER}:conf/model/boosting_small.yaml")
    assert "max_iter: 40\n" in git(project, "show", "main:conf/model/boosting_small.yaml")
