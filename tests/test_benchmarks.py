"""Benchmarks: each one can be imported, and those that are cheap when small agree with what they are compared to."""

import importlib
from pathlib import Path

import pytest
from benchmarks import bootstrap, error_rates, paired_auc

NAMES = sorted(file.stem for file in (Path(__file__).parent.parent / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_can_be_imported(name):
    assert callable(importlib.import_module(f"benchmarks.{name}").main)


@pytest.mark.parametrize(("rows", "clusters"), [(1000, 31), (300, 300)])
def test_resamples_small(rows, clusters):
    assert bootstrap.compare(list(bootstrap.JUDGES), rows, clusters, resamples=100, loops=2).count("x") == 2


def test_paired_areas_small():
    assert paired_auc.compare(rows=2000, resamples=100, loops=2).startswith("100 resamples of 2,000 rows")


def test_error_rates_of_one_pair():
    difference = error_rates.compared(1, "roc_auc", 14, error_rates.NOISIER)
    assert error_rates.declared([difference], margin=-1) == 1
    assert error_rates.declared([difference], margin=1) == 0
