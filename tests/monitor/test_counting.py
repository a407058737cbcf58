"""Segments that tasks of an executor count give, bit for bit, what one process measures of the log."""

from datetime import timedelta

import polars as pl
from polars.testing import assert_frame_equal

from tests.monitor.logs import SINCE, measured, reference_of, rows, value, write, write_outcomes
from tests.serve.batch.test_spread import Elsewhere
from trunkline.monitor import counting
from trunkline.monitor import rows as reading


def logged(folder):
    """Write a log of many small segments, with outcomes and refused rows; return it with its reference."""
    content = rows(900, seed=2, days=0.25)
    refused = pl.when(pl.int_range(900) % 40 == 0).then(pl.lit("refused: no such origin")).alias("problem")
    still = pl.when(pl.col("time") > SINCE + timedelta(hours=3)).then(500.0).otherwise(pl.col("distance"))
    latency = pl.int_range(900) / 1e4
    write(
        folder / "log",
        content.with_columns(refused, still.alias("distance"), latency.alias("latency")),
        size=40,
        order=5,
    )
    write_outcomes(folder / "log", content)
    return folder / "log", reference_of(rows(5000, seed=1))


def assert_same(one, other):
    """Two tables are equal, bit for bit."""
    assert (one.unmeasured, one.logged) == (other.unmeasured, other.logged)
    assert one.table.equals(other.table)
    assert one.counts.equals(other.counts)


def test_tasks_anywhere_measure_what_one_process_measures(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "TASK", 4)
    monkeypatch.setattr(reading, "BATCH", 30)
    log, asked = logged(tmp_path), {"window": timedelta(hours=2), "slices": ("origin",)}
    elsewhere = Elsewhere(tmp_path)
    cut = measured(*log, executor=elsewhere, **asked)
    assert len(elsewhere.returned) == 7
    assert_same(cut, measured(*log, **asked))
    assert value(cut, "performance", "roc_auc", "value", slice="origin", label="JFK")["rows"]


def test_parts_add_up_to_the_log(tmp_path, monkeypatch):
    log = logged(tmp_path)
    whole = measured(*log, window=timedelta(hours=2))
    monkeypatch.setattr(counting, "TASK", 1)
    parts = measured(*log, window=timedelta(hours=2))
    assert parts.counts.equals(whole.counts)
    assert_frame_equal(parts.table, whole.table, rel_tol=1e-12, abs_tol=0)
