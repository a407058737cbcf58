"""Cut into slices of time and buckets of entities, a plan gives the bytes that it gives as a whole."""

from collections.abc import Sequence
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.features.test_duckdb import CONTRACT, DATA, START
from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.core import expressions
from trunkline.pipeline.features.compiler import plan
from trunkline.pipeline.features.distribution import SLICE
from trunkline.pipeline.features.duckdb import DuckDBEngine
from trunkline.pipeline.features.executors.executor import Local
from trunkline.pipeline.features.partition import Shared
from trunkline.pipeline.features.partitioned import PartitionedEngine
from trunkline.pipeline.features.plan import Engine as PlanEngine
from trunkline.pipeline.features.plan import FeaturePlan, Span

LINE = {"type": "integer", "nullable": True, "description": "Number of the line"}
DELAY = {"last": "delay"}
STREAM = {"table": "trips", "event_time": "starts", "available_at": "event_time + minutes(delay)"}
# Nobody's keys hold those of all others.
KEYS = (["station"], ["line"], ["station", "line"])
PART = Span(START - timedelta(days=9), START + timedelta(hours=25))
LABEL = ("late", expressions.parse("delay > 15"))


def planned(views: Sequence[tuple[str, list[str], str | None]]) -> FeaturePlan:
    contract: dict[str, Any] = deepcopy(CONTRACT)
    contract["tables"]["trips"]["columns"]["line"] = LINE
    declared: dict[str, Any] = {"place": {"kind": "lookup", "table": "stations", "keys": ["station"]}}
    declared["place"]["features"] = {"tracks": "platforms"}
    for number, (kind, keys, reach) in enumerate(views):
        view: dict[str, Any] = {"kind": kind, "stream": "done", "keys": keys}
        if kind == "latest":
            view |= {"features": {f"last_{number}": "delay"}} | ({"max_age": reach} if reach else {})
        else:
            mean = {"aggregate": "mean", "of": "delay * 0.1"}
            view |= {
                "window": reach or "90d",
                "features": {f"mean_{number}": mean, f"n_{number}": {"aggregate": "count"}},
            }
        declared[f"v{number}"] = view
    features = Features.parse({"streams": {"done": STREAM}, "views": declared})
    return plan(features, Data.parse(DATA), Contract.parse(contract))


def write_tables(folder: Path, trips: Sequence[dict[str, Any]]) -> None:
    schema = {
        "number": pl.Int64,
        "station": pl.String,
        "line": pl.Int64,
        "starts": pl.Datetime("us"),
        "delay": pl.Int64,
    }
    pl.DataFrame(trips, schema=schema, orient="row").write_parquet(folder / "trips.parquet")
    pl.DataFrame({"station": ["a", "b"], "platforms": [4, None]}).write_parquet(folder / "stations.parquet")


def written(engine: PlanEngine, plan: FeaturePlan, path: Path) -> tuple[int, bytes]:
    engine.load_requests(None, (LABEL,))
    for view in plan.primitives:
        engine.compute(view)
    rows = engine.write(path, PART, ["late"])
    return rows, path.read_bytes()


@st.composite
def trip_lists(draw: st.DrawFn) -> list[dict[str, Any]]:
    return [
        {
            "number": number,
            "station": draw(st.sampled_from([*"abcde", None])),
            "line": draw(st.sampled_from([1, 2, 3, None])),
            "starts": START + timedelta(hours=draw(st.integers(0, 30))),
            "delay": draw(st.sampled_from([None, -700, 0, 10, 60, 500, 2000])),
        }
        for number in range(draw(st.integers(0, 40)))
    ]


VIEWS = st.tuples(st.sampled_from(["latest", "rolling"]), st.sampled_from(KEYS), st.sampled_from(["3h", "1d", None]))


@settings(max_examples=25)
@given(
    trips=trip_lists(),
    views=st.lists(VIEWS, max_size=3),
    size=st.sampled_from([3, 16, SLICE]),
    buckets=st.integers(1, 3),
)
def test_any_partitions_give_the_bytes_of_one(
    trips: list[dict[str, Any]],
    views: list[tuple[str, list[str], str | None]],
    size: int,
    buckets: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("partitioned")
    write_tables(folder, trips)
    plan = planned(views)
    with DuckDBEngine(plan, folder, size=size) as alone:
        expected = written(alone, plan, folder / "alone.parquet")
    cut = PartitionedEngine(Shared(plan, folder, folder, size=size), Local(), buckets)
    assert written(cut, plan, folder / "cut.parquet") == expected
