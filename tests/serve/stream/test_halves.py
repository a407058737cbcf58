"""A batch with a bad message is worked on by halves, and what does not answer is no message's fault."""

import math
from http import HTTPStatus

import pytest

from trunkline.serve.problems import ProblemError, refused_row
from trunkline.serve.stream.halves import by_halves
from trunkline.serve.stream.message import OutageError

BAD, WORSE = 37, 90


def test_one_bad_item_of_many_costs_some_calls_and_all_keep_their_places():
    calls = []

    def work(items):
        calls.append(len(items))
        if BAD in items:
            raise refused_row("is bad")
        if WORSE in items:
            raise ZeroDivisionError
        return [item * 2 for item in items]

    results = by_halves(work, range(128))
    problems = {place: each.status for place, each in enumerate(results) if isinstance(each, ProblemError)}
    assert problems == {BAD: HTTPStatus.UNPROCESSABLE_ENTITY, WORSE: HTTPStatus.INTERNAL_SERVER_ERROR}
    assert [each for each in results if not isinstance(each, ProblemError)] == [
        item * 2 for item in range(128) if item not in (BAD, WORSE)
    ]
    assert len(calls) <= 2 * 2 * math.log2(128) + 1
    assert by_halves(work, []) == []


def test_a_store_that_does_not_answer_is_an_outage():
    def work(items):
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "the store does not answer")

    with pytest.raises(OutageError, match="the store does not answer"):
        by_halves(work, range(4))
