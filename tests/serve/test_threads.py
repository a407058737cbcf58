"""Threads that nobody waits for: they do what pool threads do, and end with the process."""

import subprocess
import sys
import threading
from concurrent.futures import wait

import pytest

from trunkline.serve.threads import Daemons

HANGS = """
import time
from trunkline.serve.threads import Daemons
Daemons(1, "tries").submit(time.sleep, 60)
"""


def test_no_more_run_at_once_than_may_and_idle_ones_are_taken_again():
    threads, together, most = Daemons(3, "few"), threading.Barrier(3), set()
    assert threads.submit(divmod, 7, 2).result(5) == (3, 1)

    def work():
        most.add(threading.current_thread().name)
        together.wait(5)  # all three at once, and so nine in three rounds

    assert not wait([threads.submit(work) for _ in range(9)], 10).not_done
    assert len(most) == 3
    assert threads.submit(threading.current_thread).result(5).name in most


def test_what_is_raised_is_the_answer_and_what_is_cancelled_is_not_done():
    threads, goes_on = Daemons(1, "one"), threading.Event()
    first, second = threads.submit(goes_on.wait), threads.submit(pytest.fail)
    assert second.cancel()
    goes_on.set()
    assert first.result(5) is True
    with pytest.raises(SystemExit):
        threads.submit(sys.exit).result(5)
    assert threads.submit(len, "abc").result(5) == 3


def test_a_process_ends_though_one_hangs():
    subprocess.run([sys.executable, "-c", HANGS], check=True, timeout=30)
