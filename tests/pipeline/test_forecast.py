"""A forecast: no feature sees past its horizon, and a naive forecast is what the model is measured by."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests import evidences
from trunkline.conf.project import Project
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.pipeline.compose.compose import compose
from trunkline.pipeline.compose.judge import check
from trunkline.pipeline.evaluate.metrics.kinds import Sample, point
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.features import compiler, split
from trunkline.pipeline.features.duckdb import DuckDBEngine
from trunkline.pipeline.gate import verdicts as gate_verdicts
from trunkline.pipeline.reports import Verdict

CONF = Path(__file__).parents[2] / "conf"
FIRST = datetime(2013, 3, 1, 5)  # midnight in New York
HOURS, AGE = 14 * 24, timedelta(hours=24)  # since the last reading that a forecast for an hour can know
WINDOWS = ("data.window.train=2013-03-01..2013-03-10", "data.window.holdout=2013-03-11..2013-03-13")


def project(*overrides: str) -> Project:
    return check(compose(CONF, ["experiment=temperature", "evaluation.backtest=null", *overrides]), CONF)


DECLARED = project(*WINDOWS, "~gates.rules.every_origin")


def weather() -> pl.DataFrame:
    """Hourly rows of three series, some of them missing, in winter time and then in summer time."""
    random, series = np.random.default_rng(1), ("EWR", "JFK", "LGA")
    times = [FIRST + timedelta(hours=hour) for hour in range(HOURS)]
    table = pl.DataFrame({"origin": series}).join(pl.DataFrame({"time_hour": times}), how="cross")
    local = pl.col("time_hour").dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York").dt
    columns = DECLARED.contract.tables["weather"].columns
    numbers = {name: random.normal(20, 5, table.height) for name in columns if name not in table.columns}
    table = table.with_columns(pl.Series(name, values) for name, values in numbers.items())
    table = table.with_columns(
        getattr(local, part)().cast(pl.Int64).alias(part) for part in ("year", "month", "day", "hour")
    )
    return table.filter(pl.Series(random.random(table.height) > 0.05))


def features_of(table: pl.DataFrame, folder: Path) -> tuple[pl.DataFrame, Schema]:
    """Compute the features of the declared experiment; return those of both windows, and their schema."""
    (folder / "valid").mkdir(parents=True)
    table.write_parquet(folder / "valid/weather.parquet")
    plan = compiler.plan(DECLARED.features, DECLARED.data, DECLARED.contract)
    with DuckDBEngine(plan, folder / "valid") as engine:
        split.materialize(engine, plan, DECLARED.data, folder / "features")
    parts = [Dataset.read(name, folder / "features") for name in ("train", "holdout")]  # type: ignore[arg-type]
    return pl.concat([part.frame for part in parts]), parts[0].schema


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, Schema]:
    return features_of(weather(), tmp_path_factory.mktemp("computed"))


def test_the_naive_forecast_is_the_last_known_value_at_the_same_hour(computed: tuple[pl.DataFrame, Schema]) -> None:
    frame, schema = computed
    known = {(row["origin"], row["time_hour"]): row for row in weather().to_dicts()}
    expected = []
    for row in frame.to_dicts():
        earlier = (
            known.get((row["origin"], row["event_time"] - AGE - timedelta(hours=hours))) for hours in range(HOURS)
        )
        same_hour = (each["temp"] for each in earlier if each and each["hour"] == row["hour"])
        expected.append(next(same_hour, None))
    assert frame["temp_same_hour"].to_list() == expected
    assert frame["temp_same_hour"].null_count() > 20, "the first day knows no day before"
    trained = frame.filter(pl.col("event_time") < datetime(2013, 3, 11, 4) - timedelta(hours=1))
    off = (trained["temp_same_hour"] - trained["temperature"]).abs().drop_nulls()
    assert schema.naive == "temp_same_hour"
    assert schema.naive_error == pytest.approx(np.mean(off.to_numpy()))


def test_no_feature_sees_what_comes_within_the_horizon(computed: tuple[pl.DataFrame, Schema], tmp_path: Path) -> None:
    now = datetime(2013, 3, 8, 12)
    measured = ["temp", "dewp", "wind_dir", "pressure"]
    later = pl.when(pl.col("time_hour") > now)
    changed = weather().with_columns(later.then(pl.col(name) + 40).otherwise(name).alias(name) for name in measured)
    frame, schema = features_of(changed, tmp_path)
    before, seen = computed[0], pl.col("event_time") <= now + AGE
    assert frame.filter(seen).select(schema.names).equals(before.filter(seen).select(schema.names))
    assert not frame.filter(~seen).select(schema.names).equals(before.filter(~seen).select(schema.names))


def test_a_naive_forecast_that_measures_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.target\.naive: 'temp_same_hour' is never off"):
        features_of(weather().with_columns(temp=pl.lit(20.0)), tmp_path / "constant")
    with pytest.raises(UserError, match="'temp_same_hour' is missing in every training row"):
        features_of(weather().with_columns(hour=pl.int_range(pl.len())), tmp_path / "missing")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.target.naive=temp_7d", r"data\.target\.naive: no numeric feature 'temp_7d' that models see"),
        ("data.target.naive=temp_same_our", "no numeric feature 'temp_same_our' .* did you mean 'temp_same_hour'"),
        ("data.target.naive=null", r"evaluation\.metrics: 'mase' needs data\.target\.naive"),
        ("data.target.naive=null", r"gates\.rules\.worth_it\.than: 'naive' needs data\.target\.naive"),
        ("data.target.naive=null", r"gates\.rules\.everywhere\.metric: 'mase' needs data\.target\.naive"),
        ("data.target.task=binary", r"naive: has no meaning for binary"),
    ],
)
def test_what_needs_a_naive_forecast_is_refused_without_one(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        project(*WINDOWS, "~gates.rules.every_origin", override)


def test_without_a_naive_forecast_its_metric_is_not_defined() -> None:
    sample = Sample(np.array([1.0, 2.0]), np.array([1.0, 3.0]), np.arange(2), "regression")
    assert np.isnan(point([named("mase", "regression")], sample)[0])


def judged(error: float, task: Any = "regression") -> Verdict:
    """Judge a model that is off by so much, beside a naive forecast that is off by 1 and missing in every third row."""
    random, evidence = np.random.default_rng(0), evidences.made()
    rows = len(evidence.labels)
    labels = random.normal(10, 3, rows)
    naive = pl.Series("naive", labels + random.normal(0, 1, rows)).to_frame()
    naive = naive.with_columns(pl.when(pl.int_range(pl.len()) % 3 > 0).then("naive"))
    scores = labels + random.normal(0, error, rows)
    scores[::3] = 1e6  # where there is no naive forecast, nothing is compared
    names = ("q10", "q50", "q90") if task == "quantile" else ()
    made = replace(
        evidence,
        labels=labels,
        scores=scores[:, None] + np.array([-1.0, 0, 1]) if names else scores,
        inputs=replace(evidence.inputs, features=naive),
        task=task,
        classes=names,
        naive="naive",
        naive_error=0.8,
    )
    rule = {"kind": "simplicity", "metric": "mase", "than": "naive", "margin": 0}
    [verdict] = gate_verdicts.judge(evidences.gates({"worth_it": rule}), made)
    return verdict


def test_a_model_is_worth_it_beside_the_naive_forecast() -> None:
    assert judged(0.5).verdict == "pass"
    worse = judged(1.5)
    assert worse.verdict == "fail"
    assert "use naive as it is: it is simpler" in worse.reason
    assert judged(0.5, "quantile").verdict == "pass"
    assert judged(0.5).observed == pytest.approx((1 - 0.5) * np.sqrt(2 / np.pi) / 0.8, rel=0.05)
