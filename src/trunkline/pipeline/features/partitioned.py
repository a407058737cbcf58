"""The feature plan on an executor: the engine's steps as tasks, and files between them; the bytes are DuckDBEngine's.

Nothing but names of files and counts comes back from tasks, until the rows of a part are joined to one file.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from trunkline.conf.engine import Engine as Declared
from trunkline.core.tables import parquet
from trunkline.pipeline.features import distribution, partition
from trunkline.pipeline.features.duckdb import DuckDBEngine
from trunkline.pipeline.features.executors.executor import Executor, connect
from trunkline.pipeline.features.partition import Bucket, Shared
from trunkline.pipeline.features.plan import Early, Engine, Events, FeaturePlan, Named, Part, Primitive


@dataclass
class PartitionedEngine:
    """Computes a plan by tasks; `buckets` is how many a view's entities are spread over in each slice."""

    shared: Shared
    executor: Executor
    buckets: int = 1
    _slices: int = 0
    _computing: list[Iterator[None]] = field(default_factory=list)

    def first_early(self, events: Events) -> Early | None:
        """Return the first row of the observations whose event is available before its own event."""
        return next(self.executor.run([partial(partition.first_early, self.shared, events)]))

    def load_requests(self, part: Part | None = None, extra: Named = ()) -> None:
        """Sort the requests, and the events of all streams."""
        sorted_requests = self.executor.run([partial(partition.sort_requests, self.shared, part, extra)])
        streams = [partial(partition.sort_events, self.shared, each) for each in self.shared.plan.streams]
        events = self.executor.run(streams)
        (self._slices,), _ = sorted_requests, list(events)

    def compute(self, primitive: Primitive) -> None:
        """Begin to compute a view; `write` waits for it."""
        count = distribution.buckets(primitive, self.buckets)
        buckets = [Bucket(primitive.keys, number, count) for number in range(count)]
        slices = range(self._slices)
        tasks = [
            partial(partition.compute, self.shared, primitive, each, bucket) for each in slices for bucket in buckets
        ]
        self._computing.append(self.executor.run(tasks))

    def write(self, path: Path, part: Part | None = None, extra: Iterable[str] = ()) -> int:
        """Write a part's requests as `DuckDBEngine.write` does: the same bytes; return their number."""
        for tasks in self._computing:
            list(tasks)
        self._computing.clear()
        extra = tuple(extra)
        pieces = [self.shared.folder / f"{path.stem}-{number}.parquet" for number in range(self._slices)]
        rows = list(
            self.executor.run(
                [
                    partial(partition.assemble, self.shared, piece, number, self.buckets, part, extra)
                    for number, piece in enumerate(pieces)
                ]
            )
        )
        parquet.join(pieces, self.shared.plan.written(extra), path)
        return sum(rows)


def engine(plan: FeaturePlan, tables: Path, declared: Declared) -> AbstractContextManager[Engine]:
    """Open the engine that conf/engine declares, over the Parquet tables of a folder."""
    return DuckDBEngine(plan, tables) if declared.executor == "local" else _partitioned(plan, tables, declared)


@contextmanager
def _partitioned(plan: FeaturePlan, tables: Path, declared: Declared) -> Iterator[Engine]:
    folder = Path(declared.folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="features-", dir=folder) as between, connect(declared) as executor:
        yield PartitionedEngine(
            Shared(plan, tables.resolve(), Path(between), declared.memory), executor, declared.buckets
        )
