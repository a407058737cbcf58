"""Measures windows of a prediction log beside the reference of its bundle: one pure function of what was read."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from trunkline.core.errors import UserError, nearest
from trunkline.core.tasks import Task, score_columns
from trunkline.monitor import counting, distances, estimates, outcomes, performance, rows, table, tally
from trunkline.monitor.counting import Counting, Counts, windows
from trunkline.monitor.outcomes import Labelled
from trunkline.monitor.performance import Judge
from trunkline.monitor.tally import Subject, Tallies
from trunkline.pipeline.evaluate import drift
from trunkline.pipeline.features.executors.executor import Executor, Local
from trunkline.serve.labels.store import OUTCOME, Outcomes
from trunkline.serve.prediction_log.place import Place

_ALONE = Local()


@dataclass(frozen=True)
class Source:
    """What is read: a log, the outcomes of it, and the bundle's reference.json as its content.

    `classes` are those of the bundle's contract.json, none unless the task is multiclass.
    """

    place: Place
    reference: Mapping[str, Any]
    outcomes: Outcomes
    task: Task = "binary"
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What is measured: rows of a bundle from `since`, with what had arrived by `as_of` (both UTC).

    `environment` None takes the rows of all, `digest` None those of all bundles. `slices` and `cluster` are columns of
    requests or inputs; no cluster: each row is its own. `features` and `metrics` None: all of the reference.
    `released` is when the bundle was released or committed.
    """

    since: datetime
    as_of: datetime
    window: timedelta = timedelta(days=1)
    matures: timedelta = timedelta(0)
    environment: str | None = None
    digest: str | None = None
    slices: tuple[str, ...] = ()
    cluster: tuple[str, ...] = ()
    features: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    released: datetime | None = None


@dataclass(frozen=True)
class Measured:
    """The table, the counts of each window and those of the reference (table.py has their columns).

    `unmeasured` says in a line each what could not be measured, and why; `logged`, whether the log has anything of the
    time, be it of others.
    """

    table: pl.DataFrame
    counts: pl.DataFrame
    reference_counts: pl.DataFrame
    unmeasured: tuple[str, ...]
    logged: bool = True


def measure(source: Source, plan: Plan, executor: Executor = _ALONE) -> Measured:
    """Measure each window that has rows; memory grows with windows, features and outcomes.MOST labelled rows.

    The executor's tasks read the log, which has to be where all of them see it; no result depends on which it is.
    Raises UserError for a feature or metric that there is none of, and OutsideError for a segment that cannot be read.
    """
    run = _Run(source, plan)
    run.read(executor)
    content = [*run.of_features(), *run.of_system(), *run.of_outcomes()]
    estimated = list(run.of_estimates())
    content += [*estimated, *_errors(estimated, content)]
    counts, reference_counts = run.counts(), run.reference_counts()
    return Measured(table.of(content), counts, reference_counts, tuple(run.unmeasured()), run.logged)


