"""A store is read once for all requests that wait, and what goes wrong is told to each of them, and no other."""

import asyncio
import threading

import pytest

from trunkline.core.errors import OutsideError
from trunkline.serve.online.reads import Reads
from trunkline.serve.online.store.protocol import NO_WATERMARK, Contents


class Store:
    """A store in which the value of each key is the key; it notes what it was asked for, and by which thread."""

    def __init__(self):
        self.asked, self.threads, self.goes_on, self.fails = [], set(), threading.Event(), False
        self.goes_on.set()

    def get(self, keys):
        self.asked.append(set(keys))
        self.threads.add(threading.get_ident())
        assert self.goes_on.wait(60)
        if self.fails:
            raise OutsideError("the store is gone")
        return Contents({key: key for key in keys}, {}, NO_WATERMARK)


@pytest.mark.parametrize("afar", [False, True])
def test_what_one_turn_asks_is_one_read(afar):
    store = Store()

    async def ask():
        reads = Reads(store.get, afar=afar)
        return await asyncio.gather(*(reads.get({b"all", key}) for key in (b"a", b"b", b"c")))

    found = asyncio.run(ask())
    assert store.asked == [{b"all", b"a", b"b", b"c"}]
    assert [(each.values[b"all"], key in each.values) for each, key in zip(found, (b"a", b"b", b"c"), strict=True)] == (
        [(b"all", True)] * 3
    )
    assert (threading.get_ident() in store.threads) is not afar


def test_what_comes_while_a_store_is_read_is_the_next_read_and_who_has_gone_asks_nothing():
    store = Store()
    store.goes_on.clear()

    async def ask():
        reads = Reads(store.get, afar=True)
        first = asyncio.create_task(reads.get({b"a"}))
        while not store.asked:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(reads.get({key})) for key in (b"b", b"c", b"d")]
        await asyncio.sleep(0)
        others[1].cancel()
        first.cancel()
        await asyncio.sleep(0)
        store.goes_on.set()
        return await asyncio.gather(first, *others, return_exceptions=True)

    gone, b, c, d = asyncio.run(ask())
    assert store.asked == [{b"a"}, {b"b", b"d"}]
    assert (b.values[b"b"], d.values[b"d"]) == (b"b", b"d")
    assert isinstance(gone, asyncio.CancelledError)
    assert isinstance(c, asyncio.CancelledError)


@pytest.mark.parametrize("afar", [False, True])
def test_a_store_that_fails_fails_those_that_waited_and_the_next_ask_again(afar):
    store = Store()
    store.fails = True

    async def ask():
        reads = Reads(store.get, afar=afar)
        failed = await asyncio.gather(reads.get({b"a"}), reads.get({b"b"}), return_exceptions=True)
        store.fails = False
        return failed, await reads.get({b"c"})

    failed, found = asyncio.run(ask())
    assert [str(error) for error in failed] == ["the store is gone"] * 2
    assert found.values == {b"c": b"c"}
    assert store.asked == [{b"a", b"b"}, {b"c"}]
