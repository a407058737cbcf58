"""Whether the declared rules see what they should, and how soon; and how often they cry where nothing is wrong.

The quiet time is of rows of the holdout, drawn anew for each window, and compared with a reference of the holdout, so
that nothing changes in it but by chance. A fault is in all rows from one window on. Both are written as a log in a
folder, and measured as any log is.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trunkline.bundle.contract import Contract
from trunkline.conf.monitoring import Monitoring
from trunkline.core.arrays import Floats
from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError
from trunkline.core.graphs import MISSING
from trunkline.monitor import measure
from trunkline.monitor.faults import FAULTS, Fault, Place, planted
from trunkline.monitor.measure import Plan, Source
from trunkline.monitor.report import Report, Watched
from trunkline.pipeline.evaluate import reference
from trunkline.serve.labels import store
from trunkline.serve.labels.store import ARRIVED, OUTCOME
from trunkline.serve.log import DIGEST, REQUEST, TIME
from trunkline.serve.prediction_log import place as log_place
from trunkline.serve.prediction_log import segments
from trunkline.serve.prediction_log.messages import Scorer
from trunkline.serve.prediction_log.privacy import Privacy
from trunkline.serve.prediction_log.segments import ScoredRows

Score = Callable[[pl.DataFrame], Floats]  # of the features, as a Dataset has them: (n,), or (n, classes)
Track = Callable[[Collection[Fault | None]], Iterable[Fault | None]]

QUIET, BEFORE, AFTER = 365, 20, 15  # windows: of the quiet time; before a fault, and with it
FEWEST, MOST = 100, 2000  # rows of a window
OFTEN = 12  # alerts in a quiet year that are too many
_BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
_OPEN = Privacy({}, "keep", frozenset(), None)


@dataclass(frozen=True)
class Model:
    """What is watched: a bundle's contract, digest and reference.json, and what scores rows."""

    contract: Contract
    digest: str
    reference: Any
    score: Score


@dataclass(frozen=True)
class Case:
    """What became of a fault: the rules that saw it, each with the windows it took, and how often somebody was told.

    `cause` is the rule that the alert is named by. Of the quiet time `fault` is None, and `windows` how long it was.
    """

    fault: str | None
    words: str
    windows: int
    seen: tuple[tuple[str, int], ...]
    notices: int
    cause: str | None = None

    @property
    def right(self) -> bool:
        """Whether a fault was told, or the quiet time was quiet enough."""
        return self.notices > 0 if self.fault else self.notices * QUIET <= OFTEN * self.windows


@dataclass(frozen=True)
class Setting:
    """What is tested: rules on a model, with rows that it has not learnt from; `metric` is of rules that name none."""

    model: Model
    holdout: Dataset
    monitoring: Monitoring
    metric: str


def run(setting: Setting, folder: Path, track: Track = iter, quiet: int = QUIET) -> list[Case]:
    """Return the case of so many quiet windows, then one for each fault; the logs are written below a folder.

    `track` may show how far it is. Raises UserError for a holdout without any number that a fault could be planted in.
    """
    tester = _Tester(setting, folder)
    return [tester.quiet(quiet) if fault is None else tester.case(fault) for fault in track([None, *FAULTS])]


