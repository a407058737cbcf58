"""Runs one job of a workflow with act on this machine: no container, an empty workspace, a home of its own.

What the job sees of the machine is its tools and the caches of package installers, so that it installs in seconds; no
environment of the tests, no configuration of git and no credentials.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.forkserver import ONE_THREAD
from tests.rig import packages
from tests.rig.repository import Repository, git

ACTIONS = Path(__file__).parent / "actions"
PASSED = ("LANG", "LC_", "TMPDIR", "SSL_", "REQUESTS_CA_BUNDLE", "PIP_", "UV_", "NPM_", "HTTP_", "HTTPS_", "NO_PROXY")
GRACE = 30.0


@dataclass(frozen=True)
class Order:
    """All that a job is run with; `secrets` hold the job's own token as GITHUB_TOKEN."""

    text: str
    job: str
    event: str
    payload: Mapping[str, Any]
    sha: str
    actor: str
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    variables: Mapping[str, str]
    uses: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Step:
    """One step of a job; what it printed, without what its own commands said to the runner."""

    name: str
    conclusion: str
    log: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Job:
    """What became of a job."""

    id: str
    conclusion: str
    steps: tuple[Step, ...] = ()
    summary: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    trouble: str = ""

    @property
    def log(self) -> str:
        """All that the steps printed."""
        return "".join(step.log for step in self.steps) + self.trouble

    def step(self, name: str) -> Step:
        """Return the step whose name holds this text."""
        (found,) = (step for step in self.steps if name in step.name)
        return found


class Act:
    """A job that is running."""

    def __init__(self, folder: Path, repository: Repository, order: Order) -> None:
        self.folder, self.order = folder, order
        self.said: list[dict[str, Any]] = []
        self.cancelled = False
        self._cancelling = threading.Lock()
        self._needs = folder / "needs.json"
        self._began = time.monotonic()
        command, environment = self._prepare(repository), machine() | {"HOME": str(folder / "home")}
        with (folder / "stderr").open("w") as errors:
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def _prepare(self, repository: Repository) -> list[str]:
        """Write what act reads, and return its command."""
        (self.folder / "home").mkdir(parents=True)
        source, file, event = self.folder / "source", self.folder / "workflow.yml", self.folder / "event.json"
        git(self.folder, "clone", "--quiet", "--shared", "--no-checkout", str(repository.path), str(source))
        git(source, "update-ref", "--no-deref", "HEAD", self.order.sha)
        file.write_text(self.order.text, encoding="utf-8")
        event.write_text(json.dumps(self.order.payload), encoding="utf-8")
        options = ["-C", str(source), "-W", str(file), "-e", str(event), "-a", self.order.actor]
        options += ["--action-cache-path", str(self.folder / "act"), "-P", "ubuntu-latest=-self-hosted"]
        options += ["--no-skip-checkout", "--no-cache-server", "--json", "--rm", "--defaultbranch", "main"]
        for flag, pairs in (
            ("--env", {**self.order.environment, "RIG_NEEDS": str(self._needs)}),
            ("-s", self.order.secrets),
            ("--var", self.order.variables),
        ):
            options += [word for key, value in pairs.items() for word in (flag, f"{key}={value}")]
        options += [word for each in self.order.uses for word in ("--local-repository", f"{each}={stand_in(each)}")]
        return [tool("act"), self.order.event, *options]

    def printed(self) -> str:
        """Return what the steps have printed until now."""
        return "".join(each["msg"] for each in list(self.said) if each.get("raw_output"))

    @property
    def state(self) -> str:
        """How the job ended, or the last lines that it has printed and its processes with the seconds they have run."""
        if self._process.poll() is not None:
            return f"  {self.order.job}: ended with {self._process.returncode}"
        processes = []
        for each in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                seconds = sum(each.cpu_times()[:2])
                processes.append(
                    f"    {each.pid} {each.status()} {seconds:.1f} s of CPU: {' '.join(each.cmdline())[:200]}"
                )
        return "\n".join([f"  {self.order.job}: runs", *self.printed().splitlines()[-10:], *processes])

    def cancel(self) -> None:
        """End the job as the forge does: what runs is interrupted, and steps that always run do."""
        with self._cancelling:
            if not self.cancelled and self._process.poll() is None:
                self.cancelled = True
                self._process.send_signal(signal.SIGINT)
                threading.Thread(target=self._kill, daemon=True).start()

    def _kill(self) -> None:
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def finish(self) -> Job:
        """Wait for the end, and return what became of the job."""
        timer = threading.Timer(self.order.seconds, self.cancel)
        timer.start()
        with self._process as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("{"):
                    self.said.append(json.loads(line))
        timer.cancel()
        return self._job()

    def _job(self) -> Job:
        own = [each for each in self.said if each.get("jobID") == self.order.job]
        results = [each["jobResult"] for each in own if "jobResult" in each]
        outputs: dict[str, str] = {}
        if self._needs.exists():
            outputs = json.loads(self._needs.read_text())[self.order.job]["outputs"] or {}
        trouble = (self.folder / "stderr").read_text()
        crashed = not self.said and self._process.returncode != 0
        conclusion = "cancelled" if self.cancelled else "failure" if crashed or "failure" in results else None
        seconds = round(time.monotonic() - self._began, 3)
        summary = "".join(each["content"] for each in own if each.get("command") == "summary")
        conclusion = conclusion or ("success" if results else "skipped")
        return Job(self.order.job, conclusion, steps(own), summary, outputs, seconds, trouble if crashed else "")


