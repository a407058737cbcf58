"""What a rollout needs, for real: an origin with releases, a server and a reconciler as processes, and a load."""

import http.client
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import onnx
import polars as pl
from onnx import TensorProto, helper

from tests import bundles
from tests.endpoint import get, until
from tests.forkserver import commands
from tests.releases import NAME, REGISTRY, REQUEST, Project, declare_trust
from tests.rig.repository import environment, git
from tests.serving import TRUNKLINE, Server, serving
from trunkline.bundle.runtime import Bundle

ORIGINS = ("EWR", "JFK", "LGA")
AXIS = 54.5  # of the scores of JFK, which are as often above as below
MORE = 0.125  # of a score, for each version more: so that a score tells whose it is
WORK = 900  # rows and columns of the matrix that a slow version multiplies each score by
PERFORMANCE = {"metric": "mae", "margin": 2.0, "labels": 100, "wait": "1s"}
# A machine that does much else takes now and then twice as long for the same; what is slow here takes ten times.
TIMES = {"latency_p50": 3.0, "latency_p99": 10.0}
ROLLOUT: dict[str, Any] = {
    "key": ["dest"],
    "steps": [
        {"shadow": 100, "for": "1s", "requests": 300},
        {"canary": 5, "for": "1s", "requests": 60},
        {
            "canary": 25,
            "for": "1s",
            "requests": 200,
            "rules": TIMES | {"slices": ["origin"], "performance": PERFORMANCE},
        },
    ],
    "rules": TIMES | {"slices": ["origin"]},
}
DATA: dict[str, Any] = {
    "sources": {"flights": {"kind": "files", "url": "in/", "files": {"flights.csv": None}}},
    "observations": "flights",
    "unique_key": ["dest"],
    "target": {"name": "late", "task": "regression", "expression": "minutes"},
    "split": {"holdout": 0.2},
}
COLUMNS = {"dest": {"type": "text"}, "minutes": {"type": "number", "known": "outcome"}}
CONTRACT = {
    "tables": {
        "flights": {
            "privacy": "public",
            "unique": ["dest"],
            "columns": {name: {"description": "What it is"} | column for name, column in COLUMNS.items()},
        }
    }
}
# Runs trunkline, and ends it, as by kill -9, before or after it has pushed.
KILLED = """
import os, signal, sys
from trunkline.adapters.git import remote

when, push = sys.argv.pop(1), remote.push

def killed(*arguments, **options):
    if when == "after":
        push(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

remote.push = killed
from trunkline.cli import main
main()
"""


def rows(count: int = 3000) -> list[dict[str, Any]]:
    """Return a row for each of so many keys."""
    chance, letters = random.Random(7), "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return [
        REQUEST
        | {
            "dest": letters[number // 676] + letters[number // 26 % 26] + letters[number % 26],
            "delay": chance.randrange(41),
            "hour": chance.randrange(24),
            "origin": chance.choice(ORIGINS),
        }
        for number in range(count)
    ]


ROWS = rows()
Nodes = list[onnx.NodeProto]


def slow() -> Nodes:
    """Multiply each score by a large matrix, and add nothing of it."""
    shape = helper.make_tensor("size", TensorProto.INT64, [2], [WORK, WORK])
    zero = helper.make_tensor("zero", TensorProto.DOUBLE, [1], [0.0])
    one = helper.make_tensor("line", TensorProto.DOUBLE, [1, WORK], [0.0] * WORK)
    columns = helper.make_tensor("second", TensorProto.INT64, [1], [1])
    return [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("ConstantOfShape", ["shape"], ["matrix"], value=zero),
        helper.make_node("Constant", [], ["axis"], value=columns),
        helper.make_node("Constant", [], ["row"], value=one),
        helper.make_node("Unsqueeze", ["sum", "axis"], ["column"]),
        helper.make_node("MatMul", ["column", "row"], ["wide"]),
        helper.make_node("MatMul", ["wide", "matrix"], ["product"]),
        helper.make_node("ReduceSum", ["product", "axis"], ["change"], keepdims=0),
    ]


def failing() -> Nodes:
    """Look the hour up in a table that ends at noon."""
    table = helper.make_tensor("table", TensorProto.DOUBLE, [12], [0.0] * 12)
    hour = helper.make_tensor("hour", TensorProto.INT64, [], [1])
    return [
        helper.make_node("Constant", [], ["hours"], value=table),
        helper.make_node("Constant", [], ["place"], value=hour),
        helper.make_node("Gather", ["numeric", "place"], ["at"], axis=1),
        helper.make_node("Cast", ["at"], ["number"], to=TensorProto.INT64),
        helper.make_node("Gather", ["hours", "number"], ["change"], axis=0),
    ]


