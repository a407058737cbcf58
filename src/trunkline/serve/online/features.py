"""The features of requests to a served bundle: what conf/data has at request comes in, what the model reads goes out.

A row that has every input of the model is scored as it is. Any other is a request: its columns are checked as
conf/contract declares them, and the rest is joined from the store. An input that a request gives besides wins over
what the store has.
"""

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from trunkline.bundle import manifest
from trunkline.bundle.contract import FieldError
from trunkline.conf.serving import Online
from trunkline.core.errors import OutsideError, UserError, nearest
from trunkline.core.expressions import columns
from trunkline.pipeline.features import plan_json
from trunkline.serve.online.evaluate import UnfitError
from trunkline.serve.online.events import TableEvents
from trunkline.serve.online.join import Freshness, Join, Joined, Lookup, RefusedError
from trunkline.serve.online.plan import OnlinePlan
from trunkline.serve.online.reader import DeclaredColumn, RowReader, column_schema
from trunkline.serve.online.reads import Reads
from trunkline.serve.online.store.protocol import Contents, Store
from trunkline.serve.online.store.sqlite import SQLiteStore
from trunkline.serve.online.values import Change, micros
from trunkline.serve.problems import ProblemError, refused_row

FEATURES = "features.json"

AT = "prediction_time"  # of a row: as of when it is predicted, if not as in training
_AGAIN = 60.0  # seconds after which a server drops the past again

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Table:
    """A table that features are joined from: what reads its rows, and what they are to the views."""

    reader: RowReader
    events: TableEvents

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """The columns that a row must have, where they may not be missing."""
        return self.events.columns


@dataclass
class Expiry:
    """Drops from a store what no prediction sees that is asked for as of `keep` before now, or later; None: nothing."""

    store: Store
    keep: timedelta | None
    _due: float = 0.0  # of the monotonic clock

    def run(self) -> int:
        """Raise the store's watermark; return how many values were dropped."""
        self._due = time.monotonic() + _AGAIN
        if self.keep is None:
            return 0
        return self.store.expire(micros(datetime.now(UTC).replace(tzinfo=None) - self.keep))

    def run_if_due(self) -> None:
        """Raise it, unless that was done less than a minute ago."""
        if time.monotonic() >= self._due:
            self.run()


@dataclass(frozen=True)
class Requested:
    """Rows as the decoder takes them; of those that were joined, by their number, how, and what they gave, as JSON."""

    rows: Sequence[Mapping[str, Any]]
    joined: Mapping[int, Joined]
    columns: Mapping[int, str]


class _Question(NamedTuple):
    """Rows of a request; what those give that are joined, by number, and what they ask of the store, as of when."""

    rows: Sequence[Any]
    given: dict[int, dict[str, Any]]
    lookup: Lookup
    times: list[datetime | None]
    now: datetime


