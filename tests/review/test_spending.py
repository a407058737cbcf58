"""What a change costs as it is measured here, and the budgets, its own and the base's, that it is held against."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
import yaml

from tests.deploy.targets.projects import declared
from tests.reviews import step
from trunkline.adapters.dvc.survey import Absent, Stage
from trunkline.core.params import Params
from trunkline.deploy.cost import Measured
from trunkline.pipeline.gate import timing
from trunkline.pipeline.plan.reasons import ReproPlan
from trunkline.review import spending
from trunkline.serve.prediction_log.place import Place

PRICES = {"currency": "EUR", "cpu_hour": 3.6, "stored_gb_month": 2.0, "out_gb": 1.0}
LOCK = {
    "train": {"cmd": "x", "outs": [{"path": "models/model", "md5": "a", "size": 10**9}]},
    "gate": {
        "cmd": "x",
        "outs": [
            {"path": "data/copy", "md5": "a", "size": 10**9},
            {"path": "data/other", "md5": "b", "size": 10**8},
            {"path": "reports/gates.json", "md5": "c", "size": 10**7},
        ],
    },
}
STAGES = [Stage("gate", "x", {}, {}, {}, {}, "unchanged", uncached=("reports/gates.json",))]


def params(**changes: object) -> Params:
    return Params(declared(**{"deploy__prices": PRICES, **changes}), "params.yaml")


def plan(*steps, needs=()):
    return ReproPlan("a" * 40, tuple(replace(each, needs=needs) for each in steps))


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": LOCK}))
    monkeypatch.setattr(timing, "prediction", lambda folder: 2e-5 if folder == tmp_path / "models/bundle" else None)
    return tmp_path


def test_a_change_that_has_run_takes_its_stages_the_bundle_the_bytes_and_the_traffic(root):
    hour = datetime.now(UTC) - timedelta(hours=48)
    Place(str(root / "log")).write(f"v1/{hour:%Y-%m-%dT%H}", "part-1.parquet", pa.table({"row": range(100)}))
    measured = spending.measure(
        root,
        params(serving__log={"to": "log"}),
        plan(step("train", reasons=["is new"], seconds=40.0), step("ingest", seconds=900.0)),
        STAGES,
    )
    assert measured == Measured(seconds=40.0, latency=2e-5, stored=1_100_000_000, rows=1500.0)


def test_of_a_tree_that_has_not_run_only_the_run_is_known(root):
    away, here = Absent("data/raw", 7, 1, cached=False), Absent("data/valid", 9, 1, cached=True)
    first, second = step("train", "runs", ["is new"], 40.0), step("gate", "follows", [], None)
    measured = spending.measure(root, params(), plan(first, needs=(away, here)), STAGES)
    assert measured == Measured(seconds=40.0, pulled=7)
    assert spending.measure(root, params(), plan(first, second), STAGES).seconds is None


def test_what_is_known_is_shown_and_without_prices_nothing_is_measured(root, monkeypatch):
    still = plan(step("train"))
    assert [each.item for each in spending.known(root, params(), still, STAGES)] == ["run", "million_predictions"]
    monkeypatch.setattr(spending, "measure", None)
    assert spending.known(root, params(deploy__prices=None), still, STAGES) == ()


def test_a_log_that_cannot_be_read_gives_no_traffic(root):
    (root / "log").write_text("a file")
    measured = spending.measure(root, params(serving__log={"to": "log"}), plan(step("train")), STAGES)
    assert (measured.rows, measured.seconds) == (None, 0.0)


def test_the_budget_of_the_base_decides_as_well_by_its_prices():
    measured = Measured(seconds=3600.0)
    tight, wide = params(deploy__budget={"run": 3.0}), params(deploy__budget={"run": 4.0})
    free = params(deploy__budget={"run": 3.0}, deploy__prices=PRICES | {"cpu_hour": 0.1})
    for before, now, answers in (
        (wide, tight, ["fail", "pass"]),
        (tight, wide, ["pass", "fail"]),
        (tight, free, ["pass", "fail"]),
        (tight, params(), ["fail"]),
        (tight, tight, ["fail"]),
        (params(), params(), []),
    ):
        verdicts = spending.verdicts(before, now, measured)
        assert [verdict.verdict for verdict in verdicts] == answers
        assert all(verdict.blocking for verdict in verdicts)
    assert verdicts == []
    [_, former] = spending.verdicts(tight, wide, measured)
    assert former.reason == "by the base's rules: a run costs 3.60 EUR, more than 3.00 EUR (3600 s of stages)"


def test_a_budget_of_the_base_that_cannot_be_read_warns():
    [verdict] = spending.verdicts(params(deploy__budget={"runs": 1.0}), params(), Measured())
    assert (verdict.verdict, verdict.blocking) == ("fail", False)
    assert "cannot be read by this code" in verdict.reason
