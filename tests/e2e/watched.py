"""What production would have logged on a day: rows of the holdout, their scores, and a feature that may be gone."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from trunkline.cli import watching
from trunkline.core.dataset import Dataset
from trunkline.core.graphs import MISSING
from trunkline.serve.log import DIGEST, REQUEST, TIME
from trunkline.serve.prediction_log import place, segments
from trunkline.serve.prediction_log.messages import Scorer
from trunkline.serve.prediction_log.place import Place
from trunkline.serve.prediction_log.privacy import Privacy
from trunkline.serve.prediction_log.segments import ScoredRows

ROWS = 400  # enough for the rules of a broken upstream, too few for those of drift


def log_day(project: Path, bundle: Path, log: Path, days_ago: int, *, gone: bool = False) -> str:
    """Write the rows of a day, UTC, before today; return the name of the feature that is missing if it is gone."""
    model = watching.model(bundle)
    rows = Dataset.read("holdout", project / "data/features").features.sample(ROWS, seed=days_ago)
    scorer = Scorer.of(model.contract, model.digest, "v2")
    numbers, texts = ([name for name, kind in scorer.inputs if (kind == "text") == of] for of in (False, True))
    if gone:
        rows = rows.with_columns(pl.lit(None, pl.Float64).alias(numbers[0]))
    scored = ScoredRows(
        rows.select(pl.col(numbers).cast(pl.Float64)).fill_null(np.nan).to_numpy().reshape(ROWS, -1),
        rows.select(pl.col(texts).fill_null(MISSING)).to_numpy().astype(object).reshape(ROWS, -1),
        np.asarray(model.score(rows), np.float64).reshape(ROWS, -1),
    )
    begin = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)
    start = begin + timedelta(minutes=1)
    columns = {
        REQUEST: [f"{days_ago}-{number}" for number in range(ROWS)], "row": [0] * ROWS,
        TIME: [int((start + timedelta(seconds=number)).timestamp() * 1e6) for number in range(ROWS)],
        DIGEST: [model.digest] * ROWS, "route": ["/v1/predict"] * ROWS, "latency": [0.01] * ROWS,
        "environment": ["production"] * ROWS,
    }  # fmt: skip
    table = segments.table(scorer, Privacy({}, "keep", frozenset(), None), columns, scored)
    Place(os.fspath(log)).write(place.folder("v2", model.digest, start.timestamp()), f"day-{days_ago}.parquet", table)
    return numbers[0]
