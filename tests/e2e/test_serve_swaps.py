"""A thousand deliveries under load, every other one bad: nobody notices but by the version that answers."""

import asyncio
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import bundles
from tests.releases import released, signers
from tests.serve.conftest import GOOD, golden_bundle
from trunkline.bundle.manifest import digest
from trunkline.conf.deploy import Deploy
from trunkline.conf.serving import Limits, Serving
from trunkline.deploy.reconcile.store import BundleStore
from trunkline.release.delivered import Trust
from trunkline.serve import model
from trunkline.serve.app import App
from trunkline.serve.auth.authenticate import Authenticator
from trunkline.serve.limits import Queue
from trunkline.serve.metrics import Metrics
from trunkline.serve.swap import Follower, Slot

pytestmark = pytest.mark.long

DELIVERIES = 1000
SETTLED = 300  # deliveries after which memory is taken for the first time
GROWTH = 8e6  # bytes
BODY = json.dumps(GOOD).encode()


@dataclass
class Fleet:
    """A store with bundles, good ones by digest with the score of a row, and ways to deliver something bad."""

    store: BundleStore
    good: dict[str, float] = field(default_factory=dict)
    number: int = 0

    def deliver(self, digest: str) -> None:
        self.number += 1
        self.store.deliver("production", released(digest, self.number, "sums"))

    def write(self, **changed: Any) -> None:
        """Write a pointer that `deliver` would not."""
        self.number += 1
        signed = released(changed["digest"], self.number, "sums").provenance if changed["digest"] != 7 else ""
        content = {"name": "sums", "version": f"v{self.number}", "commit": "0" * 40, "provenance": signed} | changed
        (self.store.folder / "production.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    home = tmp_path_factory.mktemp("swaps")
    fleet = Fleet(BundleStore(home / "store"))
    for number in (1, 2, 3):
        requests = (GOOD, *({"hour": hour, "origin": "JFK"} for hour in range(number)))
        made = golden_bundle(home / f"good-{number}", requests)
        fleet.store.put(digest(made), partial(shutil.copytree, made))
        fleet.good[digest(made)] = bundles.expected(bundles.INPUTS, GOOD)
    return fleet


@pytest.fixture(scope="module")
def bad(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> list[Callable[[], None]]:
    """What may be delivered that is not to be served, each as an action."""
    home = tmp_path_factory.mktemp("bad")

    def put(name: str, breaks: Callable[[Path], Any]) -> str:
        made = golden_bundle(home / name, label=name)
        sealed = digest(made)
        fleet.store.put(sealed, partial(shutil.copytree, made))
        breaks(fleet.store.bundle(sealed))
        return sealed

    def cut(folder: Path) -> None:
        content = (folder / "model.onnx").read_bytes()
        (folder / "model.onnx").write_bytes(content[: len(content) // 2])

    def as_folder(folder: Path) -> None:
        (folder / "contract.json").unlink()
        (folder / "contract.json").mkdir()

    changed = put("changed", lambda folder: (folder / "model.onnx").write_bytes(b"broken"))
    broken = [changed, put("cut", cut), put("unreadable", as_folder)]
    broken.append(put("unsealed", lambda folder: (folder / "manifest.json").unlink()))
    wrong = golden_bundle(home / "wrong", label="wrong")
    (wrong / "golden.json").write_text(json.dumps([{"request": GOOD, "score": -1.0}]), encoding="utf-8")
    bundles.seal(wrong)
    fleet.store.put(digest(wrong), partial(shutil.copytree, wrong))
    other = next(iter(fleet.good))
    pointers: list[dict[str, Any]] = [
        {"digest": "f" * 64, "bundle": f"bundles/{other}"},  # never verified under this digest
        {"digest": other, "bundle": "bundles/nowhere"},
        {"digest": other},
        {"digest": other, "bundle": f"bundles/{other}", "unknown": True},
        {"digest": 7, "bundle": f"bundles/{other}"},
        {"digest": other, "bundle": f"bundles/{other}", "provenance": ""},  # what nobody signed
        {"digest": other, "bundle": f"bundles/{other}", "provenance": released(other, 1, "sums", "other").provenance},
    ]
    return [
        *(partial(fleet.deliver, each) for each in [*broken, digest(wrong)]),
        *(partial(fleet.write, **each) for each in pointers),
    ]


@dataclass
class Served:
    """The application and what follows deliveries for it, in one process."""

    app: App
    slot: Slot
    follower: Follower
    metrics: Metrics


@pytest.fixture
def served(fleet: Fleet) -> Iterator[Served]:
    limits = Limits()
    metrics = Metrics()
    slot = Slot(on_change=metrics.show)
    load = partial(_load, limits)
    signed = Deploy.parse({"signers": signers(), "environments": {"production": {}}}).signers
    follower = Follower(slot, fleet.store.folder, "production", Trust("sums", signed).check, load)
    app = App(Serving(limits=limits), slot, metrics, Queue(limits.queue), Authenticator(None))
    yield Served(app, slot, follower, metrics)
    slot.on_change = lambda slot: None


def _load(limits: Limits, folder: Path, pointer: model.Pointer) -> model.Model:
    return model.load(folder, limits, 0.0, pointer)


async def ask(app: App) -> tuple[int, Any]:
    """Ask for the score of the row; return the status and the answer."""
    sent: list[Any] = []
    headers = [(b"content-type", b"application/json")]

    async def receive() -> Any:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/predict", "query_string": b"", "headers": headers}
    await app(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


async def follow(served: Served, fleet: Fleet, bad: list[Callable[[], None]]) -> tuple[int, list[int]]:
    """Deliver in one thread and ask all the while in another; return how often, and the memory as it went."""
    chance, process, memory = random.Random(1), psutil.Process(), []
    last = next(iter(fleet.good))
    fleet.deliver(last)
    served.follower.look()
    done = False

    def deliver() -> None:
        nonlocal last, done
        for number in range(DELIVERIES):
            if number % 2:
                chance.choice(bad)()
            else:
                last = chance.choice([each for each in fleet.good if each != last])
                fleet.deliver(last)
            served.follower.look()
            assert served.slot.current
            assert served.slot.current.version.digest == last
            assert (served.slot.problem is not None) == bool(number % 2)
            if number >= SETTLED:
                memory.append(process.memory_info().rss)
        done = True

    delivering, asked = asyncio.create_task(asyncio.to_thread(deliver)), 0
    while not delivering.done():
        status, answer = await ask(served.app)
        assert (status, answer.get("score")) == (200, fleet.good[answer["digest"]])
        asked += 1
        await asyncio.sleep(0)
    await delivering
    assert done
    return asked, memory


def test_a_thousand_deliveries_under_load_fail_no_request_and_leave_nothing_behind(served, fleet, bad):
    asked, memory = asyncio.run(follow(served, fleet, bad))
    assert asked > DELIVERIES
    assert memory[-1] - memory[0] < GROWTH
    shown = [line for line in served.metrics.text().decode().splitlines() if line.startswith("trunkline_model_info")]
    assert len(shown) == 2
