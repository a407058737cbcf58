"""The process that writes segments: it gathers rows for a while, writes them whole, and only then says so.

Until it has said so, the server keeps them. A writer that takes the place of one that was killed is given again what
may be written already: the name of a segment tells which batches it holds, so that no row is written twice.
"""

import logging
import math
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from itertools import repeat
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from trunkline.conf.serving import Log
from trunkline.core.errors import one_line
from trunkline.serve.log import DIGEST, REQUEST, TIME
from trunkline.serve.prediction_log import messages, segments
from trunkline.serve.prediction_log.messages import Answer, Batch, Finish, Problem, Scorer, Written
from trunkline.serve.prediction_log.place import Place, folder
from trunkline.serve.prediction_log.privacy import Privacy
from trunkline.serve.prediction_log.sealed import Keys
from trunkline.serve.prediction_log.segments import ScoredRows

RETRY = 1.0  # seconds until what could not be written is tried again
_SWEEP = 3600.0  # seconds between two looks for hours that are to be removed
_HURRY = 4  # at this part of the queue, rows are written before their time

_log = logging.getLogger(__name__)


@dataclass
class Segment:
    """Rows that will be a file: of one bundle, version and hour; the numbers are those of its batches."""

    first: int
    last: int
    answers: list[tuple[int, Answer]] = field(default_factory=list)
    rows: int = 0

    def add(self, number: int, answer: Answer) -> None:
        """Add the answer of a batch."""
        self.last = number
        self.answers.append((number, answer))
        self.rows += len(answer.rows)

    def without(self, held: Sequence[range]) -> list[Answer]:
        """Return the answers but those of batches that files hold already."""
        return [answer for number, answer in self.answers if not any(number in each for each in held)]


class Writer:
    """Writes what comes through a connection, under names that begin with those of its server's run."""

    def __init__(
        self, connection: Connection, log: Log, privacy: Privacy, run: str, environment: str | None = None
    ) -> None:
        self._connection, self._log, self._privacy, self._run = connection, log, privacy, run
        self._environment = environment
        self._scorers: dict[str, Scorer] = {}
        self._open: dict[tuple[str, str], Segment] = {}  # by folder and scorer
        self._written: dict[tuple[str, str], list[range]] = {}  # numbers of batches that files hold already
        self._last, self._said = 0, 0
        self._due, self._not_before = math.inf, 0.0  # of the monotonic clock
        self._failed = False
        self._next_sweep = 0.0

    def serve(self) -> None:
        """Write until the server ends the connection, and then what has come."""
        try:
            while True:
                if self._connection.poll(self._wait()):
                    self._take(messages.to_writer.decode(self._connection.recv_bytes()))
                if self._wait() == 0:
                    self._write()
                self._sweep()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            self._write()  # what came before the server ended, which nobody waits for any more
            if self._failed:
                _log.error("the prediction log lacks %d rows of a server that has ended", self._rows())

    def _wait(self) -> float:
        return max(0.0, min(RETRY, max(self._due, self._not_before) - time.monotonic()))

    def _take(self, message: Scorer | Batch | Finish) -> None:
        if isinstance(message, Scorer):
            self._scorers[message.name] = message
        elif isinstance(message, Finish):
            self._due = 0.0
        else:
            for answer in message.answers:
                scorer = self._scorers[answer.scorer]
                key = folder(scorer.version, scorer.digest, answer.time), answer.scorer
                self._open.setdefault(key, Segment(message.number, message.number)).add(message.number, answer)
            self._last = message.number
            many = self._rows() * _HURRY >= self._log.queue
            wait = 0 if many else self._log.interval.total_seconds() / 2  # the other half is for writing
            self._due = min(self._due, time.monotonic() + wait)

    def _rows(self) -> int:
        return sum(segment.rows for segment in self._open.values())

    @cached_property
    def _place(self) -> Place:
        return Place(self._log.to, Keys.of(self._log, reads=False))

    def _found(self, where: str, digest: str) -> list[range]:
        """Return the numbers of batches of which a folder has the rows, by its files' names."""
        form = re.compile(rf"{re.escape(self._stem(digest))}-(\d+)-(\d+)\.parquet")
        matches = filter(None, map(form.fullmatch, self._place.names(where)))
        return [range(int(match[1]), int(match[2]) + 1) for match in matches]

    def _stem(self, digest: str) -> str:
        return f"part-{digest[:12]}-{self._run}"

    def _write(self) -> None:
        """Write what has come, and tell the server; what cannot be written is tried again later."""
        try:
            for key, segment in list(self._open.items()):
                self._write_segment(*key, segment)
                del self._open[key]
        except Exception as error:  # each file system has errors of its own
            self._not_before, self._failed = time.monotonic() + RETRY, True
            self._tell(Problem(f"{self._log.to}: cannot be written: {one_line(error)}"))
            return
        if self._failed:
            self._tell(Problem(None))
        self._due, self._failed = math.inf, False
        if self._last > self._said:
            self._said = self._last
            self._tell(Written(self._last))

    def _write_segment(self, where: str, scorer_name: str, segment: Segment) -> None:
        scorer = self._scorers[scorer_name]
        if (where, scorer.digest) not in self._written:
            self._written[where, scorer.digest] = self._found(where, scorer.digest)
        if answers := segment.without(self._written[where, scorer.digest]):
            name = f"{self._stem(scorer.digest)}-{segment.first:08}-{segment.last:08}.parquet"
            self._place.write(where, name, _table(scorer, self._privacy, answers, self._environment))

    def _tell(self, message: Written | Problem) -> None:
        try:
            self._connection.send_bytes(messages.encode(message))
        except OSError:
            _log.debug("the server has ended")

    def _sweep(self) -> None:
        if self._log.keep is None or time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + _SWEEP
        try:
            self._place.remove_before(datetime.now(UTC) - self._log.keep)
        except Exception as error:  # each file system has errors of its own
            self._tell(Problem(f"{self._log.to}: old hours cannot be removed: {one_line(error)}"))


