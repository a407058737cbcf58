"""The features of requests: one read of the store for all of them, then what training computed for the same rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeVar

from trunkline.core.expressions import columns
from trunkline.core.features import EVENT_TIME
from trunkline.serve.online.evaluate import Evaluator, UnfitError, compiled
from trunkline.serve.online.plan import OnlinePlan, OnlineView
from trunkline.serve.online.store.protocol import NO_WATERMARK, Contents, Store
from trunkline.serve.online.values import Reading, micros, moment

_From = TypeVar("_From")
_To = TypeVar("_To")

Fallback = Literal["default", "null", "refuse"]


class RefusedError(ValueError):
    """A request whose features cannot be given; `row` is its place among those asked for, from 0."""

    def __init__(self, message: str, row: int = 0) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True)
class Freshness:
    """What becomes of a view's features if it knows nothing of the entity, or its last event is older than `limit`.

    `default` gives what training gave an entity without events: for a rolling aggregate the declared defaults, else
    null. `null` gives null for each feature, and `refuse` refuses the request.
    """

    limit: timedelta | None = None
    missing: Fallback = "default"
    stale: Fallback = "default"


_NO_LIMIT = Freshness()


class ViewState(NamedTuple):
    """How a view stood for a request: `age` is that of its last event at the time of the prediction."""

    view: str
    missing: bool
    stale: bool
    age: timedelta | None


@dataclass(frozen=True)
class Joined:
    """The features of a request, those that a model reads, in the plan's order, and how each view stood."""

    features: dict[str, Any]
    views: tuple[ViewState, ...]
    predicted_at: datetime | None


class Lookup(NamedTuple):
    """Requests with their event times, and under which key each view has their entity; None for no entity."""

    rows: list[dict[str, Any]]
    keys: list[list[bytes | None]]

    @property
    def wanted(self) -> set[bytes]:
        """The keys that the store is asked for."""
        return {key for each in self.keys for key in each if key is not None}