class _Run:
    """What is counted of the log, and what is made of it."""

    def __init__(self, source: Source, plan: Plan) -> None:
        self.source, self.plan = source, plan
        self.scores = score_columns(source.classes)
        self.features = _features(source.reference, plan)
        self.subjects = tuple(tally.subjects(source.reference, self.features, self.scores))
        self.calibrations = tuple(estimates.calibrations(source.reference, source.task, source.classes))
        self.counted = Counts(Tallies(self.subjects, plan.window))
        self.logged = False
        self.labelled: Labelled | None = None
        if source.outcomes.rows.height:
            self.labelled = Labelled(source.outcomes, plan.as_of, self.scores, plan.slices, plan.cluster)

    def read(self, executor: Executor) -> None:
        """Read the log once."""
        plan, inputs = self.plan, self.labelled.inputs if self.labelled else ()
        first = rows.begin(plan.since, plan.window)
        choice = rows.Choice(first, plan.as_of, plan.window, plan.digest, plan.environment)
        texts = {each.name: each.texts for each in self.subjects if each.kind == table.FEATURE}
        columns = rows.Columns(texts, self.scores, inputs, identified=self.labelled is not None)
        reader = rows.Reader(self.source.place, choice, columns)
        self.logged = bool(reader.segments())
        share = outcomes.MOST / max(1, reader.stored()) if self.labelled else 0.0
        for counts in counting.run(Counting(reader, self.subjects, self.calibrations, share), executor):
            self.counted.merge(counts)
            if self.labelled:
                for batch in counts.labelled:
                    self.labelled.add(batch)

    def of_features(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of features and scores."""
        for start, window in self.counted.tallies.windows.items():
            own = {table.WINDOW: start, table.COMPLETE: self._over(start)}
            for subject, counted in self._shown(window.tallies):
                about = own | {table.KIND: subject.kind, table.SUBJECT: subject.name, table.ROWS: counted.rows}
                for measure_name, value, reference in distances.measured(subject, counted):
                    if np.isfinite(value):
                        yield about | {table.MEASURE: measure_name, table.VALUE: value, table.REFERENCE: reference}
            for subject, share in zip(self.counted.tallies.moving, window.still.shares(), strict=True):
                about = own | {table.KIND: subject.kind, table.SUBJECT: subject.name, table.MEASURE: "frozen"}
                if np.isfinite(share) and subject.name not in self.counted.hidden:
                    yield about | {table.VALUE: share, table.REFERENCE: 0.0, table.ROWS: window.tallies[subject].known}

    def of_system(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the system, also of windows between others that have no rows."""
        for start in self._between(self.counted.system):
            end = min(start + self.plan.window, self.plan.as_of)
            own = {table.WINDOW: start, table.KIND: table.SYSTEM, table.COMPLETE: self._over(start)}
            for subject, measure_name, value, count in self.counted.system[start].measured(
                start, end, self.plan.released
            ):
                yield own | {
                    table.SUBJECT: subject, table.MEASURE: measure_name, table.VALUE: value, table.ROWS: count,
                }  # fmt: skip

    def of_outcomes(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of what needs outcomes."""
        if self.labelled is None:
            return
        source, plan = self.source, self.plan
        labelled = self.labelled.rows(source.task)  # joined by now: what no row has is known
        slices = tuple(name for name in plan.slices if name not in self.labelled.lacking)
        judge = Judge(source.reference, source.task, source.classes, self.metrics(), slices)
        for start, part in windows(labelled):
            own = {table.WINDOW: start, table.COMPLETE: self._over(start, plan.matures)}
            if part[OUTCOME].null_count() < part.height:
                yield from (own | row for row in judge.measured(part))

    def of_estimates(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of what can be expected."""
        for start, expected in self.counted.expected.items():
            own = {table.WINDOW: start, table.KIND: table.ESTIMATE, table.COMPLETE: self._over(start)}
            own |= {table.MEASURE: "value", table.ROWS: expected.rows}
            known = self.source.reference.get("metrics", {})
            for name, value in expected.measured():
                if name in self.metrics():
                    yield own | {table.SUBJECT: name, table.VALUE: value, table.REFERENCE: known.get(name)}

    def counts(self) -> pl.DataFrame:
        """Return the counts of each window, subject and bin."""
        pieces = (
            {table.WINDOW: start, table.KIND: subject.kind, table.SUBJECT: subject.name, table.BIN: name}
            | {table.COUNT: int(count)}
            for start, window in self.counted.tallies.windows.items()
            for subject, counted in self._shown(window.tallies)
            for name, count in zip(subject.bins, counted.counts, strict=True)
        )
        return pl.DataFrame(pieces, schema=dict(table.COUNTS)).sort(table.WINDOW, maintain_order=True)

    def reference_counts(self) -> pl.DataFrame:
        """Return the counts of the reference, of each subject and bin."""
        pieces = (
            {table.KIND: subject.kind, table.SUBJECT: subject.name, table.BIN: name, table.COUNT: int(count)}
            for subject, _ in self._shown(dict.fromkeys(self.subjects))
            for name, count in zip(subject.bins, drift.counts(subject.entry), strict=True)
        )
        return pl.DataFrame(pieces, schema=dict(table.REFERENCE_COUNTS))

    def metrics(self) -> tuple[str, ...]:
        """Return the names of the metrics."""
        if self.plan.metrics is not None:
            return self.plan.metrics
        return tuple(self.source.reference.get("metrics", ())) or performance.DEFAULTS[self.source.task]

    def unmeasured(self) -> Iterator[str]:
        """Yield what is not measured, and why."""
        if self.labelled is None:
            yield "performance, calibration, outcomes: no outcome has been imported; see trunkline labels import"
        for name in sorted(self.counted.hidden):
            yield f"{name}: is hashed in the log, or left out; declare serving.log.columns.{name}: keep in conf/serving"
        for name in sorted(self.labelled.lacking if self.labelled and self.counted.system else ()):
            yield f"{name}: the log has no such column; declare serving.log.columns.{name}: keep in conf/serving"
        if not self.source.reference.keys() >= {"outcomes", "calibration", "metrics"}:
            yield "outcome drift, references of metrics: the bundle is of an older version; run: dvc repro"
        if not self.calibrations:
            task = self.source.task
            yield f"estimates: {'none of a regression' if task == 'regression' else 'the bundle has no calibration'}"
        if self.counted.system and not any(each.refusals or each.errors for each in self.counted.system.values()):
            yield "refusals, errors of requests: a log has them only while a rollout runs, the server's metrics always"

    def _shown(self, of: Mapping[Subject, Any]) -> Iterator[tuple[Subject, Any]]:
        """Yield what the log shows: no feature that is hidden in some of it."""
        hidden = self.counted.hidden
        yield from ((each, what) for each, what in of.items() if each.kind != table.FEATURE or each.name not in hidden)

    def _over(self, start: datetime, more: timedelta = timedelta(0)) -> bool:
        return start + self.plan.window + more <= self.plan.as_of

    def _between(self, starts: Iterable[datetime]) -> list[datetime]:
        ordered, width = sorted(starts), self.plan.window
        if not ordered:
            return []
        return [ordered[0] + number * width for number in range(-((ordered[0] - self.plan.as_of) // width))]


def _features(reference: Mapping[str, Any], plan: Plan) -> tuple[str, ...]:
    """Return the names of the features that are measured."""
    known = reference["features"]
    names = tuple(known) if plan.features is None else plan.features
    for name in names:
        if name not in known:
            raise UserError(f"monitoring.features: the bundle has no feature '{name}'{nearest(name, known)}")
    return names


def _errors(estimated: Iterable[Mapping[str, Any]], content: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield by how much each estimate is off what came: positive, where more was expected."""
    came = {(row[table.WINDOW], row[table.SUBJECT]): row for row in content if _is_performance(row)}
    for row in estimated:
        known = came.get((row[table.WINDOW], row[table.SUBJECT]))
        if known:
            value = row[table.VALUE] - known[table.VALUE]
            kept = {name: known[name] for name in (table.ROWS, table.COVERAGE, table.COMPLETE)}
            yield dict(row) | kept | {table.MEASURE: "error", table.VALUE: value, table.REFERENCE: None}


def _is_performance(row: Mapping[str, Any]) -> bool:
    return row[table.KIND] == table.PERFORMANCE and not row.get(table.SLICE)
