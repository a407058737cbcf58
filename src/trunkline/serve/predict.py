"""Answers `POST /v1/predict`: the scores of a row or of rows, and what each feature adds to them."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from trunkline.core.errors import UserError, nearest
from trunkline.serve.decode import Rows
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
    scores = model.scores(_accepted(model, given.rows))
    return _response(model, request, given, score=map(model.named, scores)), given.scored(model, scores)


async def predict_in_turn(model: Model, request: Request, body: bytes) -> tuple[Response, Scored]:
    """Answer as `predict` does; the rows are scored together with those of other requests."""
    given = _given(model, request, body)
    scores = await model.scores_in_turn(_accepted(model, given.rows))
    return _response(model, request, given, score=map(model.named, scores)), given.scored(model, scores)


def arrow() -> Callable[[Model, Request, bytes], tuple[Response, Scored]]:
    """Return what answers a stream of Arrow IPC with one; raises UserError where what reads it is not installed."""
    try:
        from trunkline.serve.protocols import arrow  # noqa: PLC0415  takes 0.2 s, and most servers need none
    except ModuleNotFoundError as error:
        install = "pip install 'trunkline[serve-arrow]', or what locks/serve-arrow.txt lists"
        raise UserError(f"serving.protocols.arrow: needs {error.name}: {install}") from None
    return arrow.predict


def explain(model: Model, request: Request, body: bytes) -> tuple[Response, Scored]:
    """Answer as `predict` does, with an explanation of each score; raises ProblemError as `Model.explanations`."""
    given = _given(model, request, body)
    accepted = _accepted(model, given.rows)
    scores = model.scores(accepted)
    explanations = model.explanations(accepted, scores)
    response = _response(model, request, given, score=map(model.named, scores), explanation=explanations)
    return response, given.scored(model, scores)


def is_explained(request: Request) -> bool:
    """Tell whether the query asks for explanations; raises ProblemError, 400, for a query that is not known."""
    return bool(request.query) and EXPLAIN in _asked(request)


def _asked(request: Request) -> set[str]:
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


def _given(model: Model, request: Request, body: bytes) -> Given:
    if request.media_type != JSON:
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body's type has to be {JSON}", {"accept": JSON})
    if model.online is None:
        return Given(model.decoder.decode(body))
    content = model.decoder.parse(body)
    one = isinstance(content, dict)
    return model.given([content] if one else content, one)


def _accepted(model: Model, rows: Rows) -> Rows:
    """Return the rows that are scored: where the contract sets bad ones aside, those of several that are good."""
    quarantine = not rows.one and model.bundle.contract.on_bad_row == "quarantine"
    return rows.accepted if quarantine else rows


def _response(model: Model, request: Request, given: Given, **values: Any) -> Response:
    if request.query and FEATURES in _asked(request):
        if model.online is None:
            raise _query(f"parameter {FEATURES}: this server joins none; serving.online declares where from")
        joined = given.requested.joined if given.requested else {}
        numbers = range(len(given.rows.values) + len(given.rows.refused or {}))
        refused = given.rows.refused or {}
        values["features"] = [
            states(joined[number]) if number in joined else None for number in numbers if number not in refused
        ]
    return json_response(_answer(model, request, given.rows, **values))


def _answer(model: Model, request: Request, rows: Rows, **values: Any) -> dict[str, Any]:
    """Return an answer with the values of the scored rows, each under its name, which has an s for several rows."""
    answer: dict[str, Any] = {
        "request_id": request.id,
        "digest": model.version.digest,
        "version": model.version.version,
    }
    if rows.one:
        return answer | {name: next(iter(each)) for name, each in values.items()}
    answer |= {f"{name.removesuffix('s')}s": _in_place(rows, list(each)) for name, each in values.items()}
    if rows.refused:
        answer["refused"] = [
            {"row": number, "field": error.field, "detail": str(error)} for number, error in rows.refused.items()
        ]
    return answer


def _in_place(rows: Rows, values: Sequence[Any]) -> list[Any]:
    """Return the values of all rows, None for those that are refused."""
    refused, given = rows.refused or {}, iter(values)
    return [None if number in refused else next(given) for number in range(len(values) + len(refused))]
