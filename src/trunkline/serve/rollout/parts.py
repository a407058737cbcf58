"""The rows of a request that one arm scores, and how those of two arms become one answer."""

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import numpy as np

from trunkline.core.arrays import Floats
from trunkline.serve.asked import Answered, Asked
from trunkline.serve.bundles import PipelineBundle
from trunkline.serve.decode import Columns, Rows
from trunkline.serve.model import Arm, Given, Model, Scored, refuse
from trunkline.serve.problems import ProblemError, renumbered
from trunkline.serve.turns import Timed

REFUSED = "refused: "
_LONGEST = 100  # characters of a problem
_AGAIN = 60.0  # seconds after which a failure is told again

_log = logging.getLogger(__name__)


@dataclass
class _Failures:
    """Tells why a candidate fails, now and then: it may fail on every request."""

    next: float = 0.0  # of the monotonic clock

    def tell(self, model: Model, error: Exception) -> None:
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + _AGAIN
            _log.warning("the candidate %s fails: %r", model.version.version, error)


_failures = _Failures()
_NOTHING = Given(Rows([], (0, 0)))


@dataclass(frozen=True)
class Part:
    """Rows of these numbers as a model scored them, in `seconds`; `problems` are those that it has no score of.

    `asked` are what the log keeps of these: their columns as JSON.
    """

    model: Model
    numbers: Sequence[int]
    given: Given
    scores: Floats
    seconds: float | None = None
    explanations: Sequence[Any] | None = None
    problems: Mapping[int, str] = field(default_factory=dict)
    asked: Sequence[str | None] = ()

    @property
    def scored(self) -> list[int]:
        """The numbers of the scored rows."""
        refused = self.given.rows.refused or {}
        return [number for place, number in enumerate(self.numbers) if place not in refused]

    def whole(self, asked: Asked) -> Answered:
        """Return the answer of a part that has all rows."""
        return Answered.by(self.model, self.given, self.scores, explanations=self.explanations, id=asked.id)

    def without_scores(self) -> "Part":
        """Return the part with its problems alone: of a request that was not answered."""
        return Part(self.model, [], _NOTHING, np.empty(0), problems=self.problems, asked=self.asked)

    def logged(self, arm: Arm, request: str | None = None, at: float | None = None) -> Scored:
        """Return the part as the log and the metrics take it."""
        scored = self.given.scored(self.model, self.scores, request)
        return replace(
            scored,
            rows=scored.rows if arm == "current" else scored.rows.accepted,
            arm=arm,
            scoring=self.seconds,
            problems=self.problems,
            asked=self.asked,
            places=self.scored,
            at=at,
        )


def answered_by(model: Model, asked: Asked, numbers: Sequence[int] | None) -> Part:
    """Return the rows of some numbers, None for all, as a model scores them; raises ProblemError as `Model.scores`."""
    given, accepted = checked(model, asked, numbers)
    return part_of(model, asked, numbers, given, _timed(model, accepted))


def checked(model: Model, asked: Asked, numbers: Sequence[int] | None) -> tuple[Given, Rows | Columns]:
    """Return rows that a model has checked, and those that it scores; raises ProblemError for one that is refused."""
    given = asked.given(model) if numbers is None else _given(model, asked, numbers)
    accepted = asked.accepted(model, given)
    try:
        refuse(accepted)
    except ProblemError as problem:
        raise problem if numbers is None else renumbered(problem, numbers) from None
    return given, accepted


def part_of(model: Model, asked: Asked, numbers: Sequence[int] | None, given: Given, scored: Timed) -> Part:
    """Return the rows of some numbers, None for all, with their scores, and their explanations, if these are asked."""
    refused, (scores, seconds) = given.rows.refused or {}, scored
    numbers = range(len(scores) + len(refused)) if numbers is None else numbers
    explanations = model.explanations(asked.accepted(model, given), scores) if asked.explained else None
    problems = {numbers[place]: _words(error) for place, error in refused.items()}
    return Part(model, numbers, given, scores, seconds, explanations, problems, _columns(model, asked, problems))


def tried(model: Model, asked: Asked, numbers: Sequence[int], *, explained: bool = False) -> Part:
    """Return the rows of some numbers as a candidate scores them: what it refuses, or fails on, is a problem.

    Where `explained`, a row without an explanation has a problem too.
    """
    try:
        numbers, given, problems = _given_each(model, asked, numbers)
        accepted = given.rows.accepted
        scores, seconds = _timed(model, accepted)
        explanations = model.explanations(accepted, scores) if explained else None
    except Exception as error:
        _failures.tell(model, error)
        return failed(model, asked, numbers, problem_of(error))
    problems |= {numbers[place]: _words(error) for place, error in (given.rows.refused or {}).items()}
    return Part(model, numbers, given, scores, seconds, explanations, problems, _columns(model, asked, problems))


