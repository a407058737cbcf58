"""The feature plan: what an engine computes, in four primitives, knowing nothing of training and nothing of SQL.

*Latest as of*, *rolling aggregate* and *static lookup* are tables to join; *row expressions* combine their columns
with the request's. `compiler` makes a plan of conf/features, `duckdb` computes it; a distributed engine or an
online store would implement the same `Engine`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

from trunkline.core.expressions import Expression, Type, columns
from trunkline.core.features import EVENT_TIME, Feature

Named = tuple[tuple[str, Expression], ...]


@dataclass(frozen=True)
class Request:
    """The rows to compute features for; event_time and lead are None where rows have no time."""

    table: str
    columns: tuple[str, ...]
    unique: tuple[str, ...]
    event_time: Expression | None
    lead: timedelta | None


@dataclass(frozen=True)
class Span:
    """Requests with start <= event_time < end, in naive UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class RequestShare:
    """Requests whose `rows.share` of some columns is at least `low` and below `high`."""

    by: tuple[str, ...]
    seed: int
    low: float
    high: float


Part = Span | RequestShare


@dataclass(frozen=True)
class Events:
    """A stream: rows of a table with the time they happened and the time they became known.

    `available_at` may read the name event_time.
    """

    name: str
    table: str
    unique: tuple[str, ...]
    event_time: Expression
    available_at: Expression


@dataclass(frozen=True)
class LatestAsOf:
    """Values of the entity's last event that was known at prediction time and is not older than `max_age`."""

    name: str
    events: Events
    keys: tuple[str, ...]
    max_age: timedelta | None
    features: Named


@dataclass(frozen=True)
class Aggregation:
    """One aggregate: count of events, or sum or mean of an operand's present values."""

    name: str
    function: Literal["count", "sum", "mean"]
    operand: Expression | None
    default: float | None


@dataclass(frozen=True)
class RollingAggregate:
    """Aggregates over the entity's known events that happened in the last `window` before the prediction."""

    name: str
    events: Events
    keys: tuple[str, ...]
    window: timedelta
    features: tuple[Aggregation, ...]


@dataclass(frozen=True)
class StaticLookup:
    """Values of the one row that a reference table has for the key."""

    name: str
    table: str
    keys: tuple[str, ...]
    features: Named


Primitive = LatestAsOf | RollingAggregate | StaticLookup


@dataclass(frozen=True)
class FeaturePlan:
    """All that an engine needs: `rows` are expressions over the request, event_time and the primitives' features.

    `types` are those of the request's columns and of all features, by name.
    """

    request: Request
    primitives: tuple[Primitive, ...]
    rows: Named
    outputs: tuple[Feature, ...]
    types: Mapping[str, Type]
    timezone: str

    @property
    def streams(self) -> tuple[Events, ...]:
        """The streams that views read, each once."""
        return tuple(dict.fromkeys(view.events for view in self.primitives if not isinstance(view, StaticLookup)))

    def written(self, extra: Iterable[str]) -> list[str]:
        """Return the names of the columns that an engine writes, in order, each once."""
        time = [EVENT_TIME] if self.request.event_time is not None else []
        return list(dict.fromkeys([*self.request.columns, *time, *extra, *(each.name for each in self.outputs)]))


def operands(view: LatestAsOf | RollingAggregate) -> Iterator[str]:
    """Yield the columns that a view's features read."""
    if isinstance(view, LatestAsOf):
        expressions = [expression for _, expression in view.features]
    else:
        expressions = [each.operand for each in view.features if each.operand is not None]
    for expression in expressions:
        yield from columns(expression)


@dataclass(frozen=True)
class Early:
    """The first row whose event was available before the row's own event, both times, and how many there are."""

    row: tuple[object, ...]
    available_at: datetime
    event_time: datetime
    rows: int


class Engine(Protocol):
    """The seam: what computes a plan. Times are naive UTC, `extra` columns are invisible to features.

    A request sees the events that became available strictly before it, save the event of its own row: where a stream
    is of the observations' table, no row sees itself, whatever times are declared.
    """

    def first_early(self, events: Events) -> Early | None:
        """Return the first row of the observations whose event of a stream is available before its own event."""

    def load_requests(self, part: Part | None = None, extra: Named = ()) -> None:
        """Take a part of the observations, or all, in order of event time and key."""

    def compute(self, primitive: Primitive) -> None:
        """Compute the features of one primitive for every request."""

    def write(self, path: Path, part: Part | None = None, extra: Iterable[str] = ()) -> int:
        """Write a part's requests with all `extra` columns present and the plan's outputs; return their number."""
