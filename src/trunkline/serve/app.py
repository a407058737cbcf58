"""The server's routes: which request is answered by what, within the declared limits, and counted."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec

from trunkline.conf.serving import Serving
from trunkline.serve import events, openapi, predict
from trunkline.serve.asked import Answered, Asked
from trunkline.serve.auth.authenticate import Authenticator
from trunkline.serve.auth.principal import STATE_SCOPES
from trunkline.serve.auth.principal import Scope as AuthScope
from trunkline.serve.http import ARROW, Receive, Request, Response, Scope, Send, json_response, read_body
from trunkline.serve.limits import SMALL, TIMEOUT, Queue, allowed_seconds, before
from trunkline.serve.metrics import MEDIA_TYPE as METRICS_TYPE
from trunkline.serve.metrics import Metrics
from trunkline.serve.model import Model, Scored
from trunkline.serve.page import page
from trunkline.serve.prediction_log.sender import PredictionLog
from trunkline.serve.problems import MEDIA_TYPE as PROBLEM_TYPE
from trunkline.serve.problems import ProblemError
from trunkline.serve.protocols import mlflow, open_inference, tensors
from trunkline.serve.rollout.answers import Work
from trunkline.serve.rollout.service import Origin, Rolling
from trunkline.serve.swap import Slot

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Route:
    """What answers a method of a path; `answer` takes the model, the request and its body.

    `refusal` gives a problem the status and the members by which the route's own clients read it. Where `slow`, an
    answer is made in the other thread, however small the request. While a rollout runs, `asked` and `respond` are what
    is done before and after the rows are scored, by whichever arm.
    """

    method: str
    path: str
    answer: Callable[[Model, Request, bytes], tuple[Response, Scored | None]]
    refusal: Callable[[ProblemError], ProblemError] = lambda problem: problem
    scope: AuthScope = "predict"
    slow: bool = False
    asked: Callable[[Model, Request, bytes], Asked] | None = None
    respond: Callable[[Model, Request, Answered], Response] = predict.respond


_PREDICT = Route("POST", "/v1/predict", predict.predict, asked=predict.asked)
_EXPLAIN = Route("POST", "/v1/predict", predict.explain, scope="explain", slow=True, asked=predict.asked)


class App:
    """An ASGI application that answers with the model of a slot."""

    def __init__(
        self, serving: Serving, slot: Slot, metrics: Metrics, queue: Queue, authenticator: Authenticator
    ) -> None:
        self.log: PredictionLog | None = None
        self.rolling = Rolling(metrics.rollout, metrics.scored)
        self._limits, self._slot, self._metrics, self._queue = serving.limits, slot, metrics, queue
        self._authenticator = authenticator
        self._states: dict[str, Callable[[], Response]] = {
            "/healthz": lambda: json_response({"status": "alive"}),
            "/readyz": self._ready,
            "/version": self._version,
            "/metrics": lambda: Response(metrics.text(), media_type=METRICS_TYPE),
            "/docs": page,
            "/openapi.json": lambda: json_response(openapi.document(self._model(), serving)),
        }
        routes = [_PREDICT]
        if serving.protocols.mlflow:
            routes.append(
                Route(
                    "POST",
                    "/invocations",
                    mlflow.invocations,
                    mlflow.refusal,
                    asked=mlflow.asked,
                    respond=mlflow.respond,
                )
            )
            self._states |= {"/ping": self._ready, "/health": self._ready}
        if serving.protocols.open_inference:
            self._states |= {
                "/v2": lambda: json_response(tensors.server()),
                "/v2/health/live": lambda: json_response({"live": True}),
                "/v2/health/ready": lambda: json_response({"ready": bool(self._model())}),
            }
        if serving.online:
            routes.append(Route("POST", events.PATH, events.push, scope="push", slow=True))
        self._routes = {route.path: route for route in routes}
        self._open_inference = serving.protocols.open_inference
        self._arrow = arrow_route() if serving.protocols.arrow else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of HTTP."""
        start = time.monotonic()
        request = Request.of(scope)
        label, response = "unknown", None
        try:
            label, response = await self._answer(request, receive, start)
        except ConnectionResetError:
            return
        except Exception:
            _log.exception("request %s failed", request.id)
            problem = ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; its log has the request id")
            response = _refusal(problem, request)
        self._metrics.answered(label, int(response.status), time.monotonic() - start)
        await response.send(send, request.id)

    async def _answer(self, request: Request, receive: Receive, start: float) -> tuple[str, Response]:
        """Return the route's name in metrics, and the answer."""
        path = request.path.rstrip("/") or "/"
        if path in self._states:
            return path, await self._state(path, request)
        route = self._routes.get(path)
        if route is None and self._open_inference:
            route = open_inference_route(path)
        if route is None:
            return "unknown", _refusal(ProblemError(HTTPStatus.NOT_FOUND, "there is nothing at this path"), request)
        try:
            response = await self._score(route, request, receive, start)
        except ProblemError as problem:
            response = _refusal(route.refusal(problem), request)
        return route.path, response

    async def _score(self, route: Route, request: Request, receive: Receive, start: float) -> Response:
        if request.method != route.method:
            raise _not_allowed(route.method)
        if route is _PREDICT and predict.is_explained(request):
            route = _EXPLAIN
        elif route is _PREDICT and self._arrow and request.media_type == ARROW:
            route = self._arrow
        principal = await self._authenticator.check(request.header("authorization"), route.scope)
        deadline = start + allowed_seconds(request.header(TIMEOUT), self._limits.time.total_seconds())
        with self._queue.entered():
            self._metrics.in_work.set(self._queue.length)
            try:
                body = await read_body(request, receive, self._limits.body, deadline)
                if route.asked and (arms := self._slot.arms):
                    in_turn = route is _PREDICT and len(body) <= SMALL
                    work = Work(self._queue, len(body), deadline, route.slow, in_turn)
                    asked = await work.run(partial(route.asked, arms.current, request, body), waits=False)
                    origin = Origin(request.id, route.path, principal, start)
                    respond = partial(route.respond, arms.current, request)
                    return await self.rolling.respond(arms, asked, work, origin, respond)
                response, scored = await self._scored(route, request, body, deadline)
            finally:
                self._metrics.in_work.set(self._queue.length - 1)
        if scored:
            self._metrics.scored(scored)
            if self.log:
                self.log.append(scored, request.id, route.path, principal, time.monotonic() - start)
        return response

    async def _scored(
        self, route: Route, request: Request, body: bytes, deadline: float
    ) -> tuple[Response, Scored | None]:
        model = self._model()
        if route is _PREDICT and len(body) <= SMALL:
            return await before(deadline, predict.predict_in_turn(model, request, body), waits=model.waits)
        work = partial(route.answer, model, request, body)
        if route.answer is events.push and (arms := self._slot.arms):
            work = partial(events.push_to_both, arms.candidate, model, request, body)
        return await self._queue.run(work, math.inf if route.slow else len(body), deadline, waits=model.waits)

    async def _state(self, path: str, request: Request) -> Response:
        try:
            if request.method not in ("GET", "HEAD"):
                raise _not_allowed("GET")
            if scope := STATE_SCOPES.get(path):
                await self._authenticator.check(request.header("authorization"), scope)
            return self._states[path]()
        except ProblemError as problem:
            return _refusal(problem, request)

    def _model(self) -> Model:
        model = self._slot.current
        if model is None:
            detail = self._slot.problem or "nothing is delivered"
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, f"no model is served: {detail}", {"retry-after": "1"})
        return model

    def _ready(self) -> Response:
        return json_response({"status": "ready", "name": self._model().version.name})

    def _version(self) -> Response:
        content = msgspec.to_builtins(self._model().version)
        previous = self._slot.previous and msgspec.to_builtins(self._slot.previous.version)
        about = {"previous": previous, "problem": self._slot.problem, "rollout": _rollout(self._slot)}
        return json_response(content | about)