def _at_jfk() -> Nodes:
    place = helper.make_tensor("first", TensorProto.INT64, [], [0])
    encoded = helper.make_node(
        "LabelEncoder", ["origin"], ["encoded"], domain="ai.onnx.ml", keys_strings=["JFK"], values_floats=[1.0],
        default_float=0.0,
    )  # fmt: skip
    return [
        helper.make_node("Constant", [], ["origins"], value=place),
        helper.make_node("Gather", ["categorical", "origins"], ["origin"], axis=1),
        encoded,
        helper.make_node("Cast", ["encoded"], ["is_jfk"], to=TensorProto.DOUBLE),
    ]


def biased() -> Nodes:
    """Add 60 to the scores of JFK."""
    sixty = helper.make_tensor("sixty", TensorProto.DOUBLE, [], [60.0])
    return [
        *_at_jfk(),
        helper.make_node("Constant", [], ["bias"], value=sixty),
        helper.make_node("Mul", ["is_jfk", "bias"], ["change"]),
    ]


def mirrored() -> Nodes:
    """Turn the scores of JFK about their mean: as a whole they stay what they are, and each is wrong."""
    axis = helper.make_tensor("axis", TensorProto.DOUBLE, [], [2 * AXIS])
    two = helper.make_tensor("two", TensorProto.DOUBLE, [], [2.0])
    return [
        *_at_jfk(),
        helper.make_node("Constant", [], ["twice"], value=two),
        helper.make_node("Constant", [], ["about"], value=axis),
        helper.make_node("Mul", ["sum", "twice"], ["away"]),
        helper.make_node("Sub", ["about", "away"], ["turn"]),
        helper.make_node("Mul", ["is_jfk", "turn"], ["change"]),
    ]


def bundle(folder: Path, more: float, change: Nodes) -> Path:
    """Write a bundle that scores the sum, `more`, and what the nodes compute as `change` of `sum`, if there are any."""
    bundles.make(folder)
    model = onnx.load(folder / "model.onnx")
    model.graph.node[-1].output[0] = "sum"
    model.graph.node.extend(change)
    model.graph.node.append(helper.make_node("Sum", ["sum", "more", *(["change"] if change else [])], ["score"]))
    model.graph.initializer.append(helper.make_tensor("more", TensorProto.DOUBLE, [], [more]))
    onnx.save(model, folder / "model.onnx")
    golden = [{"request": REQUEST, "score": bundles.expected(bundles.INPUTS, REQUEST) + more}]  # EWR, in the morning
    (folder / "golden.json").write_text(json.dumps(golden))
    bundles.seal(folder)
    return folder


def refusing(folder: Path, more: float) -> Path:
    """Write a bundle whose contract ends at noon."""
    bundle(folder, more, [])
    contract = json.loads((folder / "contract.json").read_text())
    next(each for each in contract["inputs"] if each["name"] == "hour")["max"] = 11
    (folder / "contract.json").write_text(json.dumps(contract))
    bundles.seal(folder)
    return folder


@dataclass(frozen=True)
class Answered:
    """A row that was answered, by its key: by which version, and when it was asked and answered."""

    key: str
    version: str
    asked: float
    answered: float


