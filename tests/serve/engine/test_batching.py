"""Requests that wait are scored together, each gets its own scores, and none spoils another's."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event

import numpy as np
import pytest

from trunkline.serve.engine import batching
from trunkline.serve.engine.batching import PATIENCE, Batches

SECONDS = 30


class Scorer:
    """Scores a row with its number; a call waits until it may go on, and is noted with its rows."""

    def __init__(self):
        self.calls, self.entered, self.go_on = [], SimpleQueue(), Event()

    def __call__(self, numeric, texts):
        self.entered.put(len(numeric))
        assert self.go_on.wait(SECONDS)
        self.calls.append(numeric[:, 0].tolist())
        if (numeric < 0).any():
            raise ValueError(f"negative: {numeric.min()}")
        return numeric[:, 0] * 10


def asked(batches, *rows):
    return batches.scores(*matrices(rows)).tolist()


def matrices(rows):
    return np.array(rows, np.float64)[:, None], np.empty((len(rows), 0), object)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(16) as pool:
        yield pool


def submit(threads, batches, requests):
    """Ask one after the other, so that they wait in this order."""
    futures = []
    for request in requests:
        waiting = len(batches._waiting)
        futures.append(threads.submit(asked, batches, *request))
        while len(batches._waiting) == waiting:
            assert not futures[-1].done()
    return futures


def held(threads, most, requests):
    """The calls of a scorer, and the answers, of requests that come while it scores the first row."""
    scorer = Scorer()
    scorer.batches = batches = Batches(scorer, most)
    first = threads.submit(asked, batches, 0)
    scorer.entered.get(timeout=SECONDS)
    futures = submit(threads, batches, requests)
    scorer.go_on.set()
    assert first.result(SECONDS) == [0]
    return scorer, futures


def test_what_waits_is_scored_in_one_call_and_each_request_gets_its_own(threads):
    scorer, futures = held(threads, 100, [[1], [2, 3], [4]])
    assert [future.result(SECONDS) for future in futures] == [[10], [20, 30], [40]]
    assert scorer.calls == [[0], [1, 2, 3, 4]]


def test_no_call_has_more_rows_than_a_request_may_have(threads):
    scorer, futures = held(threads, 3, [[1, 2], [3], [4], [5, 6, 7], [8]])
    assert [future.result(SECONDS) for future in futures] == [[10, 20], [30], [40], [50, 60, 70], [80]]
    assert scorer.calls == [[0], [1, 2, 3], [4], [5, 6, 7], [8]]


def test_a_request_that_cannot_be_scored_spoils_no_other(threads):
    scorer, futures = held(threads, 100, [[1], [-2], [3]])
    assert [futures[number].result(SECONDS) for number in (0, 2)] == [[10], [30]]
    with pytest.raises(ValueError, match="negative: -2"):
        futures[1].result(SECONDS)
    assert scorer.calls == [[0], [1, -2, 3], [1], [-2], [3]]


def test_an_idle_scorer_scores_at_once():
    scorer = Scorer()
    scorer.go_on.set()
    batches = Batches(scorer, 100)
    assert [asked(batches, 1), asked(batches, 2, 3)] == [[10], [20, 30]]
    assert scorer.calls == [[1], [2, 3]]


def test_those_that_were_scored_together_are_waited_for_a_while(threads, monkeypatch):
    scorer, futures = held(threads, 100, [[1], [2], [3]])
    assert [future.result(SECONDS) for future in futures] == [[10], [20], [30]]
    batches, others, waited = scorer.batches, [], []

    def while_waiting(seconds):
        waited.append(seconds)
        others.extend(submit(threads, batches, [[5], [6]]))

    monkeypatch.setattr(batching.time, "sleep", while_waiting)
    requests, seconds = batches._last
    assert asked(batches, 4) == [40]
    assert [future.result(SECONDS) for future in others] == [[50], [60]]
    assert scorer.calls[2:] == [[4, 5, 6]]
    assert (requests, waited) == (3, [PATIENCE * seconds])


def test_in_the_event_loop_a_request_that_nobody_waits_for_is_not_scored():
    scorer = Scorer()
    batches = Batches(scorer, 100)

    async def ask():
        first, gone, last = (asyncio.ensure_future(batches.scores_in_turn(*matrices([row]))) for row in (1, 2, 3))
        await asyncio.to_thread(scorer.entered.get, timeout=SECONDS)
        gone.cancel()
        await asyncio.wait([gone])
        scorer.go_on.set()
        return [(await each).tolist() for each in (first, last)]

    assert asyncio.run(ask()) == [[10], [30]]
    assert scorer.calls == [[1], [3]]


def test_a_scorer_that_would_end_its_thread_is_an_error_of_its_rows():
    def scorer(numeric, texts):
        if numeric[0, 0] < 0:
            raise SystemExit
        return numeric[:, 0]

    batches, texts = Batches(scorer, 100), np.empty((1, 0), object)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="raised SystemExit"):
            batches.scores(np.array([[-1.0]]), texts)
        assert batches.scores(np.array([[7.0]]), texts).tolist() == [7.0]
