"""On the real flights and the real declaration: what happens after a prediction cannot change its features."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.e2e.conftest import Checkout
from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.core.dataset import Dataset
from trunkline.core.features import EVENT_TIME
from trunkline.core.params import Params
from trunkline.core.paths import VALID
from trunkline.core.values import midnight
from trunkline.pipeline.features import compiler, split
from trunkline.pipeline.features.duckdb import DuckDBEngine

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("day", [3, 9])
def test_rewriting_all_that_happens_after_a_prediction_changes_no_feature(
    small: Checkout, tmp_path: Path, day: int
) -> None:
    params = Params.read(small.root)
    data, contract = params.group(Data), params.group(Contract)
    plan = compiler.plan(params.group(Features), data, contract)
    outcomes = [name for name, column in contract.tables["flights"].columns.items() if column.known == "outcome"]
    assert set(outcomes) == {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}
    moment = midnight(data.window.holdout.start, data.timezone) + timedelta(days=day, hours=14)

    for table in data.sources:
        frame = pl.read_parquet(small.root / VALID / f"{table}.parquet")
        if table == "flights":
            frame = rewritten(frame, outcomes, moment.isoformat())
        if table == "weather":  # an observation is out an hour after it is taken
            later = pl.col("time_hour") >= pl.lit(moment.isoformat()).str.to_datetime() - timedelta(hours=1)
            frame = frame.with_columns(pl.when(later).then(99.0).otherwise(pl.col("temp")).alias("temp"))
        frame.write_parquet(tmp_path / f"{table}.parquet")
    with DuckDBEngine(plan, tmp_path) as engine:
        split.materialize(engine, plan, data, tmp_path / "features")

    before, after = (
        predicted_by(Dataset.read("holdout", folder), moment.isoformat(), data.prediction_lead)
        for folder in (small.root / "data/features", tmp_path / "features")
    )
    known = before.join(after, on=data.unique_key, how="inner", suffix="_after")
    assert known.height > 1000
    for name in {feature.name for feature in plan.outputs} - set(data.unique_key):
        assert known[name].equals(known[f"{name}_after"]), name
    later = Dataset.read("holdout", tmp_path / "features").frame["origin_departure_delay_3h"]
    assert not later.equals(Dataset.read("holdout", small.root / "data/features").frame["origin_departure_delay_3h"])


def rewritten(flights: pl.DataFrame, outcomes: list[str], moment: str) -> pl.DataFrame:
    """Replace the outcomes of the flights that are scheduled from a moment on by those of other flights."""
    scheduled = pl.col("time_hour") + pl.duration(minutes=pl.col("minute"))
    later = scheduled >= pl.lit(moment).str.to_datetime()
    return flights.with_columns(
        pl.when(later).then(pl.col(name).shuffle(seed=1) - 400).otherwise(pl.col(name)).alias(name) for name in outcomes
    )


def predicted_by(dataset: Dataset, moment: str, lead: timedelta) -> pl.DataFrame:
    """Return the rows whose prediction was made at a moment or before."""
    return dataset.frame.filter(pl.col(EVENT_TIME) - lead <= pl.lit(moment).str.to_datetime())
