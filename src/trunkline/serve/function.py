"""The server's application without a socket, for what calls a function: one request at a time, in this process."""

import asyncio
import base64
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.conf.bundle import Packaging
from trunkline.conf.serving import Serving
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.serve.http import COMPLETE
from trunkline.serve.run import Worker
from trunkline.serve.source import Source

BUNDLE = "bundle"  # the folder of the bundle beside params.yaml


@dataclass(frozen=True)
class Answer:
    """What a request is answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Function:
    """A loaded model that answers all that `trunkline serve` does over HTTP."""

    def __init__(self, source: Source, serving: Serving) -> None:
        """Load the model; raises UserError for a bundle or declaration that cannot be used."""
        refuse(serving)
        self._worker = Worker(source, serving, None)
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._start())

    @classmethod
    def of(cls, root: Path) -> "Function":
        """Take params.yaml and the bundle of a folder."""
        params = Params.read(root)
        source = Source(root / BUNDLE, tolerance=params.group(Packaging).tolerance)
        serving = params.group(Serving).placed(root)
        protocols = serving.protocols.model_copy(update={"grpc": None})  # there is no port
        return cls(source, serving.model_copy(update={"protocols": protocols}))

    def answer(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a request."""
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode("latin-1")}
        return self._loop.run_until_complete(self._ask({**scope, "headers": raw, COMPLETE: True}, body))

    async def _start(self) -> None:
        """Begin the application's life, which ends with the process."""
        started: asyncio.Future[None] = self._loop.create_future()
        events = asyncio.Queue[MutableMapping[str, Any]]()
        events.put_nowait({"type": "lifespan.startup"})

        async def send(_: Any) -> None:
            started.set_result(None)

        self._life = self._loop.create_task(self._worker({"type": "lifespan"}, events.get, send))
        await asyncio.wait([self._life, started], return_when=asyncio.FIRST_COMPLETED)
        if self._life.done():
            self._life.result()

    async def _ask(self, scope: dict[str, Any], body: bytes) -> Answer:
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self._worker(scope, receive, send)
        head, *parts = sent
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head["headers"]}
        return Answer(head["status"], headers, b"".join(part.get("body", b"") for part in parts))


def refuse(serving: Serving) -> None:
    """Raise UserError for what a function has not: a process beside it, a disk that stays."""
    if serving.log:
        raise UserError("conf/serving: log: a function is frozen between requests, and rows would be lost; remove it")
    if serving.online and serving.online.store.startswith("sqlite:"):
        raise UserError("conf/serving: online.store: a function keeps no file; name a store in Redis or PostgreSQL")


def of_event(function: Function, event: Mapping[str, Any]) -> dict[str, Any]:
    """Answer an event of AWS Lambda: of a function URL or an HTTP API (payload 2.0)."""
    method = event["requestContext"]["http"]["method"]
    given = event.get("body") or ""
    body = base64.b64decode(given) if event.get("isBase64Encoded") else given.encode()
    headers = {name: str(value) for name, value in (event.get("headers") or {}).items()}
    answer = function.answer(method, event["rawPath"], event.get("rawQueryString") or "", headers, body)
    try:
        text, encoded = answer.body.decode(), False
    except UnicodeDecodeError:
        text, encoded = base64.b64encode(answer.body).decode(), True
    return {"statusCode": answer.status, "headers": dict(answer.headers), "body": text, "isBase64Encoded": encoded}
