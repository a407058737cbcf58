"""Requests and answers of HTTP, on ASGI's messages."""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

from trunkline.serve.problems import ProblemError

JSON = "application/json"
REQUEST_ID = "x-request-id"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_ID = re.compile(r"[!-~]{1,128}")


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its body; names of headers are in lower case; of one given twice, the last counts."""

    method: str
    path: str
    headers: Mapping[str, str]
    id: str

    @classmethod
    def of(cls, scope: Scope) -> "Request":
        """Return what a scope of ASGI says; the client's request id is kept, if it is short and printable."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get(REQUEST_ID, "")
        return cls(scope["method"], scope["path"], headers, given if _ID.fullmatch(given) else uuid.uuid4().hex)

    @property
    def media_type(self) -> str:
        """Return the body's type without its parameters; JSON if none is given."""
        return self.headers.get("content-type", JSON).partition(";")[0].strip().lower()


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
    return Response(msgspec.json.encode(content), status)


async def read_body(request: Request, receive: Receive, limit: int, deadline: float) -> bytes:
    """Return a request's body; raises ProblemError for one that is too large (413) or arrives too late (408)."""
    too_large = ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {limit:,} bytes")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionResetError("the client went away")
                body += message.get("body", b"")
                if len(body) > limit:
                    raise too_large
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time") from None
