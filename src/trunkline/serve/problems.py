"""Refusals of requests as problem documents (RFC 9457), which tell nothing of the server's inside."""

import json
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

MEDIA_TYPE = "application/problem+json"

_HALVES = re.compile("[\ud800-\udfff]")


class ProblemError(Exception):
    """A refusal: its status, its words, and members besides those of the RFC, such as `row` and `field`."""

    def __init__(self, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.members = status, detail, headers or {}, members

    @property
    def words(self) -> str:
        """What is wrong, without the number of the row."""
        return self.detail.removeprefix(f"row {self.members.get('row')}: ")

    def document(self, request_id: str) -> bytes:
        """Return the document as JSON."""
        content = {"type": "about:blank", "title": self.status.phrase, "status": self.status, "detail": self.detail}
        return to_json(content | {"request_id": request_id} | self.members)


def to_json(content: Any) -> bytes:
    """Return JSON in UTF-8, where half of a surrogate pair, which a client's names and texts may hold, is U+FFFD."""
    try:
        return msgspec.json.encode(content)
    except UnicodeEncodeError:
        return _HALVES.sub("\ufffd", json.dumps(content, ensure_ascii=False)).encode()


def refused_row(detail: str, row: int | None = None, field: str | None = None) -> ProblemError:
    """Return the refusal of a row that is not as the contract says; `row` is counted from 0."""
    place: dict[str, Any] = {key: value for key, value in (("row", row), ("field", field)) if value is not None}
    words = detail if row is None else f"row {row}: {detail}"
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, words, **place)


def renumbered(problem: ProblemError, numbers: Sequence[int]) -> ProblemError:
    """Return a problem of a row among some of a request's, whose numbers in it are given, as one of the request."""
    if "row" not in problem.members:
        return problem
    return refused_row(problem.words, numbers[problem.members["row"]], problem.members.get("field"))


def malformed(detail: str) -> ProblemError:
    """Return the refusal of a body that cannot be read."""
    return ProblemError(HTTPStatus.BAD_REQUEST, detail)