@dataclass(frozen=True)
class OnlineFeatures:
    """What joins the requests to one bundle; `inputs` are those of its contract."""

    inputs: frozenset[str]
    reader: RowReader
    join: Join
    tables: Mapping[str, Table]
    store: Store
    expiry: Expiry

    @classmethod
    def read(cls, folder: Path, inputs: Collection[str], declared: Online, store: Store) -> Self:
        """Read the features.json of a bundle's folder, whose bytes are verified.

        Raises UserError for a bundle that does not tell how its tables are read, for a view that is declared and is
        not there, and for one that cannot be kept for requests.
        """
        content = manifest.read(folder, keep=frozenset({FEATURES})).kept.get(FEATURES)
        plain: dict[str, Any] = msgspec.json.decode(content or b"{}")
        if "tables" not in plain:
            raise UserError(f"{folder}: does not say how the rows of its tables are read; build it again: dvc repro")
        plan = OnlinePlan(plan_json.plan_of(plain))
        zone = plan.plan.timezone
        try:
            names = [view.primitive.name for view in plan.views]
        except ValueError as error:
            raise UserError(f"{folder}: {error}") from None
        for name in declared.views:
            if name not in names:
                raise UserError(f"serving.online.views.{name}: the bundle has no such view{nearest(name, names)}")
        freshness = {name: Freshness(**dict(each)) for name, each in declared.views.items()}
        tables = {name: _table(plan, name, each) for name, each in plain["tables"].items()}
        expiry = Expiry(store, declared.keep)
        return cls(frozenset(inputs), RowReader.of(plain, zone), Join(plan, freshness), tables, store, expiry)

    @property
    def waits(self) -> bool:
        """Whether the store is asked over a network."""
        return not isinstance(self.store, SQLiteStore)

    def requested(self, rows: Sequence[Any]) -> Requested:
        """Return rows with all their inputs.

        Raises ProblemError for the first that is neither complete nor a request that can be joined.
        """
        question = self._question(rows)
        if not question.given:
            return Requested(rows, {}, {})
        with asked():
            contents = self.store.get(question.lookup.wanted)
        return self._answer(question, contents)

    async def requested_in_turn(self, rows: Sequence[Any]) -> Requested:
        """Return what `requested` does; the store is asked once for all requests that wait for it."""
        question = self._question(rows)
        if not question.given:
            return Requested(rows, {}, {})
        with asked():
            contents = await self._reads.get(question.lookup.wanted)
        return self._answer(question, contents)

    @cached_property
    def _reads(self) -> Reads:
        return Reads(self.store.get, afar=self.waits)

    def _question(self, rows: Sequence[Any]) -> _Question:
        given = {number: self._read(number, row) for number, row in enumerate(rows) if not self._is_complete(row)}
        times = [self._time(number, rows[number]) for number in given]
        with _numbered(list(given)):
            return _Question(rows, given, self.join.lookup(list(given.values())), times, datetime.now(UTC))

    def _answer(self, question: _Question, contents: Contents) -> Requested:
        rows, given, now = question.rows, question.given, question.now.replace(tzinfo=None)
        with _numbered(list(given)):
            joined = self.join.joined(question.lookup, contents, question.times, now)
        features = dict(zip(given, joined, strict=True))
        complete = [
            {**features[number].features, **self._own(row)} if number in features else row
            for number, row in enumerate(rows)
        ]
        logged = {number: {**row, **self._own(rows[number])} for number, row in given.items()}
        texts = {number: msgspec.json.encode(row, order="sorted").decode() for number, row in logged.items()}
        return Requested(complete, features, texts)

    def _is_complete(self, row: Any) -> bool:
        return not isinstance(row, Mapping) or row.keys() >= self.inputs

    def _read(self, number: int, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns of a request."""
        known = {*self.reader.columns, *self.inputs, AT}
        for name in row:
            if name not in known:
                detail = f"field {name[:60]!r}: is neither a column of requests nor an input{nearest(name, known)}"
                raise refused_row(detail, number, name)
        own = {name: value for name, value in row.items() if name in self.reader.columns}
        try:
            return self.reader.read(own, self._needed)
        except FieldError as error:
            raise refused_row(str(error), number, error.field) from None

    def _own(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs that a request gives itself, and that are no columns of it."""
        return {name: row[name] for name in self.inputs & row.keys() if name not in self.reader.columns}

    def _time(self, number: int, row: Mapping[str, Any]) -> datetime | None:
        if AT in self.reader.columns or row.get(AT) is None:
            return None
        try:
            return _TIME.read({AT: row[AT]}, ())[AT]  # type: ignore[no-any-return]
        except FieldError as error:
            raise refused_row(str(error), number, AT) from None

    def request_schema(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON Schema of a request that is joined: its columns, and inputs that it gives itself.

        Those of the inputs are given, by name.
        """
        given = {name: column for name, column in self.reader.columns.items() if name not in self.reader.derived}
        properties: dict[str, Any] = {name: column_schema(name, column) for name, column in given.items()}
        properties |= {name: each for name, each in inputs.items() if name not in self.reader.columns}
        properties.setdefault(AT, {"type": ["string", "null"], "description": "As of when: a time of ISO 8601"})
        needed = sorted(name for name in self._needed if name in given and not given[name].nullable)
        return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}

    @cached_property
    def _needed(self) -> tuple[str, ...]:
        plan = self.join.plan.plan
        names = [name for view in plan.primitives for name in view.keys]
        read = [expression for _, expression in plan.rows]
        read += [plan.request.event_time] if plan.request.event_time is not None else []
        names += [name for expression in read for name in columns(expression)]
        return tuple(dict.fromkeys(name for name in names if name in self.reader.columns))


@contextmanager
def _numbered(numbers: Sequence[int]) -> Iterator[None]:
    """Have a request that is refused bear the number of its row."""
    try:
        yield
    except RefusedError as error:
        raise refused_row(str(error), numbers[error.row]) from None


@contextmanager
def asked() -> Iterator[None]:
    """Have a request answered 503 where the store does not answer; why stands in the log."""
    try:
        yield
    except OutsideError as error:
        _log.error("%s", error)
        detail = "the store of online features does not answer"
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"retry-after": "1"}) from None


def states(joined: Joined) -> dict[str, Any]:
    """Return how the views of a request stood, as JSON has it: ages in seconds."""
    views = {
        each.view: {
            "missing": each.missing,
            "stale": each.stale,
            "age": None if each.age is None else each.age.total_seconds(),
        }
        for each in joined.views
    }
    at = joined.predicted_at
    return {"values": joined.features, "prediction_time": at and f"{at.isoformat()}Z", "views": views}


def put(table: Table, store: Store, rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Put rows of a table, which are read already, into a store; return the unique keys of those that contradict it.

    Raises RefusedError for the first row with a value that does not fit.
    """
    contradicting = store.put(_changes(table, rows))
    return list({tuple(map(str, conflict.event)): list(conflict.event) for conflict in contradicting}.values())


def _changes(table: Table, rows: Sequence[Mapping[str, Any]]) -> dict[bytes, Change]:
    try:
        return table.events.changes(rows)
    except UnfitError:
        for number, row in enumerate(rows):  # to name the row takes a second look
            try:
                table.events.changes([row])
            except UnfitError as error:
                raise RefusedError(str(error), number) from None
        raise


def _table(plan: OnlinePlan, name: str, content: Mapping[str, Any]) -> Table:
    reader = RowReader.of(content, plan.plan.timezone)
    return Table(reader, TableEvents(plan, name, reader.types))


_TIME = RowReader({AT: DeclaredColumn("time", True, None, None, None, None, [], None)}, {}, {}, "UTC")
