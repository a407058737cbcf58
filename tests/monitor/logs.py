"""Logs of a model in production as servers write them: a number, a text, scores of them, and what came of the rows."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from trunkline.core.dataset import Dataset, Schema
from trunkline.core.features import Feature
from trunkline.monitor import measure
from trunkline.pipeline.evaluate import reference
from trunkline.pipeline.evaluate.estimate import Estimate, Slice
from trunkline.pipeline.features.executors.executor import Local
from trunkline.serve.labels import store
from trunkline.serve.log import DIGEST, REQUEST, TIME
from trunkline.serve.prediction_log import place, segments
from trunkline.serve.prediction_log.messages import Scorer
from trunkline.serve.prediction_log.place import Place
from trunkline.serve.prediction_log.privacy import Privacy
from trunkline.serve.prediction_log.segments import ScoredRows

SINCE = datetime(2026, 11, 2, tzinfo=UTC)
DAY = timedelta(days=1)
VERSION, OWN = "v4", "a" * 64
ORIGINS = np.array(["EWR", "JFK", "LGA"])
OPEN = Privacy({}, "keep", frozenset(), None)

_INPUTS = [("distance", "number"), ("flight", "integer"), ("origin", "text")]


def rows(count, seed=0, start=SINCE, days=1.0):
    """Rows as they happen: time, request_id, distance, flight, origin, score, which is calibrated, and outcome."""
    random = np.random.default_rng(seed)
    distance, of_origin = random.lognormal(6.5, 0.7, count), random.integers(0, 3, count)
    score = 1 / (1 + np.exp(-(np.log(distance) - 6.5 + of_origin - 1.5)))
    seconds = np.sort(random.uniform(0, days * 86400, count))
    return pl.DataFrame(
        {
            TIME: pl.Series([start + timedelta(seconds=each) for each in seconds], dtype=pl.Datetime("us", "UTC")),
            REQUEST: [f"{seed}-{number}" for number in range(count)],
            "distance": pl.Series(np.where(random.random(count) < 0.05, np.nan, distance)).fill_nan(None),
            "flight": random.integers(0, 100, count),
            "origin": ORIGINS[of_origin],
            "score": score,
            "outcome": random.random(count) < score,
        }
    )


def reference_of(made_of, metrics=None):
    """The content of reference.json of a model that was made of such rows, and measured on them."""
    frame = made_of.select("distance", "origin", late=pl.col("outcome").cast(pl.Int8))
    features = (Feature("distance", "numeric"), Feature("origin", "categorical"))
    data, scores = Dataset(frame, Schema(features, "late", "UTC")), made_of["score"].to_numpy()
    whole = Slice(made_of.height, {name: Estimate(value, None) for name, value in (metrics or {}).items()})
    return reference.histograms(data, scores) | reference.outcomes(data, scores, {"all": {"all": whole}})


def write(folder, content, size=1000, order=None, **given):
    """Write rows as segments of a size, within an hour; `order` shuffles them; `given` are other columns of all."""
    hours = content.with_columns(hour=pl.col(TIME).dt.truncate("1h")).partition_by("hour", as_dict=True)
    for (hour,), of_hour in hours.items():
        mixed = of_hour if order is None else of_hour.sample(fraction=1, shuffle=True, seed=order)
        for number, part in enumerate(mixed.iter_slices(size)):
            _segment(folder, part, f"part-{part[REQUEST][0]}-{number}.parquet", hour, given)


def _segment(folder, part, name, hour, given):
    count = part.height
    digest = given.get("digest", OWN)
    problems = part["problem"].to_list() if "problem" in part.columns else [None] * count
    columns = {
        REQUEST: part[REQUEST].to_list(), TIME: part[TIME].cast(pl.Int64).to_list(), "row": [0] * count,
        "version": [VERSION] * count, DIGEST: [digest] * count, "route": ["/v1/predict"] * count,
        "arm": [given.get("arm")] * count, "environment": [given.get("environment")] * count,
        "latency": part["latency"].to_list() if "latency" in part.columns else [0.01] * count, "problem": problems,
    }  # fmt: skip
    numbers = part.select("distance", pl.col("flight").cast(pl.Float64)).fill_null(np.nan).to_numpy()
    scored = ScoredRows(numbers, part.select("origin").to_numpy(), part.select("score").to_numpy())
    table = segments.table(Scorer(digest, VERSION, _INPUTS, ["score"]), OPEN, columns, scored)
    Place(str(folder)).write(place.folder(VERSION, digest, hour.timestamp()), name, table)


def write_outcomes(folder, content, after=DAY):
    """Write the outcomes of rows, which arrive so long after them."""
    kept = content.select(
        REQUEST,
        pl.lit(0, pl.Int64).alias("row"),
        pl.lit(None, pl.String).alias("key"),
        "outcome",
        (pl.col(TIME) + after).alias(store.ARRIVED),
    )
    store.write(Place(str(folder)), store.About("late", "binary"), kept, SINCE)


def measured(folder, content, *, until=None, executor=None, **plan):
    """Measure a log beside a reference, in this process unless there is an executor."""
    where = Place(str(folder))
    source = measure.Source(where, content, store.read(where, "binary"))
    asked = measure.Plan(SINCE, until or SINCE + 30 * DAY, **{"digest": OWN, **plan})
    return measure.measure(source, asked, executor or Local())


def value(of, kind, subject, name, day=0, **where):
    """The row of the table of a measure, as a dict."""
    chosen = {"kind": kind, "subject": subject, "measure": name, "window": SINCE + day * DAY, "slice": "", "label": ""}
    return of.table.filter(**(chosen | where)).row(0, named=True)
