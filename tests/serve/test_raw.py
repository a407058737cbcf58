"""Raw rows give a model the inputs that the features stage computed of them, and what is wrong with one is told."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.core.files import canonical_json
from trunkline.pipeline.bundle import raw as bundle_raw
from trunkline.pipeline.features import compiler
from trunkline.pipeline.features.duckdb import DuckDBEngine
from trunkline.pipeline.validate import check
from trunkline.serve.raw import RawRows

DATA = Data.parse(
    {
        "sources": {"trips": {"kind": "files", "url": "in/", "files": {"a.csv": None}, "nulls": ["", "?"]}},
        "derive": {"trips": {"Sched": "Dep - Delay", "at": "Day + minutes(Dep)"}},
        "observations": "trips",
        "unique_key": ["nr"],
        "timezone": "Europe/Rome",
        "event_time": "at",
        "prediction_lead": "1h",
        "target": {"name": "Late", "expression": "Delay > 5", "known_after": "1d"},
        "window": {"train": "2013-01..2013-02", "holdout": "2013-03"},
    }
)
COLUMNS = {
    "nr": {"type": "integer"},
    "Day": {"type": "time", "formats": ["epoch days"]},
    "Dep": {"type": "integer", "min": 0, "max": 1439},
    "Delay": {"type": "number", "known": "outcome", "min": -60, "max": 600},
    "Sched": {"type": "number", "known_because": "the timetable has it, only this file lacks it"},
    "at": {"type": "time"},
    "città": {"type": "text", "nullable": True},
    "holiday": {"type": "boolean", "formats": ["Y/N"], "nullable": True},
}
CONTRACT = Contract.parse(
    {
        "tables": {
            "trips": {
                "privacy": "public",
                "unique": ["nr"],
                "columns": {name: {"description": "What it is"} | column for name, column in COLUMNS.items()},
            }
        }
    }
)
FEATURES = Features.parse(
    {
        "views": {
            "own": {
                "kind": "expression",
                "features": {
                    "Sched": "Sched",
                    "città": "column('città')",
                    "holiday": "holiday",
                    "Hour of day": "hour(event_time)",
                    "ratio": "Sched / (Dep + 1)",
                },
            }
        }
    }
)
PLAN = compiler.plan(FEATURES, DATA, CONTRACT)
CONTENT = canonical_json(bundle_raw.features_content(PLAN, DATA, CONTRACT), digits=None).encode()
ROWS = st.lists(
    st.tuples(
        st.integers(15_700, 15_800),
        st.integers(0, 1439),
        st.integers(-60, 600).map(str) | st.floats(-60, 600).map(repr),
        st.sampled_from([None, "Roma", "東京"]),
        st.sampled_from([None, "Y", "n"]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=15)
@given(cells=ROWS)
def test_raw_rows_give_the_features_of_training_bit_for_bit(
    cells: list[tuple[int, int, str, str | None, str | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("valid")
    rows = [{"nr": str(nr), "Day": str(day), "Dep": str(dep), "Delay": delay, "città": city, "holiday": off}
            for nr, (day, dep, delay, city, off) in enumerate(cells)]  # fmt: skip
    raw = pl.DataFrame(rows, dict.fromkeys(rows[0], pl.String))
    table, derived = CONTRACT.tables["trips"], DATA.derivations("trips")
    check.check("trips", raw.lazy(), table, DATA.timezone, [], derived).valid.sink_parquet(folder / "trips.parquet")
    with DuckDBEngine(PLAN, folder) as engine:
        engine.load_requests()
        engine.write(folder / "out.parquet")
    trained = pl.read_parquet(folder / "out.parquet").sort("nr")
    read = RawRows.parse(CONTENT)
    assert read is not None
    assert (read.joined, set(read.read)) == ([], {"Day", "Dep", "Sched", "città", "holiday"})
    inputs, breaches = read.inputs(raw.with_columns(Sched=trained["Sched"].cast(pl.String)).to_arrow())
    assert breaches == ()
    assert pl.DataFrame(pl.from_arrow(inputs)).equals(trained.select(inputs.column_names))
    assert trained["Sched"].to_list() == [dep - float(delay) for _, dep, delay, _, _ in cells]
    assert trained["event_time"].to_list() == [
        datetime(1970, 1, 1) + timedelta(days=day, minutes=dep) for day, dep, *_ in cells
    ]


def test_what_is_wrong_with_a_raw_row_is_told() -> None:
    read = RawRows.parse(CONTENT)
    assert read is not None
    rows = {"Day": ["15700", None, "x"], "Dep": ["7", "1440", "7"], "Sched": ["1", "1", "?"]}
    _, breaches = read.inputs(pa.table(rows | {"città": ["", "", ""], "holiday": ["Y", "true", None]}))
    assert {(each.field, each.words, tuple(each.rows.nonzero()[0])) for each in breaches} == {
        ("Day", "is not an ISO 8601 time", (2,)),
        ("Day", "is missing", (1,)),
        ("at", "is missing", (1,)),
        ("Dep", "is above 1439", (1,)),
        ("Sched", "is not a finite number", (2,)),
        ("holiday", "is not true or false", (1,)),
    }


def test_a_bundle_of_before_knows_no_raw_rows() -> None:
    before = {key: value for key, value in json.loads(CONTENT).items() if key not in ("columns", "derived")}
    assert RawRows.parse(json.dumps(before).encode()) is None
    assert Path("features.json").name in str(bundle_raw.__doc__)
