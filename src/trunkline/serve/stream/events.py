"""Stores the events of a batch by one call, as POST /v1/events stores rows."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from trunkline.conf.serving import EventTopic
from trunkline.core.errors import nearest
from trunkline.serve import events
from trunkline.serve.model import Model
from trunkline.serve.problems import ProblemError, malformed
from trunkline.serve.stream import debezium
from trunkline.serve.stream.halves import by_halves
from trunkline.serve.stream.message import Message, OutageError, Outcome, dead_letter
from trunkline.serve.stream.metrics import TopicMetrics
from trunkline.serve.stream.requests import check_size
from trunkline.serve.swap import Slot

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Event:
    """The row of a message, and when it happened, in seconds since 1970; no row where nothing is to be stored."""

    row: dict[str, Any] | None
    time: float | None


@dataclass(frozen=True)
class StoredEvents:
    """What stores the events of a topic for the views of the model that is served; `limit` is in bytes of a message."""

    slot: Slot
    declared: EventTopic
    limit: int
    metrics: TopicMetrics

    def outcome(self, messages: Sequence[Message]) -> Outcome:
        """Store what messages say; return those that are refused. Raises OutageError where nothing can be stored."""
        model = self.slot.current
        if model is None:
            raise OutageError("no model is served: nothing is delivered")
        tables = model.online.tables if model.online else {}
        if self.declared.table not in tables:
            text = f"serving.stream.events: table {self.declared.table}: the bundle makes no feature of it"
            raise OutageError(text + nearest(self.declared.table, tables))
        read = [self._tried(model, message) for message in messages]
        rows = [each for each in read if isinstance(each, _Event) and each.row is not None]
        stored = iter(by_halves(partial(self._store, model), rows))
        results = [next(stored) if isinstance(each, _Event) and each.row is not None else each for each in read]
        refused = [pair for pair in zip(messages, results, strict=True) if isinstance(pair[1], ProblemError)]
        self.metrics.count("stored", len(messages) - len(refused))
        return Outcome(dead=[dead_letter(message, problem) for message, problem in refused])  # type: ignore[arg-type]

    def _tried(self, model: Model, message: Message) -> _Event | ProblemError:
        try:
            return self._read(model, message)
        except ProblemError as problem:
            return problem

    def _read(self, model: Model, message: Message) -> _Event:
        check_size(message, self.limit)
        if self.declared.envelope == "debezium":
            if not message.body:  # what compaction is told after a deletion
                return _Event(None, None)
            content = model.decoder.parse(message.body)
            return _Event(debezium.row(content), debezium.happened(content) or message.time)
        content = model.decoder.parse(message.body)
        if not isinstance(content, dict):
            raise malformed("the body is not one row, a JSON object")
        return _Event(content, message.time)

    def _store(self, model: Model, given: Sequence[_Event]) -> Sequence[_Event]:
        rows = [each.row for each in given]
        conflicts = events.store(model, self.declared.table, rows)
        if arms := self.slot.arms:
            self._store_for(arms.candidate, rows)
        if conflicts:
            self.metrics.conflicts.inc(len(conflicts))
            _log.warning("%s: rows contradict what is stored, which stays: %s", self.declared.table, conflicts[:3])
        now = time.time()
        for each in given:
            if each.time is not None:
                self.metrics.freshness.observe(max(0.0, now - each.time))
        return given

    def _store_for(self, candidate: Model, rows: Sequence[Any]) -> None:
        """Store rows for the views of a rollout's candidate too, which nobody pays for."""
        try:
            events.store(candidate, self.declared.table, rows)
        except Exception as error:
            _log.warning("%s: is not stored for the candidate: %r", self.declared.table, error)
