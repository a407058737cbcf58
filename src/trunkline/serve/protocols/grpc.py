"""The Open Inference Protocol over gRPC, in the same process and on the same checks as over HTTP."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from open_inference.grpc import protocol, service

from trunkline.conf.serving import Limits
from trunkline.serve.asked import Answered, Asked
from trunkline.serve.auth.authenticate import Authenticator
from trunkline.serve.http import new_request_id
from trunkline.serve.limits import Queue
from trunkline.serve.metrics import Metrics
from trunkline.serve.model import Model, Scored
from trunkline.serve.prediction_log.sender import PredictionLog
from trunkline.serve.problems import ProblemError, malformed
from trunkline.serve.protocols import tensors
from trunkline.serve.protocols.tensors import Tensor
from trunkline.serve.rollout.answers import Work
from trunkline.serve.rollout.arms import Arms
from trunkline.serve.rollout.service import Origin, Rolling
from trunkline.serve.swap import Slot

if TYPE_CHECKING:
    from trunkline.serve.tls import Certificates, Identity

_log = logging.getLogger(__name__)

_INFER = "grpc/ModelInfer"  # the route in the log
_CODES = {
    HTTPStatus.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNPROCESSABLE_ENTITY: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


@dataclass(frozen=True)
class _Asked:
    """Who asks, and since when, by the monotonic clock."""

    principal: str | None
    start: float


class Service(service.GRPCInferenceServiceServicer):
    """Answers the calls of the protocol with the model of a slot."""

    def __init__(
        self, slot: Slot, limits: Limits, queue: Queue, metrics: Metrics, authenticator: Authenticator
    ) -> None:
        self.log: PredictionLog | None = None
        self.rolling = Rolling(metrics.rollout, metrics.scored)
        self._slot, self._limits, self._queue, self._metrics = slot, limits, queue, metrics
        self._authenticator = authenticator

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802, D102  names of the protocol
        return protocol.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        return protocol.ServerReadyResponse(ready=self._slot.current is not None)

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        async def answer(asked: _Asked) -> Any:
            try:
                ready = bool(tensors.named(self._slot.current, request.name, request.version))
            except ProblemError:
                ready = False
            return protocol.ModelReadyResponse(ready=ready)

        return await self._answered("ModelReady", request, context, answer)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        async def answer(asked: _Asked) -> Any:
            return protocol.ServerMetadataResponse(**tensors.server())

        return await self._answered("ServerMetadata", request, context, answer)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        async def answer(asked: _Asked) -> Any:
            model = tensors.named(self._slot.current, request.name, request.version)
            return protocol.ModelMetadataResponse(**tensors.describe(model))

        return await self._answered("ModelMetadata", request, context, answer)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        async def answer(asked: _Asked) -> Any:
            model = tensors.named(self._slot.current, request.model_name, request.model_version)
            left = min(context.time_remaining() or self._limits.time.total_seconds(), self._limits.time.total_seconds())
            deadline = time.monotonic() + left
            with self._queue.entered():
                if arms := self._slot.arms:
                    return await self._rolled(arms, request, deadline, asked)
                work: Callable[[], Any] = lambda: _infer(model, request)  # noqa: E731
                response, scored = await self._queue.run(work, request.ByteSize(), deadline, waits=model.waits)
            self._metrics.scored(scored)
            if self.log:
                seconds = time.monotonic() - asked.start
                self.log.append(scored, response.id, _INFER, asked.principal, seconds)
            return response

        return await self._answered("ModelInfer", request, context, answer)

    async def _rolled(self, arms: Arms, request: Any, deadline: float, asked: _Asked) -> Any:
        """Return the answer while a rollout runs."""
        work = Work(self._queue, request.ByteSize(), deadline)
        rows = await work.run(partial(_read, request), waits=False)
        origin = Origin(request.id or new_request_id(), _INFER, asked.principal, asked.start)
        respond = partial(_respond, arms.current, request, origin.request)
        return await self.rolling.respond(arms, rows, work, origin, respond)

    async def _answered(self, call: str, request: Any, context: Any, answer: Callable[[_Asked], Awaitable[Any]]) -> Any:
        """Return an answer and count it; a problem ends the call with the status that it stands for."""
        start, status = time.monotonic(), HTTPStatus.OK
        try:
            return await answer(_Asked(await self._check(request, context), start))
        except ProblemError as problem:
            status = problem.status
            await context.abort(_CODES.get(status, grpc.StatusCode.INTERNAL), problem.detail)
        except Exception:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            _log.exception("call %s failed", call)
            await context.abort(grpc.StatusCode.INTERNAL, "the server failed; see its log")
        finally:
            self._metrics.answered(f"grpc/{call}", int(status), time.monotonic() - start)

    async def _check(self, request: Any, context: Any) -> str | None:
        """Return who asks; raise ProblemError for who may not, and then for a message that could not be parsed."""
        metadata = dict(context.invocation_metadata() or ())
        principal = await self._authenticator.check(metadata.get("authorization"), "predict")
        if request is None:
            raise malformed("the message is none of the protocol's")
        return principal


class _Parsed(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Gives a call None for a message that cannot be parsed, of which grpcio would log a traceback."""

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        handler = await continuation(details)
        return handler and handler._replace(request_deserializer=partial(_parse, handler.request_deserializer))


