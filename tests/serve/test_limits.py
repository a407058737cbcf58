"""The queue and the time of a request."""

import asyncio
import threading
import time

import pytest

from trunkline.serve.limits import SMALL, Queue, allowed_seconds
from trunkline.serve.problems import ProblemError


@pytest.mark.parametrize(("header", "seconds"), [(None, 30.0), ("0.5", 0.5), ("90", 30.0)])
def test_a_client_may_ask_for_less_time_but_not_for_more(header, seconds):
    assert allowed_seconds(header, 30.0) == seconds


@pytest.mark.parametrize("header", ["soon", "", "0", "-1", "nan", "inf"])
def test_what_is_no_time_is_refused(header):
    with pytest.raises(ProblemError, match="seconds above 0") as caught:
        allowed_seconds(header, 30.0)
    assert caught.value.status == 400


def test_work_on_a_large_body_lets_others_go_on_and_ends_with_its_time():
    release = threading.Event()

    async def main() -> None:
        queue = Queue(2)
        slow = asyncio.create_task(queue.run(release.wait, SMALL + 1, time.monotonic() + 60))
        await asyncio.sleep(0)  # so that it has the thread
        assert await queue.run(lambda: "small", 1, time.monotonic() + 60) == "small"
        with pytest.raises(ProblemError) as caught:
            await queue.run(lambda: "waits", SMALL + 1, time.monotonic() + 0.01)
        assert caught.value.status == 504
        with pytest.raises(ProblemError):
            await queue.run(lambda: "late", 1, time.monotonic() - 1)
        release.set()
        assert await slow

    asyncio.run(main())


def test_work_that_waits_has_a_thread_of_its_own_however_small():
    async def main():
        queue, barrier = Queue(3), threading.Barrier(3)
        deadline = time.monotonic() + 60
        works = (queue.run(lambda: barrier.wait(60), 1, deadline, waits=True) for _ in range(3))
        assert sorted(await asyncio.gather(*works)) == [0, 1, 2]

    asyncio.run(main())


def test_a_full_queue_refuses_and_a_place_is_given_back():
    queue = Queue(1)
    with queue.entered(), pytest.raises(ProblemError) as caught, queue.entered():
        pass
    assert (caught.value.status, caught.value.headers) == (503, {"retry-after": "1"})
    with queue.entered():
        assert queue.length == 1
    assert queue.length == 0
