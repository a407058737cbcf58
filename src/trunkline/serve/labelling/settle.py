"""Makes one outcome of what several annotators say of a row: what all say, or what a rule settles; else none."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from trunkline.core.errors import UserError
from trunkline.core.tables import convert
from trunkline.core.tasks import NUMERIC
from trunkline.serve.labelling import returned
from trunkline.serve.labelling.agreement import alpha
from trunkline.serve.labelling.returned import AT, TASK, VALUE, WHO, Returned
from trunkline.serve.labels.declared import Declared
from trunkline.serve.labels.file import Columns, OutcomesFile
from trunkline.serve.tables import RowsFile

Rule = Literal["majority", "median"]

_MEANT = "meant"  # an answer in its type
_SAID = "said"  # how many say it


@dataclass(frozen=True)
class AnsweredRows(RowsFile):
    """The settled answers as a file of rows: a row for each task, in the order of the tasks.

    `shown` has what else came back of each, as texts.
    """

    content: Any = None  # pa.Table
    shown: pl.DataFrame = field(default_factory=pl.DataFrame)

    def chunks(self, rows: int, start: int = 0) -> Iterator[Any]:
        """Yield the rows from row `start` on in order, `rows` at a time."""
        for first in range(start, self.content.num_rows, rows):
            yield self.content.slice(first, rows).combine_chunks()


@dataclass(frozen=True)
class Agreement:
    """What annotators agree on: how many tasks, answers and annotators there are, and alpha of the `shared` tasks.

    Shared are those that two annotators or more answered. `conflicts` says of each task that stays without an outcome
    what was said, `settled` is the number of conflicts that the rule has settled.
    """

    tasks: int
    answers: int
    annotators: int
    shared: int
    alpha: float | None
    settled: int
    conflicts: dict[int, str]

    @property
    def text(self) -> str:
        """What is to be told of it, as one line, or as two where there are conflicts."""
        value = "is not defined" if self.alpha is None else f"{self.alpha:.3f}"
        shared = f"of {self.shared:,} that two or more answered"
        lines = [f"{self.answers:,} answers of {self.annotators:,} annotators; Krippendorff's alpha {value}, {shared}"]
        if self.settled or self.conflicts:
            lines += [f"in conflict: {self.settled + len(self.conflicts):,}, settled by the rule: {self.settled:,}"]
        return "\n".join(lines)


def read(
    path: Path, declared: Declared, by: Columns, annotator: str | None, rule: Rule | None
) -> tuple[OutcomesFile, Agreement]:
    """Read what annotators gave back as a file of outcomes, and how far they agree.

    Raises UserError for a file that is not as its suffix says, and for a rule that does not fit the task.
    """
    answered = returned.read(path, declared.label.name, declared.unique_key, by, annotator)
    rows, agreement = settle(path, answered, declared, rule)
    at = AT if answered.answers[AT].count() else None
    return OutcomesFile(rows, declared, replace(answered.by, at=at)), agreement


def settle(path: Path, answered: Returned, declared: Declared, rule: Rule | None) -> tuple[RowsFile, Agreement]:
    """Return the outcomes as rows, null for a task in conflict, and how far the annotators agree.

    The last answer of an annotator to a task counts. Raises UserError for a rule that does not fit the task.
    """
    numeric = declared.label.task in NUMERIC
    if rule is not None and (rule == "median") != numeric:
        raise UserError(
            f"--resolve {rule}: is for {'classes' if numeric else 'numbers'}; the label is of the other kind"
        )
    answers = _last(answered.answers)
    meant = convert.parse(answers[VALUE], declared.own.type).values
    answers = answers.with_columns(meant.cast(pl.String).fill_null(answers[VALUE]).alias(VALUE), meant.alias(_MEANT))
    by_task = answers.group_by(TASK, maintain_order=True)
    said = {key: rows for (key,), rows in by_task}
    outcomes = {number: _outcome(rows, rule) for number, rows in said.items()}
    split = {number for number, rows in said.items() if rows[VALUE].n_unique() > 1}
    units = [rows[_MEANT].drop_nulls().to_list() for rows in said.values()]
    agreement = Agreement(
        tasks=answered.tasks.height,
        answers=answers.height,
        annotators=answers[WHO].n_unique(),
        shared=sum(len(unit) >= 2 for unit in units),
        alpha=alpha(units, numeric=numeric),
        settled=sum(outcomes[number] is not None for number in split),
        conflicts={number: _words(said[number]) for number in sorted(split) if outcomes[number] is None},
    )
    return _rows(path, answered, declared.label.name, outcomes, answers), agreement


def _last(answers: pl.DataFrame) -> pl.DataFrame:
    """Return the last answer of each annotator to each task: by its time, else by its place in the file."""
    ordered = answers.drop_nulls(VALUE).with_row_index("place").sort(TASK, AT, "place", nulls_last=False)
    return ordered.unique([TASK, WHO], keep="last", maintain_order=True).drop("place")


def _outcome(rows: pl.DataFrame, rule: Rule | None) -> str | None:
    counts = _counts(rows)
    if counts.height == 1:
        return str(counts[VALUE][0])
    if rule == "majority" and counts[_SAID][0] * 2 > rows.height:
        return str(counts[VALUE][0])
    if rule == "median" and rows[_MEANT].null_count() == 0:
        return str(rows[_MEANT].median())
    return None


def _counts(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by(VALUE).agg(pl.len().alias(_SAID)).sort(pl.col(_SAID), VALUE, descending=[True, False])


def _words(rows: pl.DataFrame) -> str:
    return ", ".join(f"{said} {'says' if said == 1 else 'say'} {value}" for value, said in _counts(rows).iter_rows())


def _rows(
    path: Path, answered: Returned, label: str, outcomes: dict[int, str | None], answers: pl.DataFrame
) -> AnsweredRows:
    numbers = range(1, answered.tasks.height + 1)
    settled = [outcomes.get(number) for number in numbers]
    latest = answers[AT].max()  # stands where there is no outcome, of which nobody asks when it arrived
    last = dict(answers.group_by(TASK).agg(pl.col(AT).max()).iter_rows())
    rows = answered.tasks.with_columns(
        pl.Series(label, settled, dtype=pl.String),
        pl.Series(
            AT,
            [latest if outcome is None else last[number] for number, outcome in zip(numbers, settled, strict=True)],
            dtype=pl.String,
        ),
    )
    content = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    content = content.cast(pa.schema([(name, pa.string()) for name in content.schema.names]))
    return AnsweredRows(path, "csv", content.schema, rows.height, content, answered.shown)
