"""Rows of segments of other forms: what a column lacks is missing, and values of all types are cells or numbers."""

import gc
import json
from datetime import timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.monitor.logs import DAY, OWN, SINCE, measured, reference_of, rows, value, write
from trunkline.monitor.rows import Choice, Columns, Reader, thinned
from trunkline.serve.prediction_log.place import Place
from trunkline.serve.prediction_log.segments import ABOUT


def read(folder, inputs, about=None, arms=None, part="part-1", **columns):
    """The rows of a segment with these inputs and of those before, as the reader types them.

    `about` says which inputs are not as they came.
    """
    count = len(inputs)
    own = {
        "request_id": [f"r{number}" for number in range(count)], "row": [0] * count, "digest": [OWN] * count,
        "time": pa.array([SINCE + timedelta(minutes=number) for number in range(count)], pa.timestamp("us", "UTC")),
        "score": [0.5] * count, "arm": pa.array(arms or [None] * count, pa.string()),
    }  # fmt: skip
    table = pa.table(own | {"inputs": inputs}).replace_schema_metadata({ABOUT: json.dumps(about or {})})
    Place(str(folder)).write("v1/2026-11-02T00", f"{part}.parquet", table)
    choice = Choice(SINCE, SINCE + DAY, DAY, OWN, "production")
    return pl.concat(Reader(Place(str(folder)), choice, Columns(columns, ("score",))).batches())


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        (pa.array(["b", "z", None, "a"]), [1, 2, 3, 0]),
        (pa.array([7, 8, None, 7]), [2, 2, 3, 2]),
        (pa.array([True, False, None, True]), [2, 2, 3, 2]),
        (pa.array([None] * 4, pa.string()), [3, 3, 3, 3]),
        (None, [3, 3, 3, 3]),
    ],
    ids=["text", "integer", "boolean", "missing", "lacking"],
)
def test_a_text_is_the_place_of_its_cell(tmp_path, values, cells):
    other = pa.array([1, 2, None, 4])
    arrays = [other] if values is None else [other, values]
    inputs = pa.StructArray.from_arrays(arrays, ["n", "c"][: len(arrays)], mask=pa.array([False, False, False, False]))
    found = read(tmp_path, inputs, c=["a", "b"], n=None, absent=None)
    assert found["feature:c"].to_list() == cells
    assert found["feature:n"].to_list() == [1, 2, None, 4]
    assert found["feature:absent"].null_count() == 4


def test_segments_with_other_texts_are_read_together(tmp_path):
    for part, texts in (("part-1", ["b", "a"]), ("part-2", ["z", "a"])):
        inputs = pa.StructArray.from_arrays([pa.array(texts)], ["c"])
        found = read(tmp_path, inputs, part=part, c=["a", "b"])
    assert found["feature:c"].to_list() == [1, 0, 2, 0]


def test_written_numbers_and_truth_values_are_texts_of_the_reference(tmp_path):
    inputs = pa.StructArray.from_arrays([pa.array([7, 8]), pa.array([True, False])], ["hour", "late"])
    found = read(tmp_path, inputs, hour=["8", "7"], late=["false", "true"])
    assert (found["feature:hour"].to_list(), found["feature:late"].to_list()) == ([1, 0], [1, 0])


def test_a_row_without_inputs_has_none_of_them(tmp_path):
    """As a row with a problem is logged."""
    inputs = pa.StructArray.from_arrays([pa.array(["a", "b"])], ["c"], mask=pa.array([False, True]))
    assert read(tmp_path, inputs, c=["a", "b"])["feature:c"].to_list() == [0, 3]


def test_rows_of_a_shadow_are_left_out_beside_others(tmp_path):
    inputs = pa.StructArray.from_arrays([pa.array([1, 2, 3])], ["n"])
    assert read(tmp_path, inputs, arms=["current", "shadow", None], n=None)["feature:n"].to_list() == [1, 3]


