"""Rows without a time are split by a hash that nothing but their own columns can change."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.core.dataset import Dataset
from trunkline.core.tables import rows
from trunkline.pipeline.features import compiler
from trunkline.pipeline.features import split as features_split
from trunkline.pipeline.features.duckdb import DuckDBEngine

TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5)
KEYS = st.lists(st.tuples(TEXT, st.none() | st.integers(-9, 9)), max_size=30)
TABLE = {
    "privacy": "public",
    "unique": ["nr"],
    "columns": {
        "nr": {"type": "integer", "description": "Number of the row"},
        "group of": {"type": "text", "nullable": True, "description": "Its group"},
        "y": {"type": "text", "nullable": True, "known": "outcome", "description": "The label"},
    },
}
FEATURES = Features.parse({"views": {"v": {"kind": "expression", "features": {"twice": "nr * 2"}}}})
CONTRACT = Contract.parse({"tables": {"t": TABLE}})


def declared(**split: Any) -> Data:
    """A table without a time, of three classes."""
    target = {"name": "label", "task": "multiclass", "expression": "y", "classes": ["a", "b", "c"]}
    source = {"package": "p", "version": "1", "path": "t.csv"}
    content = {"sources": {"t": source}, "observations": "t", "unique_key": ["nr"], "target": target, "split": split}
    return Data.parse(content)


def frame(keys: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(keys, schema={"a b": pl.String, "c": pl.Int64}, orient="row")


def test_shares_are_what_they_were() -> None:
    found = rows.shares(frame([("x", 1), ("", None), (None, 0), ("日本", -5)]), ["a b", "c"], 7)
    assert found.to_list() == PINNED
    assert rows.shares(frame([("x", 1)]), ["a b", "c"], 8)[0] != PINNED[0]


PINNED = [0.45958658947078934, 0.1712539151448984, 0.46254986605103854, 0.5664730288584385]


@given(keys=KEYS, others=KEYS)
def test_a_share_depends_on_the_row_alone(keys: list[Any], others: list[Any]) -> None:
    alone = rows.shares(frame(keys), ["a b", "c"], 1).to_list()
    among = rows.shares(frame([*others, *reversed(keys)]), ["a b", "c"], 1).to_list()
    assert among[len(others) :] == alone[::-1]
    assert all(0 <= share < 1 for share in alone)
    by_key = dict(zip(keys, alone, strict=True))
    assert len(set(by_key.values())) == len(by_key)


@pytest.mark.parametrize("by", [[], ["group of"]])
def test_the_parts_are_disjoint_whole_and_counted(by: list[str], tmp_path: Path) -> None:
    table = pl.DataFrame(
        {
            "nr": range(3000),
            "group of": [f"g{number % 61}" for number in range(3000)],
            "y": [(None, "a", "b", "c")[number % 4] for number in range(3000)],
        }
    )
    (tmp_path / "valid").mkdir()
    table.write_parquet(tmp_path / "valid/t.parquet")
    data = declared(holdout=0.25, by=by)
    plan = compiler.plan(FEATURES, data, CONTRACT)
    with DuckDBEngine(plan, tmp_path / "valid") as engine:
        written = features_split.materialize(engine, plan, data, tmp_path / "features")
    parts = {name: Dataset.read(name, tmp_path / "features") for name in ("train", "holdout")}
    numbers = {name: set(part.frame["nr"]) for name, part in parts.items()}
    assert not numbers["train"] & numbers["holdout"]
    assert numbers["train"] | numbers["holdout"] == {number for number in range(3000) if number % 4}
    assert 0.15 < written["holdout"] / 2250 < 0.35
    if by:
        assert not set(parts["train"].frame["group of"]) & set(parts["holdout"].frame["group of"])
    assert parts["train"].label.to_list() == [(number % 4) - 1 for number in parts["train"].frame["nr"]]
    found: Any = features_split.summarise(table, plan, data)
    assert {name: window["rows"] for name, window in found["windows"].items()} == written
    assert found["windows"]["train"]["class_shares"]["a"] == pytest.approx(1 / 3, abs=0.05)
    assert found["windows"]["train"]["unlabelled"] + found["windows"]["holdout"]["unlabelled"] == 750
