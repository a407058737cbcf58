"""The rows whose outcomes are looked for, with what had arrived by a moment: at most so many, thinned evenly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from trunkline.core.tasks import Task
from trunkline.deploy.rollout.rows import MISSING, texts
from trunkline.monitor.table import WINDOW
from trunkline.serve.labels import join
from trunkline.serve.labels.store import OUTCOME, TYPES, Outcomes
from trunkline.serve.log import INPUTS, REQUEST
from trunkline.serve.prediction_log.segments import COLUMNS

MOST = 1_000_000  # rows of a log that outcomes are looked for; of more, an even share
CLUSTER = "cluster"

_TOGETHER = 1 << 18  # rows that are joined at a time: each time, all outcomes are sorted
_SEPARATOR = "\x1f"


def sliced(name: str) -> str:
    """Return the name of the column of a slice."""
    return f"slice:{name}"


@dataclass
class Labelled:
    """Joins batches with outcomes; `scores`, `slices` and `cluster` are what is kept of a row, beside its window.

    `lacking` are the columns of slices and of the cluster that no row had.
    """

    outcomes: Outcomes
    moment: datetime
    scores: tuple[str, ...]
    slices: tuple[str, ...]
    cluster: tuple[str, ...]
    lacking: set[str] = field(init=False)
    _waiting: list[pl.DataFrame] = field(default_factory=list, init=False)
    _joined: list[pl.DataFrame] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Leave out what will have been corrected by the moment: nothing of it is joined."""
        self.outcomes = replace(self.outcomes, rows=join.as_of(self.outcomes, self.moment))
        self.lacking = {*self.slices, *self.cluster}

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs that keys, slices and clusters may be among."""
        names = {name for key in self.outcomes.keys for name in key.names}
        return tuple(sorted(names | {*self.slices, *self.cluster}))

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows that have a score."""
        self._waiting.append(rows)
        if sum(each.height for each in self._waiting) >= _TOGETHER:
            self._join()

    def rows(self, task: Task) -> pl.DataFrame:
        """Return all rows: window, cluster, outcome (null for none), scores, and a column of each slice."""
        self._join()
        if self._joined:
            return pl.concat(self._joined)
        kinds = {WINDOW: pl.Datetime("us", "UTC"), CLUSTER: pl.String(), OUTCOME: TYPES[task]}
        kinds |= dict.fromkeys(self.scores, pl.Float64()) | {sliced(name): pl.String() for name in self.slices}
        return pl.DataFrame(schema=kinds)

    def _join(self) -> None:
        if self._waiting:
            waiting, self._waiting = pl.concat(self._waiting), []
            self._joined.append(self._kept(join.joined(waiting, self.outcomes, self.moment)))

    def _kept(self, rows: pl.DataFrame) -> pl.DataFrame:
        names = tuple(dict.fromkeys((*self.slices, *self.cluster)))
        given = texts(rows.select(COLUMNS, INPUTS), names) if names else {}
        self.lacking -= {name for name in names if given[name].null_count() < rows.height}
        own = rows[REQUEST].alias(CLUSTER)
        if self.cluster:
            whole = pl.DataFrame([given[name] for name in self.cluster]).select(
                pl.concat_str(list(self.cluster), separator=_SEPARATOR).alias(CLUSTER)
            )
            own = pl.select(pl.coalesce(whole.to_series(), own)).to_series()
        slices = [given[name].fill_null(MISSING).alias(sliced(name)) for name in self.slices]
        return rows.select(WINDOW, own.alias(CLUSTER), OUTCOME, *self.scores, *slices)


def parts(rows: pl.DataFrame, slices: Sequence[str]) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Yield all rows, under "" and "", then those of each value of each slice, in order of the texts."""
    yield "", "", rows
    for name in slices:
        for (label,), part in sorted(rows.partition_by(sliced(name), as_dict=True).items()):
            yield name, str(label), part
