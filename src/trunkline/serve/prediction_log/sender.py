"""The server's side of its log: a bounded queue, and a thread that hands what is in it to the writer's process.

The event loop appends an answer and goes on, whatever the writer does. What was handed over stays here until the writer
says that it is in a file; a writer that ends is replaced, and given it again.
"""

import logging
import os
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Raw

from trunkline.conf.serving import Log, is_url
from trunkline.core.errors import UserError, one_line
from trunkline.serve.decode import Values
from trunkline.serve.prediction_log import messages
from trunkline.serve.prediction_log.messages import Answer, EncodedBatch, Finish, Problem, Scorer
from trunkline.serve.prediction_log.privacy import Privacy

if TYPE_CHECKING:
    from trunkline.serve.metrics import LogMetrics
    from trunkline.serve.model import Model, Scored

INSTALL = "pip install 'trunkline[serve-arrow]', or what locks/serve-arrow.txt lists"
_PAUSE = 0.1  # seconds between two looks at the queue; the loop wakes nobody
_MOST = 500  # answers of a message
_SMALL = 100  # rows of an answer that the loop itself encodes: a thread that does would make it wait, for many at once
_HASTE = 2  # at this part of the queue, a writer is late
_GIVES_WAY = 10  # of the priority
_RETRY = 1.0  # seconds from a writer's start until another takes its place

_log = logging.getLogger(__name__)

_Writes = tuple[Log, Privacy, str, str | None]  # what a writer is started with: also its run and environment


class _Logged(NamedTuple):
    time: float
    scored: "Scored"
    request: str
    route: str
    principal: str | None
    seconds: float | None


class _Queued(NamedTuple):
    """An answer, encoded if it is small, with what is counted of it."""

    model: "Model"
    rows: int
    answer: _Logged | bytes


@dataclass(frozen=True)
class _Handed:
    """A batch that the writer was given, and has not written yet."""

    number: int
    rows: int
    content: bytes


