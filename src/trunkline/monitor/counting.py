"""One pass over segments of a log: what is counted of them, by window, which adds up to what is counted of the log."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import polars as pl

from trunkline.monitor import rows, table
from trunkline.monitor.estimates import Calibration, Expected
from trunkline.monitor.system import System
from trunkline.monitor.tally import Subject, Tallies
from trunkline.pipeline.features.executors.executor import Executor
from trunkline.serve.prediction_log.segments import PROBLEM

TASK = 512  # segments of a task: sums of numbers are made of tasks' sums, whoever runs them


@dataclass(frozen=True)
class Counting:
    """What is read, and what of it is counted.

    `share` is that of the rows with a score whose outcomes are looked for; 0: none.
    """

    reader: rows.Reader
    subjects: tuple[Subject, ...]
    calibrations: tuple[Calibration, ...]
    share: float

    def empty(self) -> "Counts":
        """Return the counts of no rows."""
        return Counts(Tallies(self.subjects, self.reader.choice.window))


@dataclass
class Counts:
    """What is counted of rows, by the start of their window.

    `hidden` are the features that some of them lack, or have hashed; `labelled` the rows whose outcomes are looked for.
    """

    tallies: Tallies
    system: defaultdict[datetime, System] = field(default_factory=lambda: defaultdict(System))
    expected: dict[datetime, Expected] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    labelled: list[pl.DataFrame] = field(default_factory=list)

    def merge(self, later: "Counts") -> None:
        """Add what is counted of rows that come later; not those whose outcomes are looked for."""
        self.tallies.merge(later.tallies)
        for start, system in later.system.items():
            self.system[start].merge(system)
        for start, expected in later.expected.items():
            self.expected.setdefault(start, Expected(expected.calibrations)).merge(expected)
        self.hidden |= later.hidden


def run(counting: Counting, executor: Executor) -> Iterator[Counts]:
    """Yield what is counted of the segments of each task, in the order of the segments."""
    listed = counting.reader.segments()
    parts = [tuple(listed[start : start + TASK]) for start in range(0, len(listed), TASK)]
    yield from executor.run([partial(count, counting, part) for part in parts])


def count(counting: Counting, segments: Sequence[tuple[str, str]]) -> Counts:
    """Return what is counted of segments, by folder and name."""
    counts = counting.empty()
    reader = replace(counting.reader, listed=tuple(segments), hidden=counts.hidden)
    for batch in reader.batches():
        for start, part in windows(batch):
            _add(counts, counting, start, part)
        if counting.share:
            counts.labelled.append(rows.thinned(_scored(batch), counting.share))
    return counts


def _add(counts: Counts, counting: Counting, start: datetime, part: pl.DataFrame) -> None:
    counts.system[start].add(part)
    scored = _scored(part)
    if scored.height:
        counts.tallies.add(start, scored)
        if counting.calibrations:
            expected = counts.expected.setdefault(start, Expected(list(counting.calibrations)))
            expected.add(scored.select(counting.reader.columns.scores).drop_nulls().to_numpy())


def windows(batch: pl.DataFrame) -> Iterator[tuple[datetime, pl.DataFrame]]:
    """Yield the start and the rows of each window, in order."""
    starts = batch[table.WINDOW]
    if batch.height and starts.min() == starts.max():
        yield starts[0], batch
        return
    for (start,), part in sorted(batch.partition_by(table.WINDOW, as_dict=True).items()):
        yield start, part


def _scored(batch: pl.DataFrame) -> pl.DataFrame:
    problems = batch[PROBLEM]
    return batch if problems.null_count() == batch.height else batch.filter(problems.is_null())