@dataclass(frozen=True)
class Join:
    """Joins requests with what a store has; `freshness` is by name of a view, and a view that is not named has none."""

    plan: OnlinePlan
    freshness: Mapping[str, Freshness] = field(default_factory=dict)

    def features(
        self,
        store: Store,
        requests: Sequence[Mapping[str, Any]],
        times: Sequence[datetime | None] | None = None,
        now: datetime = datetime.max,
    ) -> list[Joined]:
        """Return the features of requests, each with the request's columns, as of their times (naive UTC).

        Without a time, one is predicted when the plan says: the event's time less the lead; and none is predicted
        later than now, since what becomes known until then nobody knows. Raises RefusedError for the first request that
        lacks a column, is before the store's watermark, is refused by a view, or has a value that does not fit.
        """
        lookup = self.lookup(requests)
        return self.joined(lookup, store.get(lookup.wanted), times or [None] * len(requests), now)

    def lookup(self, requests: Sequence[Mapping[str, Any]]) -> Lookup:
        """Return what is asked of a store for requests; raises RefusedError for the first that lacks a column."""
        rows = _each(self._with_event_time, requests)
        return Lookup(rows, [[view.key(row) for view in self.plan.views] for row in rows])

    def joined(
        self, lookup: Lookup, contents: Contents, times: Sequence[datetime | None], now: datetime
    ) -> list[Joined]:
        """Return the features of requests by what a store has; raises RefusedError as `features` does."""
        moments = [at or self._predicted_at(row) for at, row in zip(times, lookup.rows, strict=True)]
        seen = [None if at is None else min(at, now) for at in moments]
        return _each(lambda of: self._joined(*of, contents), list(zip(*lookup, seen, strict=True)))

    @cached_property
    def _event_time(self) -> Evaluator | None:
        expression = self.plan.plan.request.event_time
        return None if expression is None else compiled(expression, self.plan.plan.types, self.plan.plan.timezone)

    @cached_property
    def _columns(self) -> frozenset[str]:
        """The columns that a request must have."""
        plan, time = self.plan.plan, self.plan.plan.request.event_time
        outputs = {output.name for output in plan.outputs}
        read = [expression for name, expression in plan.rows if name in outputs] + ([time] if time is not None else [])
        names = {name for expression in read for name in columns(expression)}
        names |= {name for view in plan.primitives for name in view.keys}
        return frozenset(names.intersection(plan.request.columns))

    @cached_property
    def _rows(self) -> dict[str, Evaluator]:
        plan = self.plan.plan
        return {name: compiled(expression, plan.types, plan.timezone) for name, expression in plan.rows}

    def _with_event_time(self, request: Mapping[str, Any]) -> dict[str, Any]:
        absent = self._columns.difference(request)
        if absent:
            raise RefusedError(f"column {min(absent)}: is missing from the request; features are made of it")
        row = dict(request)
        if self._event_time is not None:
            try:
                row[EVENT_TIME] = self._event_time(row)
            except UnfitError as error:
                raise UnfitError(f"{EVENT_TIME}: {error}") from None
        return row

    def _joined(
        self, row: dict[str, Any], keys: Sequence[bytes | None], at: datetime | None, contents: Contents
    ) -> Joined:
        self._refuse_past(at, contents.watermark)
        now, own = None if at is None else micros(at), self.plan.own(row)
        known, states = dict(row), []
        for view, key in zip(self.plan.views, keys, strict=True):
            value = contents.values.get(key) if key is not None else None
            reading, state = self._judged(view, view.kept.read(value, now, own if view.own else None), now)
            known |= reading.values
            states.append(state)
        names = [output.name for output in self.plan.plan.outputs]
        features = {name: self._evaluated(name, known) if name in self._rows else known[name] for name in names}
        return Joined(features, tuple(states), at)

    def _predicted_at(self, row: Mapping[str, Any]) -> datetime | None:
        event_time, lead = row.get(EVENT_TIME), self.plan.plan.request.lead
        return event_time - (lead or timedelta()) if event_time is not None else None

    def _refuse_past(self, at: datetime | None, watermark: int) -> None:
        if at is not None and watermark != NO_WATERMARK and micros(at) < watermark:
            raise RefusedError(
                f"the prediction is made at {at}, and what was known before {moment(watermark)} is no longer kept; "
                "ask for a later one, or keep the past for longer"
            )

    def _judged(self, view: OnlineView, reading: Reading, now: int | None) -> tuple[Reading, ViewState]:
        """Return what is made of a view's features, by what is declared for it, and how it stood."""
        name, rule = view.primitive.name, self.freshness.get(view.primitive.name, _NO_LIMIT)
        age = None if reading.last is None or now is None else timedelta(microseconds=now - reading.last)
        stale = age is not None and rule.limit is not None and age > rule.limit
        state = ViewState(name, reading.missing, stale, age)
        fallback = rule.missing if reading.missing else rule.stale if stale else None
        if fallback == "refuse":
            what = "knows nothing of the entity" if reading.missing else f"has no event younger than {rule.limit}"
            raise RefusedError(f"view {name}: {what}, and conf/serving refuses such a request")
        if fallback == "null":
            return reading._replace(values=dict.fromkeys(reading.values)), state
        return (view.kept.read(None, now, None), state) if fallback == "default" else (reading, state)

    def _evaluated(self, name: str, row: Mapping[str, Any]) -> Any:
        try:
            return self._rows[name](row)
        except UnfitError as error:
            raise UnfitError(f"feature {name}: {error}") from None


def _each(function: Callable[[_From], _To], values: Sequence[_From]) -> list[_To]:
    """Return what a function makes of each value; raises RefusedError with the place of the first that has none."""
    results = []
    for row, value in enumerate(values):
        try:
            results.append(function(value))
        except (RefusedError, UnfitError) as error:
            raise RefusedError(str(error), row) from None
    return results