class PredictionLog:
    """What a worker logs; `append` is for the event loop and the shadow, all else is done by a thread."""

    def __init__(self, log: Log, privacy: Privacy, metrics: "LogMetrics", environment: str | None = None) -> None:
        self._log, self._privacy, self._metrics, self._environment = log, privacy, metrics, environment
        self._run = secrets.token_hex(6)
        self._queue: deque[_Queued] = deque()
        self._appended, self._settled = 0, 0  # rows
        self._appending = threading.Lock()  # the shadow of a rollout appends beside the loop
        self._handed: deque[_Handed] = deque()
        self._number = 0
        self._scorers: dict[str, bytes] = {}
        self._writer: _Writer | None = None
        self._started = 0.0
        self._idle = True  # the writer takes the time that nobody else wants, for as long as that is enough
        self._problem: str | None = None
        self._stop = threading.Event()
        self._deadline = 0.0  # of the monotonic clock, once it is to stop
        self._thread = threading.Thread(target=self._follow, name="prediction log", daemon=True)

    def append(self, scored: "Scored", request: str, route: str, principal: str | None, seconds: float | None) -> None:
        """Log the rows of a request, or drop and count them where too many wait already."""
        rows = scored.logged
        with self._appending:
            if self._appended - self._settled + rows > self._log.queue:
                self._metrics.dropped.inc(rows)
                return
            self._appended += rows
        logged = _Logged(time.time(), scored, scored.request or request, route, principal, seconds)
        self._queue.append(_Queued(scored.model, rows, _encoded_if_small(logged, rows)))

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Write what waits, for so long at most; what is left then is dropped and counted."""
        self._deadline = time.monotonic() + seconds
        self._stop.set()
        self._thread.join(seconds)
        if self._thread.is_alive() and self._writer:  # it waits for a writer that does not read
            self._writer.kill()
        self._thread.join()
        left = self._appended - self._settled
        if left:
            self._metrics.dropped.inc(left)
            _log.error("%d rows could not be written to the prediction log before the end", left)

    def _follow(self) -> None:
        while not self._stop.wait(_PAUSE):
            self._try(finish=False)
        while self._appended > self._settled and time.monotonic() < self._deadline:
            self._try(finish=True)
            time.sleep(_PAUSE)
        if self._writer:
            self._writer.end(max(0.0, self._deadline - time.monotonic()))

    def _try(self, *, finish: bool) -> None:
        """Hand over what waits, and see what was written; replace a writer that has ended."""
        try:
            self._begin()
            if self._writer:
                self._hand_over()
                if finish:
                    self._writer.send(messages.encode(Finish()))
                self._hear()
                self._hasten()
        except (OSError, EOFError):
            self._replace()
        self._metrics.waiting.set(self._appended - self._settled)

    def _begin(self) -> None:
        """Start a writer where there is none, and give it what the one before it may not have written."""
        if self._writer or time.monotonic() < self._started + _RETRY:
            return
        self._started = time.monotonic()
        self._writer = _Writer((self._log, self._privacy, self._run, self._environment), self._idle)
        for content in (*self._scorers.values(), *(each.content for each in self._handed)):
            self._writer.send(content)

    @property
    def _is_late(self) -> bool:
        """Whether a writer that takes what time others leave has got too little of it."""
        waiting = self._appended - self._settled
        return self._idle and self._problem is None and waiting * _HASTE >= self._log.queue

    def _hasten(self) -> None:
        """Replace a writer that is late by one that gives way less, before rows are dropped."""
        if self._writer and self._is_late:
            _log.warning("the writer of the prediction log gets too little time; one of more priority takes its place")
            self._idle, self._started = False, 0.0
            self._writer.kill()
            self._writer = None
            self._metrics.restarts.inc()

    def _replace(self) -> None:
        writer, self._writer = self._writer, None
        if writer:
            writer.kill()
            _log.error("the writer of the prediction log ended with %s; another takes its place", writer.exit_code)
        self._metrics.restarts.inc()

    def _hand_over(self) -> None:
        assert self._writer  # noqa: S101
        while self._queue and not self._is_late:
            for content in self._taken():
                self._writer.send(content)

    def _taken(self) -> list[bytes]:
        """Take some answers from the queue; return what tells of them, after the bundles that are new."""
        queued = [self._queue.popleft() for _ in range(min(_MOST, len(self._queue)))]
        new, answers, rows = [], [], 0
        for each in queued:
            try:
                answer = each.answer if isinstance(each.answer, bytes) else _encoded(each.answer)
                new += [self._introduced(each.model)] if self._is_new(each.model) else []
            except Exception:  # whatever it is, other answers are logged
                _log.exception("%d rows cannot be logged", each.rows)
                self._metrics.dropped.inc(each.rows)
                self._settled += each.rows
                continue
            answers.append(Raw(answer))
            rows += each.rows
        if not answers:
            return []
        self._number += 1
        content = messages.encode(EncodedBatch(self._number, answers))
        self._handed.append(_Handed(self._number, rows, content))
        return [*new, content]

    def _is_new(self, model: "Model") -> bool:
        return _scorer_name(model) not in self._scorers

    def _introduced(self, model: "Model") -> bytes:
        """Return what tells of a bundle, and remember it."""
        scorer = Scorer.of(model.bundle.contract, model.version.digest, model.version.version)
        self._scorers[scorer.name] = messages.encode(scorer)
        return self._scorers[scorer.name]

    def _hear(self) -> None:
        assert self._writer  # noqa: S101
        for content in self._writer.heard():
            message = messages.to_server.decode(content)
            if isinstance(message, Problem):
                self._note(message.text)
                continue
            while self._handed and self._handed[0].number <= message.number:
                rows = self._handed.popleft().rows
                self._settled += rows
                self._metrics.written.inc(rows)

    def _note(self, problem: str | None) -> None:
        self._metrics.problem.set(problem is not None)
        if problem != self._problem:
            _log.error("the prediction log: %s", problem) if problem else _log.info(
                "the prediction log is written again"
            )
        self._problem = problem


class _Writer:
    """A writer's process, and the connection to it."""

    def __init__(self, writes: _Writes, idle: bool) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_write, args=(theirs, *writes), name="writer", daemon=True)
        self._process.start()
        _lower_priority(self._process.pid or 0, idle=idle)
        theirs.close()

    def send(self, content: bytes) -> None:
        self._connection.send_bytes(content)

    def heard(self) -> "list[bytes]":
        """Return what it has said; raises EOFError once it has ended."""
        said = []
        while self._connection.poll():
            said.append(self._connection.recv_bytes())
        return said

    def end(self, seconds: float) -> None:
        """Let it write what it has, and end."""
        self._connection.close()
        self._process.join(seconds)
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode


