"""Runs the server: workers that share a port, each with a model of its own, until SIGTERM, after which they drain."""

import asyncio
import contextlib
import gc
import logging
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.config import LOGGING_CONFIG
from uvicorn.supervisors import Multiprocess

from trunkline.conf.serving import Serving, Tls, is_loopback
from trunkline.core.errors import OutsideError, UserError
from trunkline.serve import model, predict
from trunkline.serve.app import App
from trunkline.serve.auth.authenticate import Authenticator
from trunkline.serve.connection import Connection, loop_with_handshake_limit
from trunkline.serve.http import Receive, Scope, Send
from trunkline.serve.limits import Queue
from trunkline.serve.metrics import SHARED, Metrics
from trunkline.serve.prediction_log.privacy import Privacy
from trunkline.serve.prediction_log.sealed import Keys
from trunkline.serve.prediction_log.sender import PredictionLog
from trunkline.serve.prediction_log.sender import check as check_log
from trunkline.serve.source import Source
from trunkline.serve.swap import Slot

if TYPE_CHECKING:
    from trunkline.serve.tls import Certificates

_BACKLOG = 2048
_YOUNG = 10_000  # objects that are made before the collector looks at them; with 700, that is a tenth of a request


def run(source: Source, serving: Serving, *, open_to_others: bool = False) -> None:
    """Serve until SIGTERM or Ctrl-C; the address is logged once it answers.

    Raises UserError for a bundle, a file of keys or a certificate that cannot be used and for an address beyond this
    machine where nobody is asked who they are, or a protocol that is not installed; OutsideError for one that is taken.
    """
    Authenticator(serving.authentication)
    if serving.log:
        check_log(serving.log)
        Privacy.of(serving.log, source.personal)
        Keys.of(serving.log, reads=False)
    for address in filter(None, (serving.bind, serving.protocols.grpc)):
        _check_address(address, open_to_others or serving.asks_who)
    if serving.tls:
        _certificates(serving.tls)
    if serving.protocols.arrow:
        predict.arrow()
    load = source.loader(serving)
    loaded = load(source.folder, None) if source.delivery is None else None
    config = _config(_Process(source, serving, loaded if serving.workers == 1 else None))
    with contextlib.closing(_socket(serving.bind)) as listener, _shared_metrics(serving.workers):
        host, port = listener.getsockname()[:2]
        scheme = "https" if serving.tls else "http"
        logging.getLogger("uvicorn.error").info("listens on %s://%s:%d", scheme, host, port)
        if serving.workers == 1:
            uvicorn.Server(config).run(sockets=[listener])
        else:
            Multiprocess(config, sockets=[listener]).run()


def _config(process: "_Process") -> uvicorn.Config:
    serving = process.serving
    return _Config(
        process.worker,
        serving.limits.headers.total_seconds(),
        interface="asgi3",
        factory=True,
        loop="uvloop" if os.name == "posix" else "auto",
        http=partial(Connection, serving.limits),
        ssl_context_factory=process.context if serving.tls else None,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=logging_config(),
        server_header=False,
        proxy_headers=False,  # nobody is asked where they come from
        workers=serving.workers,
        timeout_graceful_shutdown=int(serving.drain.total_seconds()),
    )


@dataclass
class _Process:
    """What a process is made of; it is sent to each of several workers, which load the model themselves."""

    source: Source
    serving: Serving
    loaded: model.Model | None

    @cached_property
    def certificates(self) -> "Certificates | None":
        return _certificates(self.serving.tls) if self.serving.tls else None

    def context(self, *_: Any) -> Any:
        return self.certificates and self.certificates.context()

    def worker(self) -> "Worker":
        return Worker(self.source, self.serving, self.certificates, self.loaded)


class _Config(uvicorn.Config):
    """uvicorn's configuration, with the seconds that a TLS handshake may take."""

    def __init__(self, app: Any, handshake: float, **given: Any) -> None:
        super().__init__(app, **given)
        self._handshake = handshake

    def get_loop_factory(self) -> Any:
        make = super().get_loop_factory()
        return partial(loop_with_handshake_limit, make, self._handshake) if make and self.is_ssl else make


