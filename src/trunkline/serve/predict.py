"""Answers `POST /v1/predict`: the scores of a row or of rows, and what each feature adds to them."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from trunkline.core.errors import UserError, nearest
from trunkline.serve.decode import Rows
from trunkline.serve.http import JSON, Request, Response, json_response
from trunkline.serve.model import Model, Scored
from trunkline.serve.problems import ProblemError

EXPLAIN = "explain"  # the parameter of the query


def predict(model: Model, request: Request, body: bytes) -> tuple[Response, Scored]:
    """Answer one row with its score, and an array of rows with theirs in order; return what was scored.

    Where the contract sets bad rows aside, one that is refused has no score, and stands in `refused` with the reason.
    """
    rows, accepted = _rows(model, request, body)
    scores = model.scores(accepted)
    return json_response(_answer(model, request, rows, score=map(model.named, scores))), Scored(model, rows, scores)


async def predict_in_turn(model: Model, request: Request, body: bytes) -> tuple[Response, Scored]:
    """Answer as `predict` does; the rows are scored together with those of other requests."""
    rows, accepted = _rows(model, request, body)
    scores = await model.scores_in_turn(accepted)
    return json_response(_answer(model, request, rows, score=map(model.named, scores))), Scored(model, rows, scores)


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
    rows, accepted = _rows(model, request, body)
    scores = model.scores(accepted)
    explanations = model.explanations(accepted, scores)
    answer = _answer(model, request, rows, score=map(model.named, scores), explanation=explanations)
    return json_response(answer), Scored(model, rows, scores)


def is_explained(request: Request) -> bool:
    """Tell whether the query asks for explanations; raises ProblemError, 400, for any other query."""
    if not request.query:
        return False
    parameters = parse_qsl(request.query, keep_blank_values=True)
    for name, value in parameters:
        if name != EXPLAIN:
            raise _query(f"parameter {name[:60]!r}: is not known{nearest(name, [EXPLAIN])}")
        if value not in ("true", "false"):
            raise _query(f"parameter {EXPLAIN}: {value[:60]!r} is not true or false")
    if len(parameters) > 1:
        raise _query(f"parameter {EXPLAIN}: is there more than once; give it once")
    return parameters == [(EXPLAIN, "true")]


def _query(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, f"query: {detail}")


def _rows(model: Model, request: Request, body: bytes) -> tuple[Rows, Rows]:
    """Return the rows of a request, and those of them that are to be scored."""
    if request.media_type != JSON:
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body's type has to be {JSON}", {"accept": JSON})
    rows = model.decoder.decode(body)
    quarantine = not rows.one and model.bundle.contract.on_bad_row == "quarantine"
    return rows, rows.accepted if quarantine else rows


def _answer(model: Model, request: Request, rows: Rows, **values: Any) -> dict[str, Any]:
    """Return an answer with the values of the scored rows, each under its name, which has an s for several rows."""
    answer: dict[str, Any] = {
        "request_id": request.id,
        "digest": model.version.digest,
        "version": model.version.version,
    }
    if rows.one:
        return answer | {name: next(iter(each)) for name, each in values.items()}
    answer |= {f"{name}s": _in_place(rows, list(each)) for name, each in values.items()}
    if rows.refused:
        answer["refused"] = [
            {"row": number, "field": error.field, "detail": str(error)} for number, error in rows.refused.items()
        ]
    return answer


def _in_place(rows: Rows, values: Sequence[Any]) -> list[Any]:
    """Return the values of all rows, None for those that are refused."""
    refused, given = rows.refused or {}, iter(values)
    return [None if number in refused else next(given) for number in range(len(values) + len(refused))]
