"""Answers `POST /v1/predict`: the scores of a row or of rows, and what each feature adds to them."""

from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

from trunkline.core.errors import UserError, nearest
from trunkline.serve.asked import Answered, Asked
from trunkline.serve.http import JSON, Request, Response, json_response
from trunkline.serve.model import Given, Model, Scored
from trunkline.serve.online.features import states
from trunkline.serve.problems import ProblemError

EXPLAIN, FEATURES = "explain", "features"  # the parameters of the query


def predict(model: Model, request: Request, body: bytes) -> tuple[Response, Scored]:
    """Answer one row with its score, and an array of rows with theirs in order; return what was scored.

    Where the contract sets bad rows aside, one that is refused has no score, and stands in `refused` with the reason.
    """
    given = _given(model, request, body)
    scores = model.scores(model.accepted(given.rows))
    return respond(model, request, Answered.by(model, given, scores)), given.scored(model, scores)


async def predict_in_turn(model: Model, request: Request, body: bytes) -> tuple[Response, Scored]:
    """Answer as `predict` does; the rows are scored together with those of other requests."""
    given = await _given_in_turn(model, request, body)
    scores = await model.scores_in_turn(model.accepted(given.rows))
    return respond(model, request, Answered.by(model, given, scores)), given.scored(model, scores)


def arrow() -> ModuleType:
    """Return what answers a stream of Arrow IPC with one; raises UserError where what reads it is not installed."""
    try:
        from trunkline.serve.protocols import arrow  # noqa: PLC0415  takes 0.2 s, and most servers need none
    except ModuleNotFoundError as error:
        install = "pip install 'trunkline[serve-arrow]', or what locks/serve-arrow.txt lists"
        raise UserError(f"serving.protocols.arrow: needs {error.name}: {install}") from None
    return arrow


def explain(model: Model, request: Request, body: bytes) -> tuple[Response, Scored]:
    """Answer as `predict` does, with an explanation of each score; raises ProblemError as `Model.explanations`."""
    given = _given(model, request, body)
    accepted = model.accepted(given.rows)
    scores = model.scores(accepted)
    explanations = model.explanations(accepted, scores)
    response = respond(model, request, Answered.by(model, given, scores, explanations=explanations))
    return response, given.scored(model, scores)


def asked(model: Model, request: Request, body: bytes) -> Asked:
    """Return the rows of a body; raises ProblemError for one that is neither a row nor rows."""
    _check_type(request)
    one, explained = body.lstrip()[:1] == b"{", is_explained(request)
    whole = partial(Given.of, model.decoder, body) if model.online is None else None
    return Asked(partial(_rows, model, body), whole, one, sets_aside=True, explained=explained)


def _rows(model: Model, body: bytes) -> Sequence[Any]:
    content = model.decoder.parse(body)
    return model.decoder.limited([content] if isinstance(content, dict) else content)


def respond(model: Model, request: Request, answered: Answered) -> Response:
    """Return the answer in JSON; raises ProblemError for features that the model has none of."""
    values: dict[str, Sequence[Any]] = {"score": list(map(model.named, answered.scores))}
    if answered.explanations is not None:
        values["explanation"] = answered.explanations
    if request.query and FEATURES in _wanted(request):
        if model.online is None:
            raise _query(f"parameter {FEATURES}: this server joins none; serving.online declares where from")
        joined = (answered.joined.get(number) for number in answered.numbers)
        values["features"] = [each and states(each) for each in joined]
    return json_response(_answer(request, answered, values))


def is_explained(request: Request) -> bool:
    """Tell whether the query asks for explanations; raises ProblemError, 400, for a query that is not known."""
    return bool(request.query) and EXPLAIN in _wanted(request)


def _wanted(request: Request) -> set[str]:
    """Return what the query asks for besides scores."""
    parameters = parse_qsl(request.query, keep_blank_values=True)
    names = [name for name, _ in parameters]
    for name, value in parameters:
        if name not in (EXPLAIN, FEATURES):
            raise _query(f"parameter {name[:60]!r}: is not known{nearest(name, [EXPLAIN, FEATURES])}")
        if value not in ("true", "false"):
            raise _query(f"parameter {name}: {value[:60]!r} is not true or false")
        if names.count(name) > 1:
            raise _query(f"parameter {name}: is there more than once; give it once")
    return {name for name, value in parameters if value == "true"}


def _query(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, f"query: {detail}")


def _check_type(request: Request) -> None:
    if request.media_type != JSON:
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body's type has to be {JSON}", {"accept": JSON})


def _given(model: Model, request: Request, body: bytes) -> Given:
    _check_type(request)
    return Given(model.decoder.decode(body)) if model.online is None else model.given(*_parsed(model, body))


async def _given_in_turn(model: Model, request: Request, body: bytes) -> Given:
    _check_type(request)
    if model.online is None:
        return Given(model.decoder.decode(body))
    return await model.given_in_turn(*_parsed(model, body))


def _parsed(model: Model, body: bytes) -> tuple[Sequence[Any], bool]:
    """Return the rows of a body, unchecked, and whether it is one row."""
    content = model.decoder.parse(body)
    one = isinstance(content, dict)
    return [content] if one else content, one


def _answer(request: Request, answered: Answered, values: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return an answer with the values of the scored rows, each under its name, which has an s for several rows."""
    answer: dict[str, Any] = {
        "request_id": request.id,
        "digest": answered.version.digest,
        "version": answered.version.version,
    }
    if answered.one:
        return answer | {name: each[0] for name, each in values.items()}
    if answered.versions:
        answer |= {"digest": None, "version": None}
        values = {
            "digests": [each.digest for each in answered.versions],
            "versions": [each.version for each in answered.versions],
            **values,
        }
    answer |= {f"{name.removesuffix('s')}s": answered.in_place(each) for name, each in values.items()}
    if answered.refused:
        answer["refused"] = [
            {"row": number, "field": error.field, "detail": str(error)} for number, error in answered.refused.items()
        ]
    return answer
