"""Planted faults are seen by rules that are fit to see them, and not by others; where nothing changes it is quiet."""

import numpy as np
import polars as pl
import pytest

from tests.monitor.logs import OWN, reference_of, rows
from trunkline.bundle.contract import Contract, Input
from trunkline.conf.monitoring import RULES, Monitoring
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.core.features import Feature
from trunkline.monitor import selftest

INPUTS = [
    Input(name="distance", role="numeric", type="number", nullable=True, description="How far"),
    Input(name="origin", role="categorical", type="text", nullable=False, description="From where"),
]
FEATURES = (Feature("distance", "numeric"), Feature("origin", "categorical"))


def score(frame):
    """What the rows' own score is of."""
    origins = frame["origin"].replace_strict({"EWR": 0, "JFK": 1, "LGA": 2}, default=1).to_numpy()
    distance = frame["distance"].fill_null(665.0).fill_nan(665.0).clip(1.0).to_numpy()
    return 1 / (1 + np.exp(-(np.log(distance) - 6.5 + origins - 1.5)))


def setting(rules, holdout=None):
    content = (
        rows(4800, seed=1, days=8).rename({"time": "event_time", "outcome": "late"}) if holdout is None else holdout
    )
    dataset = Dataset(content.select("event_time", "distance", "origin", "late"), Schema(FEATURES, "late", "UTC"))
    model = selftest.Model(
        Contract(label="late", on_bad_row="stop", inputs=INPUTS, request={}),
        OWN, reference_of(rows(6000, seed=1), {"roc_auc": 0.75}), score,
    )  # fmt: skip
    return selftest.Setting(model, dataset, Monitoring.parse({"rules": rules, "slices": ["origin"]}), "roc_auc")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    ruled = setting(RULES | {"performance": RULES["performance"] | {"slices": False}})
    found = selftest.run(ruled, tmp_path_factory.mktemp("self-test"), quiet=30)
    return {case.fault: case for case in found}


def test_every_fault_is_told_and_named_by_its_cause(cases):
    causes = {name: case.cause for name, case in cases.items() if name}
    assert causes == {
        "shift in one feature": "input_drift", "shift in one slice": "input_drift", "swapped labels": "outcome_drift",
        "frozen sensor": "frozen", "missing rows": "silence", "unit change": "unit", "feature gone": "missing",
    }  # fmt: skip
    assert "performance" in dict(cases["swapped labels"].seen)
    assert all(case.right for case in cases.values())


def test_where_nothing_changes_nobody_is_told(cases):
    assert (cases[None].notices, cases[None].seen, cases[None].windows) == (0, (), 30)


def test_it_says_how_soon(cases):
    assert dict(cases["feature gone"].seen)["missing"] == 1
    assert dict(cases["shift in one feature"].seen)["input_drift"] == 3


def test_rules_that_cannot_see_a_fault_tell_nobody_and_that_is_not_right(tmp_path, monkeypatch):
    blind = setting({"latency": RULES["latency"]})
    monkeypatch.setattr(selftest, "FAULTS", selftest.FAULTS[2:3])
    _, case = selftest.run(blind, tmp_path, quiet=2)
    assert (case.notices, case.seen, case.right) == (0, (), False)


def test_a_holdout_without_numbers_is_refused(tmp_path):
    content = rows(500).rename({"time": "event_time", "outcome": "late"}).with_columns(pl.lit(1.0).alias("distance"))
    with pytest.raises(UserError, match="no number to plant a fault in"):
        selftest.run(setting({}, content), tmp_path)