def _table(scorer: Scorer, privacy: Privacy, answers: Sequence[Answer], environment: str | None = None) -> Any:
    """Return the rows of answers as a pa.Table."""
    every = len(answers)
    of_answers: dict[str, list[Any]] = {
        REQUEST: [answer.request for answer in answers],
        TIME: [int(answer.time * 1e6) for answer in answers],
        "version": [scorer.version] * every,
        DIGEST: [scorer.digest] * every,
        "principal": [privacy.named(answer.principal) for answer in answers],
        "route": [answer.route for answer in answers],
        "latency": [answer.latency for answer in answers],
        segments.ARM: [answer.arm for answer in answers],
        segments.SCORING: [answer.scoring for answer in answers],
        segments.ENVIRONMENT: [environment] * every,
    }
    counts = [len(answer.rows) for answer in answers]
    given: dict[str, Any] = {name: np.repeat(np.array(each, object), counts) for name, each in of_answers.items()}
    given[segments.ROW] = [row for answer in answers for row in answer.rows]
    if any(answer.columns for answer in answers):
        columns = [text for answer in answers for text in _of_rows(answer, answer.columns)]
        given[segments.COLUMNS] = [privacy.request_columns(text) for text in columns]
    if any(answer.times for answer in answers):
        times = [time for answer in answers for time in _of_rows(answer, answer.times)]
        given[segments.PREDICTION_TIME] = [None if time is None else round(time * 1e6) for time in times]
    if any(answer.problems for answer in answers):
        unscored = [[None] * len(answer.values) + list(answer.problems) for answer in answers]
        given[segments.PROBLEM] = [problem for problems in unscored for problem in problems]
    return segments.table(scorer, privacy, given, _rows(scorer, answers))


def _of_rows(answer: Answer, values: Sequence[Any] | None) -> list[Any]:
    """Return a value for each row of an answer: None for those without one, which are the last."""
    known = values or ()
    return [*known, *repeat(None, len(answer.rows) - len(known))]


def _rows(scorer: Scorer, answers: Sequence[Answer]) -> ScoredRows:
    widths = scorer.width(text=False), scorer.width(text=True)
    nothing: tuple[list[float], list[None]] = [np.nan] * widths[0], [None] * widths[1]
    values = [row for answer in answers for row in (*answer.values, *repeat(nothing, len(answer.problems)))]
    no_score = np.full(len(scorer.scores), np.nan).tobytes()
    scores = np.frombuffer(b"".join(answer.scores + no_score * len(answer.problems) for answer in answers), np.float64)
    return ScoredRows(
        np.array([numbers for numbers, _ in values], np.float64).reshape(len(values), widths[0]),
        np.array([texts for _, texts in values], object).reshape(len(values), widths[1]),
        scores.reshape(len(values), len(scorer.scores)),
    )


def run(connection: Connection, log: Log, privacy: Privacy, name: str, environment: str | None) -> None:
    """Write until the server ends; Ctrl-C and SIGTERM, which a terminal or a supervisor sends to all, do not end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Writer(connection, log, privacy, name, environment).serve()