def open_inference_route(path: str) -> Route | None:
    """Return what answers a path of the Open Inference Protocol that names a model; None for any other."""
    for method, form, answer in open_inference.ROUTES:
        if form.fullmatch(path):
            asked = open_inference.asked if answer is open_inference.infer else None
            path = f"/v2/{answer.__name__}"
            return Route(method, path, answer, open_inference.refusal, asked=asked, respond=open_inference.respond)
    return None


def arrow_route() -> Route:
    """Return what answers streams of Arrow IPC; raises UserError where what reads them is not installed."""
    arrow = predict.arrow()
    return Route("POST", "/v1/predict", arrow.predict, slow=True, asked=arrow.asked, respond=arrow.respond)


def _rollout(slot: Slot) -> dict[str, Any] | None:
    """Return what `GET /version` says of a rollout."""
    if slot.rollout is None:
        return None
    candidate = slot.rollout.candidate
    return {
        "kind": slot.rollout.kind,
        "share": slot.rollout.share,
        "candidate": {name: getattr(candidate, name) for name in ("name", "version", "digest", "commit")},
        "problem": slot.rollout_problem,
    }


def _not_allowed(method: str) -> ProblemError:
    return ProblemError(HTTPStatus.METHOD_NOT_ALLOWED, f"this path takes {method} only", {"allow": method})


def _refusal(problem: ProblemError, request: Request) -> Response:
    return Response(problem.document(request.id), problem.status, PROBLEM_TYPE, problem.headers)
