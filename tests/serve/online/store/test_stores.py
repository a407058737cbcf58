"""Every kind of store keeps what it is given: whole, once, by many at once, and whoever is killed."""

import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import ROOT
from tests.serve.online import trips
from tests.serve.online.conftest import opened
from tests.serve.online.pusher import typed
from trunkline.core.errors import OutsideError, UserError
from trunkline.pipeline.features.plan_json import plan_content
from trunkline.serve.online.events import TableEvents
from trunkline.serve.online.plan import OnlinePlan
from trunkline.serve.online.store.open import open_store
from trunkline.serve.online.store.protocol import NO_WATERMARK, Store
from trunkline.serve.online.values import Merged

SECONDS = 120


class Appended(NamedTuple):
    """A change that puts a letter behind the value."""

    letter: bytes
    dies: int | None = None

    def merge(self, value: bytes | None, watermark: int) -> Merged:
        return Merged((value or b"") + self.letter, self.dies)


class Broken:
    def merge(self, value: bytes | None, watermark: int) -> Merged:
        raise ZeroDivisionError


class Nothing:
    def merge(self, value: bytes | None, watermark: int) -> Merged:
        return Merged(None, None)


def test_what_is_put_is_found_and_nothing_else(store: Store) -> None:
    assert store.get([b"a"], ["f"]) == ({}, {}, NO_WATERMARK)
    store.put({b"a": Appended(b"x"), b"\0\xff": Appended(b"")}, {"f": b"1", "é": b"2"})
    store.put({b"a": Appended(b"y")})
    assert store.get([b"a", b"\0\xff", b"f", b"w"], ["f", "é", "a"]) == (
        {b"a": b"xy", b"\0\xff": b""}, {"f": b"1", "é": b"2"}, NO_WATERMARK,
    )  # fmt: skip
    store.put({b"a": Nothing()}, {"f": b"3"})
    assert store.get([b"a"], ["f"]) == ({}, {"f": b"3"}, NO_WATERMARK)


def test_a_change_that_fails_leaves_all_as_it_was(store: Store) -> None:
    store.put({b"a": Appended(b"x")}, {"f": b"1"})
    with pytest.raises(ZeroDivisionError):
        store.put({b"a": Appended(b"y"), b"b": Broken()}, {"f": b"2"})
    assert store.get([b"a", b"b"], ["f"]) == ({b"a": b"x"}, {"f": b"1"}, NO_WATERMARK)


def test_the_watermark_rises_and_what_died_before_it_is_dropped(store: Store) -> None:
    many = {f"{number}".encode(): Appended(b"x", number) for number in range(2500)}
    store.put({**many, b"never": Appended(b"x"), b"old": Appended(b"x", -(2**62))})
    store.put({b"7": Appended(b"y", 2**62)})
    assert store.expire(2400) == 2400
    assert store.expire(2399) == 0
    found = store.get([*many, b"never", b"old"])
    assert found.watermark == 2400
    assert set(found.values) == {b"7", b"never", *(f"{number}".encode() for number in range(2400, 2500))}


