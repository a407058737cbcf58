"""A rollout with real processes under load: good candidates go all the way, bad ones are taken back, kills converge.

The tests share production, and go on from each other in their order: the first imports the outcomes.
"""

import json
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain

import pytest

from tests import bundles
from tests.e2e import rolling
from tests.e2e.rolling import ROWS, Load, World, kill, shown
from tests.endpoint import until
from tests.releases import NAME
from tests.serving import Server

pytestmark = pytest.mark.long

NUMBERS = {"good": 2, "slow": 3, "refusing": 4, "failing": 5, "biased": 6, "mirrored": 7, "better": 8}
CHANGES = {name: getattr(rolling, name) for name in ("slow", "failing", "biased", "mirrored")}
KEYS = 600  # that are asked for in each step
Declared = tuple[str, str | None, float | None]


@dataclass
class Scene:
    """Production under load: its server and the clients that ask it."""

    world: World
    server: Server
    load: Load
    reconciler: "subprocess.Popen[bytes]"
    servers: ExitStack

    def kill_server(self) -> None:
        """End the server as kill -9 does, and start it again, at another address."""
        self.load.is_down = True
        kill(self.server.process)
        self.server = self.servers.enter_context(self.world.server())
        self.load.address, self.load.is_down = self.server.address, False

    def kill_reconciler(self) -> None:
        """End the reconciler as kill -9 does, and start it again."""
        kill(self.reconciler)
        self.reconciler = self.world.reconciler()

    def shows(self, declared: Declared) -> float:
        """Wait until the server does what is declared, and return when that was seen."""
        until(lambda: shown(self.server.address) == declared, 60)
        return time.monotonic()

    def step(self, current: str, candidate: str, kind: str, share: float, ends: str = "step up") -> list[str]:
        """Go through a step, and see that no key changes its arm in it; return the reasons of its end."""
        begin = self.shows((current, kind, share))
        return self.end(begin, candidate, share if kind == "canary" else 0, ends)

    def end(self, begin: float, candidate: str, share: float, ends: str = "step up") -> list[str]:
        """Have the step that began at a moment end, and see that no key changed its arm since."""
        until(lambda: len(self.load.arms(begin, time.monotonic())) > KEYS)
        answer = self.world.decided()
        arms = self.load.arms(begin, answer["asked"])
        assert not {key: versions for key, versions in arms.items() if len(versions) > 1}
        assert sum(versions == {candidate} for versions in arms.values()) / len(arms) == pytest.approx(
            share / 100, abs=0.07
        )
        assert not self.load.problems
        assert answer["answer"] == ends, answer["reasons"]
        return list(answer["reasons"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("rollout")
    made = {"v1": rolling.bundle(folder / "v1", 0.0, [])}
    for name, number in NUMBERS.items():
        more = number * rolling.MORE
        change = CHANGES[name]() if name in CHANGES else []
        path = folder / f"v{number}"
        made[f"v{number}"] = rolling.refusing(path, more) if name == "refusing" else rolling.bundle(path, more, change)
    return World.create(folder, made)


@pytest.fixture(scope="module")
def scene(world: World) -> Iterator[Scene]:
    """Production, where a reconciler looks each second; both are started again by the tests that kill them."""
    world.reconcile()
    with ExitStack() as servers:
        server = servers.enter_context(world.server())
        load = servers.enter_context(Load(world.bundles, server.address).running())
        running = Scene(world, server, load, world.reconciler(), servers)
        try:
            yield running
        finally:
            kill(running.reconciler)


def test_a_good_one_goes_from_shadow_to_all_and_waits_for_its_labels(scene: Scene) -> None:
    world = scene.world
    world.promote("v2")
    scene.step("v1", "v2", "shadow", 100)
    scene.step("v1", "v2", "canary", 5)
    begin = scene.shows(("v1", "canary", 25))
    until(lambda: any("they are late" in reason for reason in world.verdict()["reasons"]), 30)
    late = world.verdict()
    assert late["answer"] == "hold", late["reasons"]
    assert late["did"] is None
    chance = random.Random(1)
    world.label({row["dest"]: bundles.expected(bundles.INPUTS, row) + chance.gauss(0, 1) for row in ROWS})
    scene.end(begin, "v2", 25, "finish")
    scene.shows(("v2", None, None))
    assert world.history()[-4:] == [
        (f"Begin the rollout of {NAME} v2 to production", "{version: v1, shadow: v2}"),
        (f"Have {NAME} v2 answer 5 % of production", "{version: v1, canary: {version: v2, share: 5}}"),
        (f"Have {NAME} v2 answer 25 % of production", "{version: v1, canary: {version: v2, share: 25}}"),
        (f"Promote {NAME} v2 to production", "v2"),
    ]
    assert not scene.load.problems


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("slow", "latency_p50: "),
        ("refusing", "refusals: "),
        ("failing", "errors: "),
        ("biased", "mean of origin JFK: "),
    ],
)
def test_a_bad_one_is_taken_back_from_the_shadow_with_the_reason_and_held(scene: Scene, name: str, reason: str) -> None:
    world, candidate = scene.world, f"v{NUMBERS[name]}"
    current = shown(scene.server.address)[0]
    world.promote(candidate)
    reasons = scene.step(current, candidate, "shadow", 100, "go back")
    assert any(each.startswith(reason) for each in reasons), reasons
    assert world.history()[-1][0] == f"Take {NAME} {candidate} back from production"
    scene.shows((current, None, None))
    assert f"{candidate}, which is held: it was taken back here" in world.refused(candidate)