def _lower_priority(process: int, *, idle: bool) -> None:
    """Have answers come before their log; `idle`: it gets only the time that nobody else wants."""
    if idle and hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(process, os.SCHED_IDLE, os.sched_param(0))
    elif hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, process, _GIVES_WAY)


class _NoPandas(MetaPathFinder):
    """Has pandas not be found: pyarrow would load it for a column, which takes 0.4 s and 80 MB."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname, name=fullname)


def _write(connection: Connection, *writes: *_Writes) -> None:
    """Write, in a process of its own: the server has no use for pyarrow."""
    sys.meta_path.insert(0, _NoPandas())
    from trunkline.serve.prediction_log import writer  # noqa: PLC0415

    writer.run(connection, *writes)


def _scorer_name(model: "Model") -> str:
    return messages.scorer_name(model.version.digest, model.version.version)


def _encoded_if_small(logged: _Logged, rows: int) -> _Logged | bytes:
    """Encode an answer of few rows; one that cannot be is left to the thread, which says why."""
    with suppress(Exception):
        if rows <= _SMALL:
            return _encoded(logged)
    return logged


def _encoded(logged: _Logged) -> bytes:
    try:
        return messages.encode(_answer(logged))
    except OverflowError:  # a whole number that a model takes, and msgpack does not
        return messages.encode(_answer(logged, plain=False))


def _as_floats(values: Sequence[Values]) -> list[Values]:
    return [([number if number is None else float(number) for number in numbers], texts) for numbers, texts in values]


def _answer(logged: _Logged, *, plain: bool = True) -> Answer:
    scored, principal = logged.scored, logged.principal
    return Answer(
        scorer=_scorer_name(scored.model),
        request=logged.request,
        time=scored.at or logged.time,
        principal=principal and principal.encode(errors="replace").decode(),  # as a token has it, perhaps no Unicode
        route=logged.route,
        latency=logged.seconds,
        rows=[*scored.numbers, *scored.problems],
        values=scored.rows.values if plain else _as_floats(scored.rows.values),
        scores=scored.scores.tobytes(),
        columns=[*(scored.columns or [None] * len(scored.scores)), *scored.asked] if scored.asked else scored.columns,
        times=scored.times,
        arm=scored.arm,
        scoring=scored.scoring,
        problems=[text.encode(errors="replace").decode() for text in scored.problems.values()],
    )


def check(log: Log) -> None:
    """Raise UserError where what writes the log is not installed, or its folder cannot be written."""
    if find_spec("pyarrow") is None:
        raise UserError(f"serving.log: needs pyarrow: {INSTALL}")
    if is_url(log.to):
        if not log.to.startswith("s3://"):
            raise UserError(f"serving.log.to: {log.to}: is neither a folder nor an address such as s3://bucket/log")
        return
    try:
        Path(log.to).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"serving.log.to: {log.to}: cannot be made: {one_line(error)}; name another folder") from None
