"""Requests and answers of HTTP, on ASGI's messages."""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from trunkline.serve.problems import ProblemError, to_json

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
REQUEST_ID = "x-request-id"
COMPLETE = "trunkline.complete"  # of a scope: the whole body has arrived

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_REQUEST_ID = REQUEST_ID.encode()
_DIGITS = 18  # of a length: far more than any body has, and Python refuses to read thousands
_ID = re.compile(r"[!-~]{1,128}")


def is_request_id(given: str) -> bool:
    """Tell whether a client's request id is short and printable."""
    return _ID.fullmatch(given) is not None


def new_request_id() -> str:
    """Return an id for a request of which the client gave none."""
    return f"{random.getrandbits(128):032x}"


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its body; names of headers are in lower case; of one given twice, the last counts.

    `complete` tells that the body has arrived already, so that nobody has to wait for it.
    """

    method: str
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    id: str
    complete: bool = False

    @classmethod
    def of(cls, scope: Scope) -> "Request":
        """Return what a scope of ASGI says; the client's request id is kept, if it is short and printable."""
        headers = dict(scope["headers"])
        given = headers.get(_REQUEST_ID, b"").decode("latin-1")
        identifier = given if is_request_id(given) else new_request_id()
        query = scope["query_string"].decode("latin-1")
        return cls(scope["method"], scope["path"], query, headers, identifier, scope.get(COMPLETE, False))

    def header(self, name: str) -> str | None:
        """Return a header by its name in lower case."""
        value = self.headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

    def length(self, name: str) -> int | None:
        """Return a header that is a number of bytes; None if there is none, or no such number below 10^18."""
        value = self.header(name) or ""
        return int(value) if value.isdecimal() and len(value) <= _DIGITS else None

    @property
    def media_type(self) -> str:
        """Return the body's type without its parameters; JSON if none is given."""
        return (self.header("content-type") or JSON).partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Response:
    """An answer."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, send: Send, request_id: str) -> None:
        """Send it."""
        headers = {
            "content-type": self.media_type,
            "content-length": str(len(self.body)),
            REQUEST_ID: request_id,
            **self.headers,
        }
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": int(self.status), "headers": raw})
        await send({"type": "http.response.body", "body": self.body})


def json_response(content: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return an answer in JSON."""
    return Response(to_json(content), status)


async def read_body(request: Request, receive: Receive, limit: int, deadline: float) -> bytes:
    """Return a request's body; raises ProblemError for one that is too large (413) or arrives too late (408)."""
    if (request.length("content-length") or 0) > limit:
        raise _too_large(limit)
    if request.complete:
        return await _body(receive, limit)
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await _body(receive, limit)
    except TimeoutError:
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time") from None


async def _body(receive: Receive, limit: int) -> bytes:
    body = bytearray()  # of many small parts, to add up bytes would take the square of their number
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the client went away")
        body += message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return bytes(body)


def _too_large(limit: int) -> ProblemError:
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {limit:,} bytes")
