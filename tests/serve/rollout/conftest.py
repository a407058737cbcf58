"""A store with a version and a candidate that scores a quarter more, and a server of them that each module shares.

The candidate refuses the hours from 12 on. It may be told to fail or to be slow, while the server runs.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from onnx import TensorProto, helper

from tests import bundles
from tests.releases import declare_trust, released
from tests.serve.conftest import GOOD, golden_bundle
from tests.serve.prediction_log.conftest import logged, until
from tests.serving import Server, serving
from trunkline.bundle.manifest import digest
from trunkline.bundle.runtime import Bundle
from trunkline.core import files
from trunkline.deploy.reconcile.store import BundleStore
from trunkline.serve.model import Pointer
from trunkline.serve.rollout.sticky import Share

MORE = 0.25  # of a score, by the candidate
LATE = 12  # the first hour that it refuses
KEY = ["dest", "hour"]
SERVES = {
    "limits": {"time": "4s", "rows": 200},
    "protocols": {"mlflow": True, "open_inference": True, "arrow": True, "grpc": "127.0.0.1:0"},
    "log": {"to": "log", "interval": "1s"},
}
# Stands for a bundle that fails, or is slow, as a file says; and for a shadow of which fewer rows may wait.
PROGRAM = """
import os, sys, time
from pathlib import Path
from trunkline.bundle.runtime import Bundle
from trunkline.serve.rollout import shadow

scores, mood, candidate = Bundle.scores, Path(os.environ["MOOD"]), os.environ["CANDIDATE"]

def moody(self, *matrices):
    if self.digest == candidate:
        told = mood.read_text()
        if told == "fails":
            raise RuntimeError("the candidate fails")
        time.sleep(float(told or 0))
    return scores(self, *matrices)

Bundle.scores, shadow.ROWS = moody, 300
from trunkline.cli import main
main()
"""


def candidate_bundle(folder: Path) -> Path:
    """Write a bundle that scores more than the one of GOOD, and refuses late hours."""
    golden_bundle(folder)
    model = onnx.load(folder / "model.onnx")
    model.graph.node[-1].output[0] = "sum"
    model.graph.node.append(helper.make_node("Add", ["sum", "more"], ["score"]))
    model.graph.initializer.append(helper.make_tensor("more", TensorProto.DOUBLE, [], [MORE]))
    onnx.save(model, folder / "model.onnx")
    contract = json.loads((folder / "contract.json").read_text())
    next(each for each in contract["inputs"] if each["name"] == "hour")["max"] = LATE - 1
    (folder / "contract.json").write_text(json.dumps(contract))
    golden = [{"request": GOOD, "score": bundles.expected(bundles.INPUTS, GOOD) + MORE}]
    (folder / "golden.json").write_text(json.dumps(golden))
    bundles.seal(folder)
    return folder


def classes_bundle(folder: Path, names: Sequence[str], factor: float) -> Path:
    """Write a bundle of several classes, whose scores are 1, 2, 3, … times a factor of those of GOOD's."""
    golden_bundle(folder, classes=names)
    factors = [factor * number for number in range(1, len(names) + 1)]
    model = onnx.load(folder / "model.onnx")
    model.graph.node[-1].output[0] = "sum"
    model.graph.node.append(helper.make_node("Unsqueeze", ["sum", "columns"], ["column"]))
    model.graph.node.append(helper.make_node("Mul", ["column", "factors"], ["score"]))
    model.graph.initializer.append(helper.make_tensor("factors", TensorProto.DOUBLE, [1, len(names)], factors))
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = len(names)
    onnx.save(model, folder / "model.onnx")
    total = bundles.expected(bundles.INPUTS, GOOD)
    score = {name: total * each for name, each in zip(names, factors, strict=True)}
    (folder / "golden.json").write_text(json.dumps([{"request": GOOD, "score": score}]))
    bundles.seal(folder, task="multiclass")
    return folder


@dataclass
class Rolled:
    """A store of a version v1 and its candidate v2, as `trunkline reconcile` delivers them."""

    home: Path
    store: BundleStore
    current: Bundle
    candidate: Bundle

    @classmethod
    def make(cls, home: Path) -> "Rolled":
        """Put both bundles into a store, and deliver the version."""
        store = BundleStore(home / "store")
        made = golden_bundle(home / "v1"), candidate_bundle(home / "v2")
        for each in made:
            store.put(digest(each), partial(shutil.copytree, each))
        rolled = cls(home, store, *(Bundle.load(each) for each in made))
        (home / "mood").write_text("")
        store.deliver("production", released(rolled.current.digest, 1, "sums"))
        return rolled

    def pointer(self, number: int, **changed: Any) -> dict[str, Any]:
        """Return the pointer of a version, without a rollout; `changed` replaces keys."""
        name = (self.current, self.candidate)[number - 1].digest
        signed = released(name, number, "sums").provenance
        pointer = Pointer("sums", f"v{number}", name, f"bundles/{name}", "0" * 40, signed)
        return dict(msgspec.to_builtins(pointer)) | changed

    def declare(self, kind: str | None = None, share: float = 50, key: Sequence[str] = KEY, number: int = 1) -> None:
        """Deliver the version of a number, with a rollout of the candidate where a kind is named."""
        rollout = {"kind": kind, "share": share, "key": key, "candidate": self.pointer(2)}
        content = self.pointer(number) | ({"rollout": rollout} if kind else {})
        files.write_json(self.store.folder / "production.json", content)

    def share(self, percent: float = 50) -> Share:
        """Return the share of keys that the candidate is given."""
        return Share(self.candidate.digest, percent, tuple(KEY))

    def answers(self, row: dict[str, Any], percent: float = 50) -> Bundle:
        """Return the bundle that answers a row in a canary."""
        takes = self.share(percent).has(row) and row["hour"] < LATE
        return self.candidate if takes else self.current

    def mood(self, text: str) -> None:
        """Have the candidate fail (`fails`), or take so many seconds."""
        files.write_text(self.home / "mood", text)

    def rows(self, request: str, count: int) -> list[dict[str, Any]]:
        """Return what is logged of a request, once it is so many rows: each arm has files of its own."""

        def written() -> list[dict[str, Any]] | None:
            rows = [row for row in logged(self.home / "log") if row["request_id"] == request]
            return rows if len(rows) >= count else None

        return list(until(written, f"{request} is not in the log"))


@contextmanager
def rolling(rolled: Rolled, **serves: Any) -> Iterator[Server]:
    """Yield a server that follows the store, and serves as declared."""
    declare_trust(rolled.home, "sums", **SERVES | serves)
    env = {"MOOD": str(rolled.home / "mood"), "CANDIDATE": rolled.candidate.digest}
    options = ["--env", "production", "--store", str(rolled.store.folder)]
    command = (sys.executable, "-c", PROGRAM)
    with serving(*options, cwd=rolled.home, grpc=True, command=command, **env) as server:
        yield server


@pytest.fixture(scope="module")
def rolled(tmp_path_factory: pytest.TempPathFactory) -> Rolled:
    return Rolled.make(tmp_path_factory.mktemp("rollout"))


@pytest.fixture(scope="module")
def server(rolled: Rolled) -> Iterator[Server]:
    with rolling(rolled) as running:
        yield running


def shows(server: Server, kind: str | None, share: float = 50) -> None:
    """Wait until a server does what is declared."""

    def as_declared() -> bool:
        rollout = server.get("/version").json["rollout"]
        return rollout is None if kind is None else rollout and (rollout["kind"], rollout["share"]) == (kind, share)

    until(as_declared, f"the server shows no {kind}")
