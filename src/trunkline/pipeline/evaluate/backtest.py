"""A backtest by rolling origins: how well the model would have predicted what followed, had it been trained then.

Each origin is a local midnight. The model learns from the rows whose labels were known by then, and is measured on the
rows of the next step, as the holdout is; the last origin's step ends with the training window, so the holdout stays
unseen (Tashman, "Out-of-sample tests of forecasting accuracy", International Journal of Forecasting 16 (2000) 437-450).
The features of a row were known when it was predicted, whatever the origin.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from functools import partial
from statistics import fmean, stdev
from typing import Any

import numpy as np
import polars as pl
from scipy import special

from trunkline.conf.evaluation import Backtest, Evaluation
from trunkline.conf.model import Model
from trunkline.core.arrays import Floats
from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError
from trunkline.core.features import EVENT_TIME
from trunkline.core.params import Params
from trunkline.core.progress import track
from trunkline.core.values import Duration, Group, Period, Strict, midnight
from trunkline.pipeline.evaluate import slices, undefined
from trunkline.pipeline.evaluate.estimate import Estimate
from trunkline.pipeline.evaluate.metrics.kinds import point
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.train import choice, fit


class Trained(Strict, extra="ignore"):
    """The window that is learnt from."""

    train: Period


class Known(Strict, extra="ignore"):
    """When a label is known after its event."""

    known_after: Duration


class Calendar(Group, extra="ignore"):
    """All that origins depend on of conf/data, so that another change of it measures nothing again."""

    key = "data"

    timezone: str
    window: Trained
    target: Known


Scores = Callable[[Dataset, Dataset], Floats]  # of the second's rows, by the model that has learnt from the first's


@dataclass(frozen=True)
class Origin:
    """A day on which the model is trained: the rows that it knows, from `since` on, and those of the next step."""

    day: date
    since: datetime
    known_before: datetime  # event times whose labels are known at the origin are before it
    begin: datetime
    end: datetime


@dataclass(frozen=True)
class Outcome:
    """What became of an origin: the rows learnt from and measured on, and the metrics; None for one not defined."""

    origin: str
    learnt_from: int
    n: int
    metrics: dict[str, float | None]


def outcomes(params: Params, evaluation: Evaluation, threads: int) -> list[Outcome]:
    """Train the chosen model at each declared origin and measure it; nothing is read where none is declared."""
    if evaluation.backtest is None:
        return []
    model, rolled = choice.trained(params.group(Model)), origins(evaluation.backtest, params.group(Calendar))

    def scores(known: Dataset, following: Dataset) -> Floats:
        return fit.scores(fit.fit(known, model, params.seed, threads), following.features)

    return run(
        Dataset.read("train"), rolled, evaluation.metrics, scores, partial(track, what="backtesting", unit="origins")
    )


def origins(declared: Backtest, calendar: Calendar) -> tuple[Origin, ...]:
    """Return the origins, the earliest first; the training window ends with the last one's step."""
    window = calendar.window.train
    days = [window.end - declared.step * left for left in range(declared.origins, 0, -1)]
    return tuple(_origin(day, declared, calendar) for day in days)


def _origin(day: date, declared: Backtest, calendar: Calendar) -> Origin:
    start, zone = calendar.window.train.start, calendar.timezone
    first = start if declared.window is None else max(start, day - declared.window)
    begin = midnight(day, zone)
    return Origin(
        day, midnight(first, zone), begin - calendar.target.known_after, begin, midnight(day + declared.step, zone)
    )


def run(
    dataset: Dataset,
    rolled: Sequence[Origin],
    metrics: Sequence[str],
    scores: Scores,
    progress: Callable[[Sequence[Origin]], Iterable[Origin]] = iter,
) -> list[Outcome]:
    """Train and measure at each origin; `dataset` are the training rows, ordered by event time.

    `progress` passes the origins on and may show how far it is. Raises UserError for an origin without rows.
    """
    return [_outcome(dataset, origin, metrics, scores) for origin in progress(rolled)]


def _outcome(dataset: Dataset, origin: Origin, metrics: Sequence[str], scores: Scores) -> Outcome:
    times, schema = pl.col(EVENT_TIME), dataset.schema
    known = dataset.frame.filter(times.is_between(origin.since, origin.known_before, closed="left"))
    following = dataset.frame.filter(times.is_between(origin.begin, origin.end, closed="left"))
    if known.is_empty() or following.is_empty():
        side = "is known at" if known.is_empty() else "follows"
        raise UserError(f"evaluation.backtest: no row {side} the origin {origin.day}; declare fewer, or other steps")
    measured = Dataset(following, schema)
    try:
        of = scores(Dataset(known, schema), measured)
    except UserError as error:
        raise UserError(f"evaluation.backtest: the origin {origin.day}: {error}") from error
    sample = slices.clustered(measured, of, None)[0]
    values = point([named(name, schema.task) for name in metrics], sample)
    defined = (float(value) if np.isfinite(value) else None for value in values)
    return Outcome(str(origin.day), known.height, following.height, dict(zip(metrics, defined, strict=True)))


def over_origins(values: Mapping[str, float | None], confidence: float) -> Estimate:
    """Return the mean of a metric over origins, given by their days, and its interval by Student's t distribution.

    It takes origins for independent; growing windows share rows, so it is a little narrow.
    """
    missing = [day for day, value in values.items() if value is None]
    if missing:
        return Estimate(None, None, f"it is not defined at the origin {missing[0]}; {undefined.REMEDY}")
    numbers = [value for value in values.values() if value is not None]
    half = float(special.stdtrit(len(numbers) - 1, (1 + confidence) / 2)) * stdev(numbers) / math.sqrt(len(numbers))
    return Estimate(fmean(numbers), (fmean(numbers) - half, fmean(numbers) + half))


def content(measured: Sequence[Outcome], params: Evaluation) -> dict[str, Any]:
    """Return the content of reports/backtest.json; without a backtest, no origins and no metrics."""
    names = params.metrics if measured else ()
    values = {name: {outcome.origin: outcome.metrics[name] for outcome in measured} for name in names}
    return {
        "origins": [asdict(outcome) for outcome in measured],
        "metrics": {name: asdict(over_origins(of, params.interval.confidence)) for name, of in values.items()},
    }
