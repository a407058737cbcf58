"""Scores the requests of a batch by one call, as POST /v1/predict scores each, with the same checks and answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import chain
from typing import Any

from trunkline.serve import predict
from trunkline.serve.asked import Answered
from trunkline.serve.decode import Rows
from trunkline.serve.http import Request
from trunkline.serve.model import Given, Model, Scored, refuse
from trunkline.serve.online.features import Requested
from trunkline.serve.problems import ProblemError, malformed
from trunkline.serve.stream.halves import by_halves
from trunkline.serve.stream.message import Message, OutageError, Outcome, answer, dead_letter

ROUTE = "stream"  # in the log of predictions, where a path stands

Settle = Callable[[Scored, str], None]


@dataclass(frozen=True)
class Requests:
    """What scores requests with the model that is served when a batch begins; `limit` is in bytes of a message.

    `settle` is given what was scored, and its request id, once its answer is written for the first time.
    """

    model: Callable[[], Model | None]
    limit: int
    settle: Settle

    def outcome(self, messages: Sequence[Message]) -> Outcome:
        """Return the answers to messages, and those that are refused; raises OutageError where none can be answered."""
        model = self.model()
        if model is None:
            raise OutageError("no model is served: nothing is delivered")
        read = [_tried(partial(_read, model, self.limit), message) for message in messages]
        rows = [each for each in read if not isinstance(each, ProblemError)]
        scored = iter(by_halves(partial(_scored, model), rows))
        results = [each if isinstance(each, ProblemError) else next(scored) for each in read]
        pairs = list(zip(messages, results, strict=True))
        good = [(message, each) for message, each in pairs if isinstance(each, Scored)]
        return Outcome(
            [answer(message, _body(model, message, each)) for message, each in good],
            [dead_letter(message, each) for message, each in pairs if isinstance(each, ProblemError)],
            partial(self._settle, good),
        )

    def _settle(self, good: Sequence[tuple[Message, Scored]], new: Sequence[bool]) -> None:
        for (message, scored), first in zip(good, new, strict=True):
            if first:
                self.settle(scored, message.id)


def _tried(read: Callable[[Message], Any], message: Message) -> Any:
    try:
        return read(message)
    except ProblemError as problem:
        return problem


def check_size(message: Message, limit: int) -> None:
    """Raise ProblemError for a message that is larger than so many bytes."""
    if len(message.body) > limit:
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {limit:,} bytes")


def _read(model: Model, limit: int, message: Message) -> Any:
    """Return the row of a message: checked, or where features are joined, as it gives it."""
    check_size(message, limit)
    if message.body.lstrip()[:1] != b"{":
        model.decoder.parse(message.body)
        raise malformed("the body is not one row, a JSON object")
    if model.online is not None:
        return model.decoder.parse(message.body)
    rows = model.decoder.decode(message.body)
    refuse(rows)
    return rows


def _scored(model: Model, rows: Sequence[Any]) -> list[Scored]:
    """Return rows with their scores; raises ProblemError for the first that is refused."""
    if model.online is None:
        given = Given(Rows(list(chain.from_iterable(each.values for each in rows)), rows[0].widths))
    else:
        given = model.given(rows)
    scores = model.scores(given.rows)
    values, widths = (
        given.rows.values,
        (model.bundle.contract.width("numeric"), model.bundle.contract.width("categorical")),
    )
    return [
        Given(Rows([values[number]], widths, one=True), _of_one(given.requested, number)).scored(
            model, scores[number : number + 1]
        )
        for number in range(len(values))
    ]


def _of_one(requested: Requested | None, number: int) -> Requested | None:
    if requested is None or number not in requested.joined:
        return None
    return Requested([requested.rows[number]], {0: requested.joined[number]}, {0: requested.columns[number]})


def _body(model: Model, message: Message, scored: Scored) -> bytes:
    """Return the answer as POST /v1/predict gives it."""
    request = Request("POST", "/v1/predict", "", {}, message.id)
    return predict.respond(model, request, Answered(model.version, scored.scores, one=True)).body
