"""What trains and what is held out: by windows of time, or, of rows without a time, by a hash of columns."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import get_args

import polars as pl

from trunkline.conf.data import Data
from trunkline.core import expressions
from trunkline.core.arrays import happened
from trunkline.core.dataset import Schema, Split
from trunkline.core.errors import UserError
from trunkline.core.features import EVENT_TIME, Role
from trunkline.core.tables import rows
from trunkline.core.tasks import CLASSES
from trunkline.core.values import Window, midnight
from trunkline.pipeline.features.plan import Engine, FeaturePlan, Part, Primitive, RequestShare, Span


@dataclass(frozen=True)
class PartRows:
    """The rows of a part, and those of them whose labels can be used, since they are known in time."""

    name: Split
    words: str
    all: Part
    usable: Part


def periods(data: Data) -> tuple[PartRows, PartRows]:
    """Return the training rows and the holdout.

    With windows, the model is trained at the start of the holdout, so training labels that are not known by then are
    not used.
    """
    if data.split is not None:
        train_rows = RequestShare(data.split_by, data.split.seed, data.split.holdout, 1.0)
        held_out = RequestShare(data.split_by, data.split.seed, 0.0, data.split.holdout)
        words = data.parts
        return (
            PartRows("train", words["train"], train_rows, train_rows),
            PartRows("holdout", words["holdout"], held_out, held_out),
        )
    assert data.window is not None  # noqa: S101  the declaration has one of the two
    assert data.target.known_after is not None  # noqa: S101  as windows need it
    train, holdout = data.window.train, data.window.holdout
    trained = midnight(holdout.start, data.timezone)
    cutoff = min(midnight(train.end, data.timezone), trained - data.target.known_after)
    return (
        _period("train", train, data.timezone, cutoff),
        _period("holdout", holdout, data.timezone, datetime.max),
    )


def _period(name: Split, window: Window, zone: str, cutoff: datetime) -> PartRows:
    start, end = midnight(window.start, zone), midnight(window.end, zone)
    return PartRows(name, str(window), Span(start, end), Span(start, min(cutoff, end)))


def materialize(
    engine: Engine,
    plan: FeaturePlan,
    data: Data,
    folder: Path,
    track: Callable[[Sequence[Primitive]], Iterable[Primitive]] = iter,
) -> dict[Split, int]:
    """Compute the plan's features and write both parts with their schema; return the rows of each.

    `track` passes the primitives on and may show how far it is.
    """
    target = data.target
    schema = Schema(
        plan.outputs, target.name, data.timezone, target.task, target.class_names, target.group, target.naive
    )
    split = periods(data)
    label = (schema.label, expressions.parse(data.target.expression))
    train, holdout = (period.all for period in split)
    # A part that holds both; None for all rows.
    both = Span(train.start, holdout.end) if isinstance(train, Span) and isinstance(holdout, Span) else None
    engine.load_requests(both, (label,))
    for primitive in track(plan.primitives):
        engine.compute(primitive)
    counts = {
        period.name: engine.write(folder / f"{period.name}.parquet", period.usable, [schema.label]) for period in split
    }
    _groups_are_whole(schema, folder)
    replace(schema, naive_error=_naive_error(schema, folder)).write(folder)
    return counts


def _groups_are_whole(schema: Schema, folder: Path) -> None:
    """Raise UserError for a group with rows in both parts: its order would be learnt and measured in pieces."""
    if not schema.group:
        return
    names = list(schema.group)
    train, holdout = (pl.read_parquet(folder / f"{part}.parquet", columns=names) for part in get_args(Split))
    if cut := train.unique().join(holdout, on=names, how="semi", nulls_equal=True).height:
        raise UserError(
            f"data.target.group: {cut} groups of {', '.join(names)} have rows to train on and rows that are held out; "
            "move data.window to where no group is cut, or name columns that tell groups further apart"
        )


def _naive_error(schema: Schema, folder: Path) -> float | None:
    """Return how far the naive forecast is off in the training rows that have one, on average; None without one.

    Raises UserError where no row has one, or it is never off, so that nothing can be measured by it.
    """
    if schema.naive is None or schema.group:  # an order has no unit in which it is off
        return None
    columns = pl.read_parquet(folder / "train.parquet", columns=[schema.naive, schema.label])
    off = (columns[schema.naive].cast(pl.Float64) - columns[schema.label].cast(pl.Float64)).abs()
    error = off.fill_nan(None).drop_nulls().mean()
    if not isinstance(error, float) or not error > 0:
        what = "is never off" if error == 0 else "is missing in every training row that has a label"
        raise UserError(f"data.target.naive: '{schema.naive}' {what}; name another feature, or none")
    return error


def summarised(data: Data) -> list[str]:
    """Return the columns of the observations that `summarise` reads."""
    sources = [data.target.expression, *([data.event_time] if data.event_time else [])]
    read = [name for source in sources for name in expressions.columns(expressions.parse(source))]
    return list(dict.fromkeys([*read, *(data.split_by if data.split else ())]))


def summarise(observations: pl.DataFrame, plan: FeaturePlan, data: Data) -> dict[str, object]:
    """Count the observations, those without a label, the rows of each part, and the features by role."""
    label, roles = data.target.name, Counter(feature.role for feature in plan.outputs)
    sources = {label: data.target.expression} | ({EVENT_TIME: data.event_time} if data.event_time else {})
    observed = rows.evaluate(observations, sources, data.timezone)
    inside = [_inside(period.all, observed, observations) for period in periods(data)]
    timeless = observed[EVENT_TIME].null_count() if data.event_time else 0
    return {
        "source_rows": observed.height,
        "unlabelled": observed[label].null_count(),
        "without_time": timeless,
        "outside_windows": int((~(inside[0] | inside[1])).sum()) - timeless,
        "windows": {period.name: _summary(observed, observations, data, period) for period in periods(data)},
        "features": {role: roles[role] for role in get_args(Role)},
    }


def _summary(observed: pl.DataFrame, observations: pl.DataFrame, data: Data, period: PartRows) -> dict[str, object]:
    label = data.target.name
    there, usable = (_inside(part, observed, observations) for part in (period.all, period.usable))
    labels = observed.filter(usable & observed[label].is_not_null())[label]
    unlabelled = observed.filter(there)[label].null_count()
    shares = _shares(labels, data)
    return (
        {
            "window": period.words,
            "rows": labels.len(),
            "unlabelled": unlabelled,
            "label_not_yet_known": int(there.sum()) - unlabelled - labels.len(),
            "base_rate": None if shares else labels.cast(pl.Float64).mean(),
        }
        | ({"class_shares": shares} if shares else {})
        | _quantiles(labels, data)
    )


def _shares(labels: pl.Series, data: Data) -> dict[str, float]:
    """Return the share of rows that are of each class, or have each label; nothing of another task."""
    names, rows = data.target.class_names, max(1, labels.len())
    if data.target.task == "multilabel":
        has = happened(labels.to_numpy(), len(names), "multilabel")
        return {name: int(of.sum()) / rows for name, of in zip(names, has.T, strict=True)}
    texts = labels.cast(pl.String)
    return {name: int((texts == name).sum()) / rows for name in names} if data.target.task in CLASSES else {}


def _quantiles(labels: pl.Series, data: Data) -> dict[str, object]:
    """Return the labels' own quantiles at the levels that are scored, by their names; nothing of another task."""
    levels = data.target.quantiles or ()
    if not levels or labels.is_empty():
        return {}
    numbers, names = labels.cast(pl.Float64), data.target.class_names
    return {"quantiles": {name: numbers.quantile(level, "linear") for name, level in zip(names, levels, strict=True)}}


def _inside(part: Part, observed: pl.DataFrame, observations: pl.DataFrame) -> pl.Series:
    if isinstance(part, Span):
        return observed[EVENT_TIME].is_between(part.start, part.end, closed="left").fill_null(False)
    shares = rows.shares(observations, part.by, part.seed)
    return (shares >= part.low) & (shares < part.high)