def _certificates(declared: Tls) -> "Certificates":
    from trunkline.serve.tls import Certificates  # noqa: PLC0415  takes 0.1 s, and many servers need none

    return Certificates(declared)


class Worker:
    """The ASGI application of one process: it loads the model when it starts, and serves gRPC beside HTTP."""

    def __init__(
        self, source: Source, serving: Serving, certificates: "Certificates | None", loaded: model.Model | None = None
    ) -> None:
        self._source, self._serving, self._certificates, self._loaded = source, serving, certificates, loaded
        self._metrics = Metrics()
        self._load = source.loader(serving)
        self._slot = Slot(on_change=self._metrics.show)
        self._queue = Queue(serving.limits.queue)
        self._authenticator = Authenticator(serving.authentication)
        self._app = App(serving, self._slot, self._metrics, self._queue, self._authenticator)
        self._log = self._app.log = self._prediction_log()
        self._app.rolling.append = self._log.append if self._log else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or start and stop with the server."""
        if scope["type"] == "http":
            await self._app(scope, receive, send)
            return
        await receive()
        async with self._started():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    @contextlib.asynccontextmanager
    async def _started(self) -> AsyncIterator[None]:
        follower = self._source.fill(self._slot, self._load, self._loaded)
        if self._certificates:
            self._certificates.on_change = self._metrics.show_certificate
            self._certificates.start()
        grpc_server: Any = await self._grpc(self._serving.protocols.grpc)
        _spare_what_stays()
        if self._log:
            self._log.start()
        try:
            yield
        finally:
            if grpc_server is not None:
                await grpc_server.stop(self._serving.drain.total_seconds())
            self._app.rolling.stop()
            if self._log:
                await asyncio.to_thread(self._log.stop, self._serving.drain.total_seconds())
            if follower is not None:
                follower.stop()
            if self._certificates:
                self._certificates.stop()

    def _prediction_log(self) -> PredictionLog | None:
        log, source = self._serving.log, self._source
        if log is None:
            return None
        return PredictionLog(log, Privacy.of(log, source.personal), self._metrics.log, source.environment)

    async def _grpc(self, address: str | None) -> Any:
        if address is None:
            return None
        from trunkline.serve.protocols import grpc  # noqa: PLC0415  takes 0.2 s, and most servers need none

        answers = grpc.Service(self._slot, self._serving.limits, self._queue, self._metrics, self._authenticator)
        answers.log, answers.rolling = self._log, self._app.rolling
        server, port = grpc.server(address, answers, self._serving.limits, self._certificates)
        await server.start()
        scheme = "grpcs" if self._certificates else "grpc"
        logging.getLogger("uvicorn.error").info("listens on %s://%s:%d", scheme, address.rpartition(":")[0], port)
        return server


def _spare_what_stays() -> None:
    """Have the garbage collector leave alone what is loaded: to look at that stops all requests for 0.1 s."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])


def logging_config() -> dict[str, Any]:
    """Return uvicorn's logging, with what Trunkline's own modules say beside it."""
    own = {"trunkline": {"handlers": ["default"], "level": "INFO"}}
    return LOGGING_CONFIG | {"loggers": LOGGING_CONFIG["loggers"] | own}


def _check_address(address: str, open_to_others: bool) -> None:
    if not is_loopback(address.rpartition(":")[0].strip("[]")) and not open_to_others:
        raise UserError(
            f"{address}: others than this machine could ask, and nobody is asked who they are; bind 127.0.0.1, declare "
            f"serving.authentication or serving.tls.clients, or say --without-authentication if a proxy before it does "
            f"that"
        )


def _socket(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise OutsideError(f"{address}: cannot listen there: {error}; choose another address or port") from None


@contextlib.contextmanager
def _shared_metrics(workers: int) -> Any:
    """Give workers a folder for their numbers, before any of them counts."""
    if workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="trunkline-metrics-") as folder:
        os.environ[SHARED] = folder
        yield
