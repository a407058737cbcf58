"""One task of a plan that many machines compute: what it reads and writes are files of a folder that all share.

First the requests are sorted and cut into slices, and the events of each stream are sorted by time, each once. Then
every view of every slice is computed, cut further into buckets of its entities, and at last each slice is put
together. The SQL is `DuckDBEngine`'s; where it has tables, here are views over those files.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trunkline.core import files
from trunkline.core.expressions import Type
from trunkline.core.tables.sql import identifier, neutral
from trunkline.pipeline.features import distribution, sql
from trunkline.pipeline.features.distribution import SLICE
from trunkline.pipeline.features.duckdb import DuckDBEngine, view_name
from trunkline.pipeline.features.plan import Early, Events, FeaturePlan, Named, Part, Primitive


@dataclass(frozen=True)
class Shared:
    """What the tasks of a plan have in common: its tables, the folder between them, and what each may take."""

    plan: FeaturePlan
    tables: Path
    folder: Path
    memory: str = "1GB"
    size: int = SLICE  # requests of a slice

    def requests(self, number: int) -> Path:
        """Return the file of a slice's requests."""
        return self.folder / f"requests-{number}.parquet"

    def events(self, events: Events) -> Path:
        """Return the file of a stream's events."""
        return self.folder / f"events-{neutral(events.name)}.parquet"

    def features(self, view: Primitive, number: int, bucket: int) -> Path:
        """Return the file of a view's features for a bucket of a slice."""
        return self.folder / f"view-{neutral(view.name)}-{number}-{bucket}.parquet"


@dataclass(frozen=True)
class Bucket:
    """Those rows whose values of some columns have one of `count` remainders."""

    by: tuple[str, ...]
    number: int
    count: int

    def condition(self, types: dict[str, Type]) -> str:
        """Return SQL for whether a row is among them; equal values agree, whatever a table stores them as."""
        numbers = {"integer", "number"}
        values = [
            f"CAST({identifier(each)} AS DOUBLE)" if types[each] in numbers else identifier(each) for each in self.by
        ]
        return f"hash({', '.join(values)}) % {self.count} = {self.number}" if self.count > 1 else "true"


class Partition(DuckDBEngine):
    """The engine of one task; a bucket has the requests, and the events, of some of a view's entities."""

    def __init__(self, shared: Shared, bucket: Bucket | None = None) -> None:
        super().__init__(shared.plan, shared.tables, shared.memory, shared.size)
        self._shared = shared
        self._within = bucket.condition(dict(shared.plan.types)) if bucket else "true"

    def _stream(self, events: Events) -> str:
        """Return the stream's sorted events, of which those out of reach are not read."""
        return f"(SELECT * FROM {_read(self._shared.events(events))} WHERE {self._within})"

    def open(self, number: int) -> Self:
        """Take the requests of a slice."""
        self._run(f"CREATE VIEW requests AS SELECT * FROM {_read(self._shared.requests(number))} WHERE {self._within}")
        self._slices = self._sliced()
        return self

    def save_requests(self) -> int:
        """Write the requests that are loaded, a file a slice; return how many files there are."""
        for number, each in enumerate(self._slices):
            self._save(each.of("requests"), self._shared.requests(number))
        return len(self._slices)

    def save_events(self, events: Events) -> None:
        """Write the events of a stream in order of time."""
        self._save(f"({self._known(events)} ORDER BY _event_time)", self._shared.events(events))

    def save_features(self, view: Primitive, path: Path) -> None:
        """Write the features of a view for the requests that are open."""
        self._save(f"({self._query(view, self._slices[0])})", path)

    def save_rows(self, path: Path, number: int, buckets: int, part: Part | None, extra: Iterable[str]) -> int:
        """Write the rows of the slice that is open, put together of all views, as `DuckDBEngine.write` does."""
        for view in self._plan.primitives:
            tasks = range(distribution.buckets(view, buckets))
            pieces = _read(*(self._shared.features(view, number, bucket) for bucket in tasks))
            self._run(f"CREATE VIEW {view_name(view)} AS SELECT * FROM {pieces}")
        self._computed = list(self._plan.primitives)
        with files.atomic_path(path) as temporary:
            return self._copy(self._selection(self._sliced(part)[0], part, extra), temporary)

    def _save(self, table: str, path: Path) -> None:
        with files.atomic_path(path) as temporary:
            self._copy(f"SELECT * FROM {table}", temporary)


def first_early(shared: Shared, events: Events) -> Early | None:
    """Look for an event that was known before it happened."""
    with Partition(shared) as engine:
        return engine.first_early(events)


def sort_requests(shared: Shared, part: Part | None, extra: Named) -> int:
    """Sort the requests and cut them into slices; return how many there are."""
    with Partition(shared) as engine:
        engine.load_requests(part, extra)
        return engine.save_requests()


def sort_events(shared: Shared, events: Events) -> None:
    """Sort the events of a stream."""
    with Partition(shared) as engine:
        engine.save_events(events)


def compute(shared: Shared, view: Primitive, number: int, bucket: Bucket) -> None:
    """Compute a view for a bucket of a slice."""
    with Partition(shared, bucket) as engine:
        engine.open(number).save_features(view, shared.features(view, number, bucket.number))


def assemble(  # noqa: PLR0913, PLR0917  a task is a function of all that it needs
    shared: Shared, path: Path, number: int, buckets: int, part: Part | None, extra: tuple[str, ...]
) -> int:
    """Write the rows of a slice that are of a part; return their number."""
    with Partition(shared) as engine:
        return engine.open(number).save_rows(path, number, buckets, part, extra)


def _read(*paths: Path) -> str:
    """Return SQL for the rows of files."""
    return f"read_parquet([{', '.join(sql.literal(str(path)) for path in paths)}])"
