"""Answers a request while a rollout runs: a canary's rows by the candidate, and all others by what is served.

Whatever the candidate does, the client has an answer: a row that it refuses, fails on or takes too long for is answered
by what is served.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TypeVar

from trunkline.serve.asked import Answered, Asked
from trunkline.serve.limits import Queue, before
from trunkline.serve.model import Model, Scored
from trunkline.serve.problems import ProblemError
from trunkline.serve.rollout.arms import Arms
from trunkline.serve.rollout.parts import Part, answered_by, checked, failed, merged, part_of, problem_of, tried

_Result = TypeVar("_Result")

_PATIENCE = 0.5  # of the time that a request has left: what the candidate may take of it


@dataclass(frozen=True)
class Outcome:
    """The answer to a request, or what it failed with; and what is logged of each arm."""

    parts: Sequence[Scored]
    answered: Answered | None = None
    error: Exception | None = None


@dataclass(frozen=True)
class Work:
    """Where a request is worked on, how large its body is, in bytes, and until when, by the monotonic clock.

    Where `slow`, it is worked on in the other thread, however small; where `in_turn`, a graph scores its rows together
    with those of other requests.
    """

    queue: Queue
    size: int
    deadline: float
    slow: bool = False
    in_turn: bool = False

    async def run(self, work: Callable[[], _Result], *, waits: bool) -> _Result:
        """Return what `work` returns, in time; raises ProblemError, 504, where it is later."""
        size = math.inf if self.slow else self.size
        return await self.queue.run(work, size, self.deadline, waits=waits)


async def answer(arms: Arms, asked: Asked, work: Work) -> Outcome:
    """Return the answer to a request by the arms of its rows.

    Raises ProblemError where it cannot be read, and 504 where the time is over.
    """
    answers: list[Part] = []
    if numbers := await work.run(partial(arms.answered, asked), waits=False):
        answers.append(await _tried(arms.candidate, asked, numbers, work))
    logged = [part.logged("canary", asked.own_id) for part in answers]
    taken = {number for part in answers for number in part.scored}
    rest = [number for number in range(len(asked.rows)) if number not in taken] if numbers else None
    if rest is None or rest:
        try:
            answers.append(await _by_current(arms.current, asked, rest, work))
        except Exception as error:
            unanswered = [part.without_scores().logged("canary", asked.own_id) for part in answers]
            return Outcome([*unanswered, *_refused(arms.current, asked, rest, error)], error=error)
        logged.append(answers[-1].logged("current", asked.own_id))
    if rest is None:
        return Outcome(logged, answers[-1].whole(asked))
    return Outcome(logged, await work.run(partial(merged, answers, asked), waits=False))


async def _by_current(model: Model, asked: Asked, rest: Sequence[int] | None, work: Work) -> Part:
    if not work.in_turn or model.waits:
        return await work.run(partial(answered_by, model, asked, rest), waits=model.waits)
    given, accepted = checked(model, asked, rest)
    scored = await before(work.deadline, model.timed_in_turn(accepted), waits=False)
    return part_of(model, asked, rest, given, scored)


async def _tried(model: Model, asked: Asked, numbers: Sequence[int], work: Work) -> Part:
    """Try the candidate in a thread of its own, so that no request of others waits for it."""
    now = time.monotonic()
    patience = now + (work.deadline - now) * _PATIENCE
    try:
        return await work.queue.tried(partial(tried, model, asked, numbers, explained=asked.explained), patience)
    except ProblemError as late:
        return failed(model, asked, numbers, problem_of(late))


def _refused(model: Model, asked: Asked, rest: Sequence[int] | None, error: Exception) -> list[Scored]:
    """Return what is logged of rows that were not answered: the one that is refused, or all where scoring failed.

    Being late is a failure, as it is of a candidate; where the rows were not read yet, none of the arms has tried.
    """
    late = isinstance(error, ProblemError) and error.status == HTTPStatus.GATEWAY_TIMEOUT and asked.is_read
    numbers: Sequence[int]
    if late or not isinstance(error, ProblemError):
        numbers = range(len(asked.rows)) if rest is None else rest
    elif error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        numbers = [error.members.get("row", 0)]
    else:
        return []
    return [failed(model, asked, numbers, problem_of(error)).logged("current", asked.own_id)]
