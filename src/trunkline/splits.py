"""The split by time: which observations train, which are held out, and which have no label yet."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import polars as pl

from trunkline import rows
from trunkline.core import expressions
from trunkline.dataset import EVENT_TIME, Role, Schema, Split
from trunkline.features import Engine, Plan, Primitive
from trunkline.params.base import Window
from trunkline.params.data import Data


@dataclass(frozen=True)
class Period:
    """Events with start <= event_time < end (naive UTC), of which labels of those before `known` can be used."""

    name: Split
    window: Window
    start: datetime
    end: datetime
    known: datetime


def periods(data: Data) -> tuple[Period, Period]:
    """Return the training and the holdout period.

    The model is trained at the start of the holdout, so training labels that are not known by then are not used.
    """
    train, holdout = data.window.train, data.window.holdout
    trained = midnight(holdout.start, data.timezone)
    cutoff = min(midnight(train.end, data.timezone), trained - data.target.known_after)
    return (
        _period("train", train, data.timezone, cutoff),
        _period("holdout", holdout, data.timezone, datetime.max),
    )


def midnight(day: date, zone: str) -> datetime:
    """Return the instant at which a local day begins, as naive UTC."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC).replace(tzinfo=None)


def _period(name: Split, window: Window, zone: str, known: datetime) -> Period:
    end = midnight(window.end, zone)
    return Period(name, window, midnight(window.start, zone), end, min(known, end))


def materialize(
    engine: Engine,
    plan: Plan,
    data: Data,
    folder: Path,
    track: Callable[[Sequence[Primitive]], Iterable[Primitive]] = iter,
) -> dict[Split, int]:
    """Compute the plan's features and write both windows with their schema; return the rows of each.

    `track` passes the primitives on and may show how far it is.
    """
    schema = Schema(plan.outputs, data.target.name, data.timezone)
    train, holdout = split = periods(data)
    label = (schema.label, expressions.parse(data.target.expression))
    engine.load_requests(train.start, holdout.end, (label,))
    for primitive in track(plan.primitives):
        engine.compute(primitive)
    schema.write(folder)
    return {
        period.name: engine.write(folder / f"{period.name}.parquet", period.start, period.known, [schema.label])
        for period in split
    }


def summarise(observations: pl.DataFrame, plan: Plan, data: Data) -> dict[str, object]:
    """Count the observations, those without a label, the rows of each window, and the features by role."""
    label, roles = data.target.name, Counter(feature.role for feature in plan.outputs)
    observed = rows.evaluate(observations, {EVENT_TIME: data.event_time, label: data.target.expression}, data.timezone)
    return {
        "source_rows": observed.height,
        "unlabelled": observed[label].null_count(),
        "windows": {period.name: _summary(observed, label, period) for period in periods(data)},
        "features": {role: roles[role] for role in get_args(Role)},
    }


def _summary(observed: pl.DataFrame, label: str, period: Period) -> dict[str, object]:
    window = observed.filter(pl.col(EVENT_TIME).is_between(period.start, period.end, closed="left"))
    usable = window.filter(pl.col(label).is_not_null() & (pl.col(EVENT_TIME) < period.known))
    unlabelled = window[label].null_count()
    return {
        "window": str(period.window),
        "rows": usable.height,
        "unlabelled": unlabelled,
        "label_not_yet_known": window.height - unlabelled - usable.height,
        "base_rate": usable[label].cast(pl.Float64).mean(),
    }
