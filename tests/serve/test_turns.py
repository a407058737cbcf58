"""Requests of one turn of the loop are scored in one call, each gets its own scores, and none spoils another's."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.serve.decode import Rows
from trunkline.serve.turns import Turns


class Scorer:
    """Scores a row with ten times its number; a negative one raises."""

    def __init__(self):
        self.calls = []

    def __call__(self, numeric, texts):
        self.calls.append(numeric[:, 0].tolist())
        assert texts.shape == (len(numeric), 1)
        if (numeric < 0).any():
            raise ValueError(f"negative: {numeric.min()}")
        return numeric[:, 0] * 10


def rows(*numbers):
    return Rows([([number], ["a"]) for number in numbers], (1, 1))


async def asked(turns, requests):
    return await asyncio.gather(*(turns.scores(rows(*numbers)) for numbers in requests), return_exceptions=True)


@given(requests=st.lists(st.lists(st.integers(-3, 30).map(float), max_size=4), min_size=1, max_size=8))
def test_each_request_of_a_turn_gets_what_it_gets_alone(requests):
    scorer = Scorer()
    answers = asyncio.run(asked(Turns(scorer), requests))
    for numbers, answer in zip(requests, answers, strict=True):
        if any(number < 0 for number in numbers):
            assert str(answer) == f"negative: {min(numbers)}"
        else:
            assert answer.tolist() == [number * 10 for number in numbers]
    assert scorer.calls[0] == [number for numbers in requests for number in numbers]
    assert len(scorer.calls) == (1 if min(scorer.calls[0], default=0) >= 0 else 1 + len(requests))


def test_who_goes_away_leaves_the_others_their_scores():
    async def one_goes():
        scorer = Scorer()
        turns = Turns(scorer)
        gone, stays = (asyncio.ensure_future(turns.scores(rows(number))) for number in (1.0, 2.0))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return (await stays).tolist(), scorer.calls

    assert asyncio.run(one_goes()) == ([20.0], [[1.0, 2.0]])


def test_the_next_turn_is_scored_by_itself():
    async def twice():
        scorer = Scorer()
        turns = Turns(scorer)
        for number in (1.0, 2.0):
            await turns.scores(rows(number))
        return scorer.calls

    assert asyncio.run(twice()) == [[1.0], [2.0]]


def test_the_seconds_of_a_call_are_known_where_it_scored_one_request_and_of_sixteen_one_is():
    scorer = Scorer()
    turns = Turns(scorer)

    async def timed(count):
        return await asyncio.gather(*(turns.timed(rows(float(number))) for number in range(count)))

    (alone,) = asyncio.run(timed(1))
    assert (alone[0].tolist(), alone[1] >= 0) == ([0.0], True)
    together = asyncio.run(timed(32))
    assert [scores.tolist() for scores, _ in together] == [[number * 10.0] for number in range(32)]
    assert [number for number, (_, seconds) in enumerate(together) if seconds is not None] == [14, 30]
    assert [len(call) for call in scorer.calls] == [1, 1, 1, 30]