def failed(model: Model, asked: Asked, numbers: Sequence[int], problem: str) -> Part:
    """Return rows that have no score, all for the same reason."""
    columns = _columns(model, asked, numbers)
    return Part(model, [], _NOTHING, np.empty(0), problems=dict.fromkeys(numbers, problem), asked=columns)


def problem_of(error: Exception) -> str:
    """Return what the log says of a row that has no score: no value of it, which may be personal."""
    if not isinstance(error, ProblemError):
        return f"failed: {type(error).__name__}"
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"failed: {error.status.phrase}"
    return _words(error.words)


def merged(parts: Sequence[Part], asked: Asked) -> Answered:
    """Return the answer of the parts of a request: that of the current version, where there is one, is the last."""
    rows = sorted((number, of, place) for of, part in enumerate(parts) for place, number in enumerate(part.scored))
    scored = [parts[of] for _, of, _ in rows]
    versions = [part.model.version for part in scored]
    same = len(set(versions)) <= 1
    return Answered(
        version=versions[0] if versions and same else parts[-1].model.version,
        scores=np.array([parts[of].scores[place] for _, of, place in rows]).reshape(-1, *parts[-1].scores.shape[1:]),
        one=asked.one,
        refused={parts[-1].numbers[place]: error for place, error in (parts[-1].given.rows.refused or {}).items()},
        joined=_by_number(parts),
        explanations=_explanations(parts, rows),
        versions=None if same else versions,
        id=asked.id,
    )


def _by_number(parts: Sequence[Part]) -> dict[int, Any]:
    return {
        part.numbers[place]: joined
        for part in parts
        if part.given.requested
        for place, joined in part.given.requested.joined.items()
    }


def _explanations(parts: Sequence[Part], rows: Sequence[tuple[int, int, int]]) -> list[Any] | None:
    explained = [part.explanations for part in parts]
    if any(each is None for each in explained):
        return None
    return [(explained[of] or ())[place] for _, of, place in rows]


def _given(model: Model, asked: Asked, numbers: Sequence[int]) -> Given:
    try:
        return model.given([asked.rows[number] for number in numbers], asked.one)
    except ProblemError as problem:
        raise renumbered(problem, numbers) from None


def _given_each(model: Model, asked: Asked, numbers: Sequence[int]) -> tuple[Sequence[int], Given, dict[int, str]]:
    """Return the rows that can be given to a model, and the problems of the others."""
    try:
        return numbers, _given(model, asked, numbers), {}
    except ProblemError:  # of the first row that cannot
        good, problems = [], {}
        for number in numbers:
            try:
                _given(model, asked, [number])
                good.append(number)
            except ProblemError as problem:
                problems[number] = problem_of(problem)
        return good, _given(model, asked, good), problems


def _timed(model: Model, rows: Rows | Columns) -> Timed:
    """Return the scores of rows, and how long the model took.

    That of a graph is what its thread worked, however long it waited for others; a pipeline has a thread of its own.
    """
    clock: Callable[[], float] = time.monotonic if isinstance(model.bundle, PipelineBundle) else time.thread_time
    start = clock()
    scores = model.scores(rows)
    return scores, clock() - start if len(scores) else None


def _columns(model: Model, asked: Asked, numbers: Iterable[int]) -> list[str | None]:
    """Return what the log keeps of rows without a score, by which they can be told apart: declared columns, as JSON."""
    names = {each.name for each in model.bundle.contract.inputs}
    names |= model.online.reader.columns.keys() if model.online else set()
    return [_kept(asked.rows[number], names) for number in numbers]


def _kept(row: Any, names: AbstractSet[str]) -> str | None:
    if not isinstance(row, Mapping):
        return None
    return json.dumps({name: _plain(row[name]) for name in sorted(names & row.keys())})


def _plain(value: Any) -> Any:
    """Return a value that is a short text or a finite number; None for any other, which a refused row may have."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode() if len(value) <= _LONGEST else None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float) else None


def _words(error: object) -> str:
    """Return what a refusal is about, without what it says of the value."""
    return f"{REFUSED}{str(error).partition(':')[0][:_LONGEST]}"