def test_the_same_rows_are_read_of_segments_without_statistics(tmp_path):
    """By which columns of one value, or of nulls, are not read."""
    kinds = [("production", None, None), ("staging", None, "x"), (None, "shadow", None), (None, "canary", "refused: y")]
    for first, (environment, arm, problem) in enumerate([*kinds, ("production", "canary", None)]):
        for mixed in (False, True):
            table = pa.table(
                {
                    "row": [0, 1], "digest": [OWN, "b" * 64 if mixed else OWN], "score": [0.5, None],
                    "time": pa.array([SINCE + timedelta(minutes=4 * first + 2 * mixed + row) for row in (0, 1)],
                        pa.timestamp("us", "UTC")),
                    "latency": pa.array([None, 0.25 if mixed else None]),
                    "environment": pa.array([environment, "production" if mixed else environment], pa.string()),
                    "arm": pa.array([arm, None if mixed else arm], pa.string()),
                    "problem": pa.array([problem, None if mixed else problem], pa.string()),
                }
            )  # fmt: skip
            for folder, known in (("with", True), ("without", False)):
                path = tmp_path / f"{folder}/v1/2026-11-02T00/part-{first}{mixed}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(table, path, write_statistics=known)
    choice = Choice(SINCE, SINCE + DAY, DAY, OWN, "production")
    with_them, without = (
        pl.concat(Reader(Place(str(tmp_path / folder)), choice, Columns({}, ("score",))).batches()).sort("time")
        for folder in ("with", "without")
    )
    assert with_them.equals(without)
    assert with_them["time"].dt.minute().to_list() == [0, 1, 2, 12, 13, 14, 16, 17, 18]


def test_rows_are_thinned_evenly_and_alike(tmp_path):
    content = rows(20_000, seed=1).with_columns(pl.lit(0, pl.Int64).alias("row"))
    kept = thinned(content, 0.1)
    assert kept.height == pytest.approx(2000, rel=0.1)
    assert kept["score"].mean() == pytest.approx(content["score"].mean(), abs=0.02)
    halves = pl.concat(thinned(part, 0.1) for part in content.iter_slices(700))
    assert halves.equals(kept)
    assert set(thinned(content, 0.05)["request_id"]) < set(kept["request_id"])


def test_numbers_that_are_none_are_missing(tmp_path):
    content = rows(500, seed=2)
    reference = reference_of(content)
    inputs = pa.StructArray.from_arrays([pa.array([1.0, np.nan, 900.0, 800.0])], ["distance"])
    read(tmp_path, inputs)
    assert value(measured(tmp_path, reference), "feature", "distance", "missing")["value"] == 0.25
    write(tmp_path / "other", content)
    assert value(measured(tmp_path / "other", reference), "feature", "distance", "psi")["value"] < 0.01


def test_what_is_hashed_or_left_out_is_not_measured_and_said(tmp_path):
    """Also where another segment has it."""
    content = rows(200, seed=3)
    write(tmp_path, content)
    inputs = pa.StructArray.from_arrays([pa.array(["9f86", "d081"])], ["distance"])
    read(tmp_path, inputs, {"hash": ["distance"], "leave_out": ["origin", "elsewhere"]})
    found = measured(tmp_path, reference_of(content))
    assert found.table.filter(kind="feature").height == 0
    assert (
        found.counts["subject"].unique().to_list() == found.reference_counts["subject"].unique().to_list() == ["score"]
    )
    assert [line.partition(":")[0] for line in found.unmeasured[1:]] == [
        "distance",
        "origin",
        "refusals, errors of requests",
    ]


def test_a_segment_that_was_read_is_let_go_at_once(tmp_path):
    def held():
        return sum(isinstance(each, pq.FileMetaData) for each in gc.get_objects())

    gc.collect()
    before = held()
    gc.disable()
    try:
        for part in range(5):
            read(tmp_path, pa.StructArray.from_arrays([pa.array(["a"])], ["text"]), part=f"part-{part}", text=["a"])
        assert held() == before
    finally:
        gc.enable()