def test_many_at_once_lose_nothing_and_see_nothing_half_done(store: Store, address: str) -> None:
    """Four writers put two values at a time, which readers always find equal."""
    both = [b"a", b"b"]

    def write(letter: bytes) -> None:
        own = opened(address)
        for _ in range(25):
            own.put({key: Appended(letter) for key in both})
        own.close()

    writers = [threading.Thread(target=write, args=(bytes([65 + number]),)) for number in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        found = store.get(both).values
        assert found.get(b"a") == found.get(b"b")
    found = store.get(both).values
    assert found[b"a"] == found[b"b"]
    assert {letter: found[b"a"].count(letter) for letter in (b"A", b"B", b"C", b"D")} == dict.fromkeys(
        (b"A", b"B", b"C", b"D"), 25
    )


def test_a_connection_that_was_lost_is_made_again(store: Store, address: str) -> None:
    store.put({b"a": Appended(b"x")})
    assert store.get([b"a"]).values == {b"a": b"x"}
    if address.startswith("postgresql"):
        import psycopg

        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        with psycopg.connect(address.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"{others} AND backend_type = 'client backend'")
        for verb in (lambda: store.get([b"a"]), lambda: store.put({b"a": Appended(b"y")})):
            with pytest.raises(
                OutsideError, match="the store of online features does not answer: terminating connection"
            ):
                verb()
    elif address.startswith("unix"):
        import redis

        with redis.Redis.from_url(address) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    store.put({b"a": Appended(b"y")})
    assert store.get([b"a"]).values == {b"a": b"xy"}


def batches(count: int) -> list[list[dict[str, Any]]]:
    """Batches of trips, of which many are of the same station."""
    chance = random.Random(7)
    rows = [
        {
            "number": number, "station": chance.choice("abcdef"), "line": number % 3, "load": chance.random(),
            "starts": (trips.START + timedelta(minutes=chance.randrange(10_000))).isoformat(),
            "delay": chance.choice([None, 5, 20, 300]),
        }
        for number in range(count * 20)
    ]  # fmt: skip
    return [rows[start : start + 20] for start in range(0, len(rows), 20)]


def test_writers_that_are_killed_again_and_again_lose_and_double_nothing(
    fresh: Callable[[], Store], address: str, tmp_path: Path
) -> None:
    """Two at a time, killed before any call of the store's code; in the end all is as if put in one go."""
    plan, types = trips.planned(), trips.types_of("trips")
    content = {"plan": plan_content(plan), "table": "trips", "types": types}
    content |= {"batches": {"one": batches(60)[::2], "other": batches(60)[1::2]}}
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(content))
    store, chance = fresh(), random.Random(address[:4])
    for _ in range(3):
        calls = [chance.randrange(1, 400) for _ in range(2)]
        assert pushed_by_two(address, file, calls) == [("", "", -signal.SIGKILL)] * 2
    assert pushed_by_two(address, file, [0, 0]) == [("done\n", "", 0)] * 2
    rows = [typed(row, types) for batch in batches(60) for row in batch]
    changes = TableEvents(OnlinePlan(plan), "trips", types).changes(rows)
    at_once = {key: change.merge(None, NO_WATERMARK).value for key, change in changes.items()}
    found = store.get(at_once, ["one", "other"])
    assert found.facts == {"one": b"30", "other": b"30"}
    assert found.values == at_once


def pushed_by_two(address: str, file: Path, calls: Sequence[int]) -> list[tuple[str, str, int]]:
    """Return what two writers, each killed before its so-manieth call, said on either stream, and their codes."""
    command = [sys.executable, "-m", "tests.serve.online.pusher", address, str(file)]
    with ExitStack() as stack:
        pair = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, name, str(call)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    cwd=ROOT,
                )
            )
            for name, call in zip(("one", "other"), calls, strict=True)
        ]
        return [(*process.communicate(timeout=SECONDS), process.returncode) for process in pair]


@pytest.mark.parametrize(
    ("address", "told"),
    [("redis://127.0.0.1:1/0", "redis://127.0.0.1:1/0: the store of online features does not answer"),
     ("postgresql://someone:secret@127.0.0.1:1/x", "postgresql://127.0.0.1:1/x: the store of online features does not"),
     ("sqlite:///dev/null/online.db", "/dev/null/online.db: the store of online features cannot be used")],
)  # fmt: skip
def test_a_store_that_is_not_there_is_told_without_its_password(address: str, told: str) -> None:
    with pytest.raises(OutsideError) as refused:
        open_store(address, {}, Path("/"))
    assert str(refused.value).startswith(told)
    assert "secret" not in str(refused.value)


def test_another_kind_of_store_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"store 'rediss3': is no kind of store .*; did you mean 'rediss'\?"):
        open_store("rediss3://host/0", {})