def test_one_that_is_as_good_on_average_and_wrong_in_a_slice_is_taken_back_when_labels_show_it(scene: Scene) -> None:
    world = scene.world
    current = shown(scene.server.address)[0]
    world.promote("v7")
    scene.step(current, "v7", "shadow", 100)
    scene.step(current, "v7", "canary", 5)
    reasons = scene.step(current, "v7", "canary", 25, "go back")
    assert {each.partition(":")[0] for each in reasons} <= {"performance", "performance of origin JFK"}, reasons
    assert any(each.startswith("performance of origin JFK: ") for each in reasons)
    ended = scene.shows((current, None, None))
    assert "v7, which is held: it was taken back here" in world.refused("v7")
    assert {*chain.from_iterable(scene.load.arms(ended, time.monotonic()).values())} == {current}


def test_whatever_is_killed_it_converges_and_no_step_is_done_twice(scene: Scene) -> None:
    world, chance = scene.world, random.Random(time.time_ns())
    current, before = shown(scene.server.address)[0], len(world.history())
    titles = [f"Begin the rollout of {NAME} v8 to production", f"Have {NAME} v8 answer 5 % of production"]
    world.promote("v8")
    begin = scene.shows((current, "shadow", 100))
    world.waits_for("step up")
    assert world.killed("before") == -9
    assert len(world.history()) == before + 1, "nothing was pushed"
    scene.end(begin, "v8", 0)
    time.sleep(chance.random())
    scene.kill_reconciler()

    begin = scene.shows((current, "canary", 5))
    scene.kill_server()
    scene.shows((current, "canary", 5))
    assert "a rollout of v8 runs, and one at a time does" in world.refused("v1")
    world.waits_for("step up")
    time.sleep(chance.random())
    assert world.killed("after") == -9
    assert [title for title, _ in world.history()[before:]] == [*titles, f"Have {NAME} v8 answer 25 % of production"]
    stale = json.loads(world.run("rollout", "--act", "--json"))
    assert (stale["answer"], stale["did"].partition(":")[0]) == ("step up", "nothing")

    scene.kill_reconciler()
    scene.shows((current, "canary", 25))
    scene.kill_server()
    world.killed_after(chance.uniform(0.5, 3))
    if "canary" in world.declared():
        assert world.decided()["answer"] == "finish"
    scene.kill_reconciler()
    scene.shows(("v8", None, None))
    assert [title for title, _ in world.history()[before:]] == [
        *titles,
        f"Have {NAME} v8 answer 25 % of production",
        f"Promote {NAME} v8 to production",
    ]
    assert not scene.load.problems


def test_two_rollouts_at_once_are_refused_and_what_runs_goes_on(scene: Scene) -> None:
    world, current = scene.world, shown(scene.server.address)[0]
    world.promote("v1")
    scene.shows((current, "shadow", 100))
    world.edit("shadow: v1", "shadow: v1, canary: {version: v2, share: 5}", "Two at once")
    until(lambda: "has a shadow and a canary, but one rollout runs at a time" in world.reconciled(), 30)
    assert shown(scene.server.address) == (current, "shadow", 100)
    world.edit(", shadow: v1, canary: {version: v2, share: 5}", "", "None")
    scene.shows((current, None, None))
    assert not scene.load.problems