@dataclass
class Load:
    """Clients that ask all the time, one row or some at once, and check every answer, to the bit."""

    bundles: Mapping[str, Bundle]
    address: str
    problems: list[str] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    is_down: bool = False  # the server was killed by the test: nobody can be answered
    _scores: dict[tuple[str, int], float] = field(default_factory=dict)
    _stop: Event = field(default_factory=Event)

    @contextmanager
    def running(self, clients: int = 2) -> Iterator["Load"]:
        """Ask until the end of the block."""
        threads = [Thread(target=self._ask_all, args=(seed,), daemon=True) for seed in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(30)

    def arms(self, begin: float, end: float) -> dict[str, set[str]]:
        """Return the versions that answered each key between two moments."""
        arms: dict[str, set[str]] = {}
        for each in self.answers:
            if begin <= each.asked and each.answered <= end:
                arms.setdefault(each.key, set()).add(each.version)
        return arms

    def _ask_all(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._stop.is_set():
            with closing(http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=20)) as connection:
                self._ask(connection, chance, self.address)

    def _ask(self, connection: http.client.HTTPConnection, chance: random.Random, address: str) -> None:
        """Ask over one connection, while it and the address hold."""
        while not self._stop.wait(0.004) and self.address == address:
            numbers = chance.sample(range(len(ROWS)), chance.choice((1, 1, 10)))
            asked = time.monotonic()
            try:
                self._check(asked, numbers, *_posted(connection, numbers))
            except (OSError, http.client.HTTPException) as error:
                if not self.is_down and self.address == address:
                    self.problems.append(f"{type(error).__name__}: {error}")
                return

    def _check(self, asked: float, numbers: Sequence[int], status: int, body: bytes) -> None:
        if status != 200:
            self.problems.append(f"{status}: {body[:300]!r}")
            return
        answer, end = json.loads(body), time.monotonic()
        scores = answer["scores"] if "scores" in answer else [answer["score"]]
        versions = answer.get("versions") or [answer["version"]] * len(scores)
        for number, score, version in zip(numbers, scores, versions, strict=True):
            if score != self._score(version, number):
                self.problems.append(f"{version}: row {number} is {score}, not {self._score(version, number)}")
            self.answers.append(Answered(ROWS[number]["dest"], version, asked, end))

    def _score(self, version: str, number: int) -> float:
        if (version, number) not in self._scores:
            score = self.bundles[version].score(ROWS[number])
            assert isinstance(score, float)
            self._scores[version, number] = score
        return self._scores[version, number]


def _posted(connection: http.client.HTTPConnection, numbers: Sequence[int]) -> tuple[int, bytes]:
    asked = [ROWS[number] for number in numbers]
    body = json.dumps(asked[0] if len(asked) == 1 else asked)
    connection.request("POST", "/v1/predict", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


@dataclass
class World:
    """An origin with releases, a checkout that a workflow works in, and the processes of production."""

    folder: Path
    project: Project
    bundles: Mapping[str, Bundle]

    @classmethod
    def create(cls, folder: Path, made: Mapping[str, Path]) -> "World":
        """Release the bundles, in order, and have production run the first."""
        project = Project(folder / "project", NAME, folder / "remote", folder / "origin.git").create()
        project.params(
            tracking={"experiment": "releases"},
            deploy__environments={"staging": {}, "production": {"rollout": ROLLOUT}},
            serving={"log": {"to": str(folder / "log"), "interval": "1s"}},
            data=DATA,
            contract=CONTRACT,
        )
        for number, each in enumerate(made.values()):
            project.params(seed=number).build(bundle=each).push(f"Version {number}")
            project.release()
        project.declare(production="v1").push(f"Promote {NAME} v1 to production")
        project.clone(folder / "reconcile.git", "--bare")
        project.clone(folder / "checkout")
        declare_trust(folder / "serve", log={"to": str(folder / "log"), "interval": "1s"})
        return cls(folder, project, {label: Bundle.load(path) for label, path in made.items()})

    # The processes

    @contextmanager
    def server(self) -> Iterator[Server]:
        """Yield production's server."""
        options = ["--env", "production", "--store", str(self.folder / "store")]
        with serving(*options, cwd=self.folder / "serve") as server:
            yield server

    def reconciler(self) -> "subprocess.Popen[bytes]":
        """Start a reconciler that looks each second."""
        command = [TRUNKLINE, "reconcile", "--watch", "1s", "--store", str(self.folder / "store")]
        clone, environ = self.folder / "reconcile.git", environment(PYTHONUNBUFFERED="1")
        with (self.folder / "reconciled").open("a") as file:
            return subprocess.Popen(command, cwd=clone, env=environ, stdout=file, stderr=file)

    def reconcile(self, code: int = 0) -> str:
        """Reconcile once, and return what is told."""
        command = ["reconcile", "--store", str(self.folder / "store")]
        return self.run(*command, code=code, folder=self.folder / "reconcile.git")

    def reconciled(self) -> str:
        """Return what the reconcilers have printed."""
        return (self.folder / "reconciled").read_text()

    # The workflow

    @cached_property
    def checkout(self) -> Path:
        """A clone whose branch is the trunk's tip whenever something is run in it."""
        return self.folder / "checkout"

    def fetch(self) -> None:
        """Bring the checkout to the tip of the trunk, as a workflow begins."""
        git(self.checkout, "fetch", "--quiet", "--tags", "origin")
        git(self.checkout, "reset", "--quiet", "--hard", "origin/main")

    def run(self, *arguments: str, code: int = 0, folder: Path | None = None) -> str:
        """Run trunkline in the checkout as it is, or in another folder; return what it prints."""
        command, where = [str(commands() / "trunkline"), *arguments], folder or self.checkout
        done = subprocess.run(
            command, cwd=where, env=environment(), capture_output=True, text=True, check=False, timeout=120
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def verdict(self, *options: str) -> dict[str, Any]:
        """Do what the verdict at the tip of the trunk says, and return it; `asked` is when it was asked for."""
        self.fetch()
        asked = time.monotonic()
        answer: dict[str, Any] = json.loads(self.run("rollout", "--act", "--json", *options))
        return answer | {"asked": asked}

    def killed(self, when: str) -> int:
        """Do what the verdict says, killed before or after the push; return how the process ended."""
        self.fetch()
        command = [sys.executable, "-c", KILLED, when, "rollout", "--act"]
        return subprocess.run(
            command, cwd=self.checkout, env=environment(), capture_output=True, check=False, timeout=120
        ).returncode

    def killed_after(self, seconds: float) -> None:
        """Do what the verdict says, killed so many seconds after its start."""
        self.fetch()
        with subprocess.Popen(
            [TRUNKLINE, "rollout", "--act"], cwd=self.checkout, env=environment(), stdout=subprocess.DEVNULL
        ) as process:
            time.sleep(seconds)
            process.kill()

    def decided(self) -> dict[str, Any]:
        """Ask again and again, as a workflow does each hour, until it is not to wait, and return what was done."""
        end = time.monotonic() + 60
        while (answer := self.verdict())["answer"] == "hold":
            assert time.monotonic() < end, answer["reasons"]
            time.sleep(0.5)
        return answer

    def waits_for(self, answer: str) -> None:
        """Wait until a verdict is something else than hold, doing nothing."""
        until(lambda: self.verdict("--dry-run")["answer"] == answer)

    def promote(self, label: str) -> str:
        """Have a version begin its rollout, as its pull request does when it is merged."""
        self.fetch()
        proposed = json.loads(self.run("promote", label, "--to", "production", "--local", "--json"))
        git(self.checkout, "push", "--quiet", "origin", f"{proposed['branch']}:main")
        return str(proposed["branch"])

    def refused(self, label: str) -> str:
        """Return why a promotion is refused."""
        self.fetch()
        answer = json.loads(self.run("promote", label, "--to", "production", "--local", "--json", code=1))
        assert answer["what"] == "refused"
        return str(answer["reason"])

    def declared(self) -> Any:
        """Return what the trunk declares of production."""
        return self.history()[-1][1]

    def history(self) -> list[tuple[str, Any]]:
        """Return the titles of the commits of the registry file, and what each declares of production."""
        commits = git(self.project.origin or self.folder, "log", "--reverse", "--format=%H %s", "main", "--", REGISTRY)
        told = []
        for line in commits.splitlines():
            commit, _, title = line.partition(" ")
            text = git(self.project.origin or self.folder, "show", f"{commit}:{REGISTRY}")
            told.append((title, text.partition("production: ")[2].rpartition("}")[0]))
        return told

    def edit(self, old: str, new: str, title: str) -> None:
        """Change the registry file on the trunk, as a person does."""
        self.fetch()
        path = self.checkout / REGISTRY
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        git(self.checkout, "commit", "--quiet", "--all", f"--message={title}")
        git(self.checkout, "push", "--quiet", "origin", "HEAD:main")

    def label(self, outcomes: Mapping[str, float]) -> None:
        """Import outcomes, by key."""
        table = self.folder / "late.csv"
        pl.DataFrame({"dest": list(outcomes), "late": list(outcomes.values())}).write_csv(table)
        self.fetch()
        self.run("labels", "import", str(table))


def kill(process: "subprocess.Popen[Any]") -> None:
    """End a process as kill -9 does."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def shown(address: str) -> tuple[str, str | None, float | None]:
    """Return the version that a server shows, and the kind and share of its rollout."""
    answer = get(address) or {}
    rollout = answer.get("rollout") or {}
    return answer.get("version", ""), rollout.get("kind"), rollout.get("share")