def server(
    address: str, answers: Service, limits: Limits, certificates: "Certificates | None" = None
) -> tuple[grpc.aio.Server, int]:
    """Return a server at an address, which is to be started in a running loop, and its port."""
    options = [
        ("grpc.max_receive_message_length", limits.body),
        ("grpc.so_reuseport", 1),
        ("grpc.server_handshake_timeout_ms", int(limits.headers.total_seconds() * 1000)),
    ]
    server = grpc.aio.server(interceptors=[_Parsed()], options=options)
    service.add_GRPCInferenceServiceServicer_to_server(answers, server)  # type: ignore[no-untyped-call]
    if certificates is None:
        return server, server.add_insecure_port(address)
    return server, server.add_secure_port(address, _credentials(certificates))


def _credentials(certificates: "Certificates") -> grpc.ServerCredentials:
    """Return credentials that each new connection takes from the identity of that moment."""
    used = certificates.identity

    def renewed() -> Any:
        nonlocal used
        if certificates.identity is used:
            return None
        used = certificates.identity
        return _configuration(used)

    demanded = used.files.clients is not None
    return grpc.dynamic_ssl_server_credentials(_configuration(used), renewed, demanded)


def _configuration(identity: "Identity") -> Any:
    files = identity.files
    return grpc.ssl_server_certificate_configuration([(files.key, files.certificate)], files.clients)


def _parse(parse: Callable[[bytes], Any], message: bytes) -> Any:
    try:
        return parse(message)
    except Exception:  # protobuf's own error, and protobuf is no dependency of ours
        return None


def _infer(model: Model, request: Any) -> tuple[Any, Scored]:
    answered, scored = tensors.scored(model, _read(request))
    return _respond(model, request, request.id or new_request_id(), answered), scored


def _read(request: Any) -> Asked:
    return tensors.asked(_inputs(request), request.id, request.model_version)


def _respond(model: Model, request: Any, identifier: str, answered: Answered) -> Any:
    result = tensors.scores(answered)
    output = protocol.ModelInferResponse.InferOutputTensor(
        name=result.name, datatype=result.datatype, shape=result.shape
    )
    for name, text in tensors.versions(answered).items():
        output.parameters[name].string_param = text
    if request.raw_input_contents:
        raw = [np.array(result.values, "<f8").tobytes()]
    else:
        raw, output.contents.fp64_contents[:] = [], result.values
    return protocol.ModelInferResponse(
        model_name=model.version.name,
        model_version=tensors.version(answered),
        id=identifier,
        outputs=[output],
        raw_output_contents=raw,
    )


def _inputs(request: Any) -> Iterator[Tensor]:
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise malformed(f"raw_input_contents: {len(raw)} for {len(request.inputs)} inputs; give one for each")
    for index, tensor in enumerate(request.inputs):
        if tensor.datatype not in _CONTENTS:
            raise tensors.unknown_datatype(tensor.name, tensor.datatype)
        values = (
            tensors.unpack(tensor.name, tensor.datatype, raw[index])
            if raw
            else list(getattr(tensor.contents, _CONTENTS[tensor.datatype]))
        )
        yield Tensor(tensor.name, tensor.datatype, list(tensor.shape), values)
