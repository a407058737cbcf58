"""The split by time: which observations train, which are held out, and which have no label yet."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import get_args
from zoneinfo import ZoneInfo

import polars as pl

from trunkline.dataset import EVENT_TIME, Role, Schema, Split
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


def summarise(observed: pl.DataFrame, schema: Schema, split: tuple[Period, ...]) -> dict[str, object]:
    """Count the observations (columns event_time and the label), those without a label, and the features."""
    return {
        "source_rows": observed.height,
        "unlabelled": observed[schema.label].null_count(),
        "windows": {period.name: _summary(observed, schema.label, period) for period in split},
        "features": {role: len(schema.of_role(role)) for role in get_args(Role)},
    }


def _summary(observed: pl.DataFrame, label: str, period: Period) -> dict[str, object]:
    rows = observed.filter(pl.col(EVENT_TIME).is_between(period.start, period.end, closed="left"))
    usable = rows.filter(pl.col(label).is_not_null() & (pl.col(EVENT_TIME) < period.known))
    unlabelled = rows[label].null_count()
    return {
        "window": str(period.window),
        "rows": usable.height,
        "unlabelled": unlabelled,
        "label_not_yet_known": rows.height - unlabelled - usable.height,
        "base_rate": usable[label].cast(pl.Float64).mean(),
    }
