"""Connections of HTTP that nobody can hold without end: by sending no headers, too long ones, or by reading no answer.

uvicorn itself limits only how long a connection may be idle after an answer; of more connections than are declared it
can say 503, but in plain text.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from trunkline.conf.serving import Limits
from trunkline.serve.http import COMPLETE, Receive, Request, Response, Scope, Send
from trunkline.serve.problems import MEDIA_TYPE, ProblemError

_log = logging.getLogger(__name__)

HEADERS_SIZE = 64 * 1024  # bytes of a request's line and headers together


class Connection(HttpToolsProtocol):
    """A connection that is closed when its client takes longer for headers, or to read an answer, than it may."""

    def __init__(self, limits: Limits, **given: Any) -> None:
        super().__init__(**given)
        self._most, self._answer = limits.connections, self.app
        self._headers_seconds, self._reading_seconds = limits.headers.total_seconds(), limits.time.total_seconds()
        self._headers_due: asyncio.TimerHandle | None = None
        self._headers_deadline: float | None = None
        self._reading_due: asyncio.TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None
        self._in_headers = False
        self._headers_size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a request."""
        super().connection_made(OneWrite(transport, self.loop, self._wait_for_reader))  # type: ignore[arg-type]  # a transport by its methods
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        for timer in filter(None, (self._headers_due, self._reading_due)):
            timer.cancel()
        super().connection_lost(exc)
        if self._answering:  # of several requests that came at once, uvicorn tells the last one alone
            self._answering.disconnected = True
            self._answering.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Read what has come; headers that are too long end the connection."""
        continued = self._in_headers
        super().data_received(data)
        if continued and self._in_headers:
            self._headers_size += len(data)
            if self._headers_size > HEADERS_SIZE:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin to read headers."""
        self._in_headers, self._headers_size = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Answer the request, whose body has a time of its own; refuse it while there are too many connections."""
        self._in_headers, self._headers_deadline = False, None
        self.app = self._answer if len(self.connections) <= self._most else _refuse
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Tell the application that it need not wait for the body."""
        super().on_message_complete()
        self.cycle.scope[COMPLETE] = True  # type: ignore[literal-required]  # an extension

    def on_response_complete(self) -> None:
        """Wait for the client's next request."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._wait_for_headers()

    def resume_writing(self) -> None:
        """Write on: the client has read most of what was there, and has as long for the rest."""
        if self._reading_due:
            self._reading_due.cancel()
            self._reading_due = None
        self._wait_for_reader()
        super().resume_writing()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _wait_for_headers(self) -> None:
        self._headers_deadline = self.loop.time() + self._headers_seconds
        if self._headers_due is None:  # one timer for many requests, of which nearly all come in time
            self._headers_due = self.loop.call_later(self._headers_seconds, self._end_without_headers)

    def _end_without_headers(self) -> None:
        self._headers_due = None
        if self._headers_deadline is None:
            return
        left = self._headers_deadline - self.loop.time()
        if left <= 0:
            self.transport.abort()
        else:
            self._headers_due = self.loop.call_later(left, self._end_without_headers)

    def _wait_for_reader(self) -> None:
        if self._reading_due is None and self.transport.get_write_buffer_size():
            self._reading_due = self.loop.call_later(self._reading_seconds, self._end_if_unread)

    def _end_if_unread(self) -> None:
        self._reading_due = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()


class OneWrite:
    """A transport that writes at once what it is given in one turn of the loop: an answer's headers and its body.

    Each write is a call of the system, and wakes the client. `written` is called after each.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, written: Callable[[], None]
    ) -> None:
        self._transport, self._loop, self._written = transport, loop, written
        self._waiting: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write data, in this turn of the loop."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def close(self) -> None:
        """Write what waits, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        data, self._waiting = b"".join(self._waiting), []
        if data and not self._transport.is_closing():
            self._transport.write(data)
            self._written()


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer that there are too many connections, and close this one."""
    headers = {"retry-after": "1", "connection": "close"}
    problem = ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections are open already", headers)
    request = Request.of(scope)
    _log.warning("request %s: refused: there are more than limits.connections", request.id)
    await Response(problem.document(request.id), problem.status, MEDIA_TYPE, problem.headers).send(send, request.id)


def loop_with_handshake_limit(make: Callable[[], asyncio.AbstractEventLoop], seconds: float) -> Any:
    """Return a loop whose servers end a TLS handshake that takes longer; uvicorn hands no such limit on."""
    loop: Any = make()
    loop.create_server = partial(loop.create_server, ssl_handshake_timeout=seconds)
    return loop