class _Tester:
    def __init__(self, setting: Setting, folder: Path) -> None:
        self.model, self.holdout, self.metric, self.folder = setting.model, setting.holdout, setting.metric, folder
        model, holdout, monitoring = setting.model, setting.holdout, setting.monitoring
        self.rows = _rows(holdout)
        scores = np.asarray(model.score(self.rows), np.float64)
        self.reference = model.reference | reference.histograms(holdout, scores)
        columns = {*self.rows.columns}
        known = {
            key: tuple(name for name in getattr(monitoring, key) if name in columns) for key in ("slices", "cluster")
        }
        self.monitoring = monitoring.model_copy(update=known)
        self.place = _place(self.rows, holdout, self.monitoring, scores)
        self.per_window = int(np.clip(self.rows.height // _windows(holdout, monitoring.window), FEWEST, MOST))

    def quiet(self, windows: int) -> Case:
        report = self._report(None, windows)
        notices = sum(len(each.notices) for each in report.alerts if each.wanted != "record")
        seen = {each.cause.name for each in report.alerts}
        return Case(None, f"nothing changes; {self.per_window:,} rows a window", windows, _pairs(seen), notices)

    def case(self, fault: Fault) -> Case:
        report = self._report(fault, BEFORE + AFTER)
        start = _BEGIN + BEFORE * self.monitoring.window
        alerts = [each for each in report.alerts if each.since >= start and each.notices and each.wanted != "record"]
        seen: dict[str, int] = {}
        for each in (streak for alert in alerts for streak in alert.streaks if streak.since >= start):
            took = (each.reached - start) // self.monitoring.window + 1
            seen[each.name] = min(took, seen.get(each.name, took))
        ordered = tuple(sorted(seen.items(), key=lambda item: (item[1], item[0])))
        cause = alerts[0].cause.name if alerts else None
        notices = sum(len(each.notices) for each in alerts)
        return Case(fault.name, self.place.words(fault), AFTER, ordered, notices, cause)

    def _report(self, fault: Fault | None, windows: int) -> Report:
        """Write a log with a fault, measure it and judge it."""
        folder = self.folder / (fault.name.replace(" ", "-") if fault else "quiet")
        log = log_place.Place(str(folder))
        window, random = self.monitoring.window, np.random.default_rng(0)
        outcomes = []
        for number in range(windows):
            drawn = self.rows.sample(self.per_window, with_replacement=True, seed=int(random.integers(1 << 31)))
            if fault is not None and number >= BEFORE:
                drawn = planted(fault, self.place, drawn, self.holdout.schema.task)
            outcomes.append(self._write(log, drawn, number))
        task, classes = self.holdout.schema.task, self.holdout.schema.classes
        store.write(log, store.About(self.holdout.schema.label, task), pl.concat(outcomes), _BEGIN)
        until = _BEGIN + windows * window
        watched = Watched("self-test", None, self.model.digest, _BEGIN, until + timedelta(seconds=1))
        source = Source(log, self.reference, store.read(log, task), task, classes)
        measured = measure.measure(source, self._plan(watched))
        return Report(watched, self.monitoring, measured, self.metric)

    def _plan(self, watched: Watched) -> Plan:
        declared = self.monitoring
        metrics = {
            rule.measure or self.metric for rule in declared.judged.values() if rule.of in ("performance", "estimate")
        }
        return Plan(
            watched.since, watched.as_of, declared.window, digest=watched.digest, slices=declared.slices,
            cluster=declared.cluster, features=declared.features, metrics=tuple(sorted(metrics)),
        )  # fmt: skip

    def _write(self, log: log_place.Place, rows: pl.DataFrame, number: int) -> pl.DataFrame:
        """Write the segment of a window; return the outcomes of its rows."""
        start, count = _BEGIN + number * self.monitoring.window, rows.height
        step = self.monitoring.window / max(1, count)
        times = [start + place * step for place in range(count)]
        ids = [f"{number}-{place}" for place in range(count)]
        scorer = Scorer.of(self.model.contract, self.model.digest, None)
        numbers = [name for name, kind in scorer.inputs if kind != "text"]
        texts = [name for name, kind in scorer.inputs if kind == "text"]
        given: dict[str, Sequence[Any]] = {
            REQUEST: ids, "row": [0] * count, TIME: [int(each.timestamp() * 1e6) for each in times],
            DIGEST: [self.model.digest] * count, "route": ["/v1/predict"] * count, "latency": [0.001] * count,
            segments.COLUMNS: self._columns(rows),
        }  # fmt: skip
        scores = np.asarray(self.model.score(rows), np.float64).reshape(count, -1)
        content = ScoredRows(
            rows.select(pl.col(numbers).cast(pl.Float64)).fill_null(np.nan).to_numpy().reshape(count, -1),
            rows.select(pl.col(texts).fill_null(MISSING)).to_numpy().astype(object).reshape(count, -1),
            scores,
        )
        table = segments.table(scorer, _OPEN, given, content)
        log.write(log_place.folder(None, self.model.digest, start.timestamp()), f"part-{number}.parquet", table)
        return pl.DataFrame(
            {
                REQUEST: ids,
                "row": [0] * count,
                "key": pl.Series([None] * count, dtype=pl.String),
                OUTCOME: rows[OUTCOME],
            }
        ).with_columns(pl.Series(ARRIVED, times, store.INSTANT))

    def _columns(self, rows: pl.DataFrame) -> list[str | None]:
        """Return the columns of slices and clusters of each row, as the log has those of a request."""
        names = list(dict.fromkeys((*self.monitoring.slices, *self.monitoring.cluster)))
        return (
            [json.dumps(each, default=str) for each in rows.select(names).iter_rows(named=True)]
            if names
            else [None] * rows.height
        )


def _rows(holdout: Dataset) -> pl.DataFrame:
    """Return the rows of the holdout: the features in the types that models see, the request's columns, the outcome."""
    label = holdout.schema.label
    outcome = pl.col(label).cast(pl.Boolean) if holdout.schema.task == "binary" else pl.col(label)
    features = holdout.features
    others = [name for name in holdout.frame.columns if name not in features.columns and name != label]
    return pl.concat([features, holdout.frame.select(*others, outcome.alias(OUTCOME))], how="horizontal")


def _windows(holdout: Dataset, window: timedelta) -> int:
    """Return how many windows the holdout is long; thirty where its rows have no time."""
    if "event_time" not in holdout.frame.columns:
        return 30
    times: Any = holdout.frame["event_time"]
    span = times.max() - times.min()
    return max(1, round(float(span / window)))


def _place(rows: pl.DataFrame, holdout: Dataset, monitoring: Monitoring, scores: Floats) -> Place:
    """Return the number that the scores depend on most, by their ranks, and the most frequent value of a slice."""
    ranked = pl.Series(scores if scores.ndim == 1 else scores[:, 0])
    watched = [
        name for name in holdout.schema.of_role("numeric") if monitoring.features is None or name in monitoring.features
    ]
    known = [name for name in watched if rows[name].n_unique() > 20 and rows[name].null_count() < rows.height / 2]
    if not known:
        raise UserError("the holdout has no number to plant a fault in, of more than twenty values")

    def depends(name: str) -> float:
        value = pl.select(pl.corr(rows[name], ranked, method="spearman")).item()
        return abs(value) if value is not None and np.isfinite(value) else 0.0

    feature = max(known, key=depends)
    texts = [*monitoring.slices, *holdout.schema.of_role("categorical")]
    column = texts[0] if texts else None
    label = None if column is None else str(rows[column].drop_nulls().cast(pl.String).mode().sort()[0])
    spread: Any = rows[feature].std()
    return Place(feature, float(spread or 1.0), column, label)


def _pairs(names: set[str]) -> tuple[tuple[str, int], ...]:
    return tuple((name, 0) for name in sorted(names))