def steps(said: Iterable[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Return the steps in their order; what a step of a composite action printed belongs to the step that uses it."""
    names: dict[tuple[str, str], str] = {}
    logs: dict[tuple[str, str], str] = {}
    ends: dict[tuple[str, str], tuple[str, float]] = {}
    for each in said:
        if not each.get("stepID") or each.get("stage") == "Pre":
            continue
        key = each["stage"], each["stepID"][0]
        names.setdefault(key, each["step"] if key[0] == "Main" else f"{key[0]} {each['step']}")
        if each.get("raw_output"):
            logs[key] = logs.get(key, "") + each["msg"]
        elif "stepResult" in each and len(each["stepID"]) == 1:
            ends[key] = each["stepResult"], each.get("executionTime", 0) / 1e9
            names[key] = each["step"] if key[0] == "Main" else f"{key[0]} {each['step']}"
    found = {key: ends.get(key, ("cancelled", 0.0)) for key in names}
    return tuple(Step(names[key], end, logs.get(key, ""), seconds) for key, (end, seconds) in found.items())


def machine() -> dict[str, str]:
    """Return what a job sees of this machine's environment."""
    own = {str(Path(sys.executable).parent), str(Path(sys.prefix) / "bin")}
    installer = str(Path(sys.prefix) / "uv/bin")  # where locks/install puts uv, if this machine has none
    path = os.pathsep.join([*(each for each in os.environ["PATH"].split(os.pathsep) if each not in own), installer])
    passed = {name: value for name, value in os.environ.items() if name.upper().startswith(PASSED)}
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return {
        **ONE_THREAD,
        "UV_LINK_MODE": "hardlink",
        "PIP_CACHE_DIR": str(kept / "pip"),
        **passed,
        "UV_CACHE_DIR": str(packages.folder()),
        "PATH": path,
    }


def tool(name: str) -> str:
    """Return a program of the test group, which is installed beside this Python."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found, f"{name} is not installed: run locks/install dev"
    return found


def stand_in(uses: str) -> Path:
    """Return the folder that stands for an action; one that has none would be fetched from the network."""
    folder = ACTIONS / uses.partition("@")[0].removeprefix("actions/")
    assert folder.parent == ACTIONS, f"there is no stand-in for {uses}"
    assert folder.is_dir(), f"there is no stand-in for {uses}"
    return folder
