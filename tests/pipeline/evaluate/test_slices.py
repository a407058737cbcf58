"""The golden files are what people and gates read; `python tests/test_evaluation.py` writes them anew."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trunkline.conf.evaluation import Evaluation
from trunkline.core import paths
from trunkline.core.arrays import Floats
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.core.features import Feature
from trunkline.pipeline.evaluate import curves, slices
from trunkline.pipeline.evaluate.curves import wilson
from trunkline.pipeline.evaluate.estimate import Estimate
from trunkline.pipeline.evaluate.metrics.kinds import Sample, cutoffs
from trunkline.pipeline.evaluate.slices import MISSING, evaluate, predictions

GOLDEN = Path(__file__).parents[2] / "golden" / "evaluation"
DECLARED = {
    "metrics": ["roc_auc", "average_precision", "log_loss", "brier", "accuracy", "base_rate", "mean_score"],
    "slices": {
        "origin": "origin",
        "hour": "hour(event_time) // 12 * 12",
        "long": "distance > 1000",
        "half": "distance // 1000 / 2",
    },
    "slice_min_rows": 50,
    "interval": {"cluster": "date(event_time)", "resamples": 200, "confidence": 0.9},
    "curves": {"points": 12, "bins": 5},
}


def declared(**changes: object) -> Evaluation:
    return Evaluation.parse({**DECLARED, **changes})


def flights(n: int = 600, days: int = 15) -> tuple[Dataset, Floats]:
    """A holdout with tied scores that are right on average and wrong by day, and a few missing origins."""
    generator = np.random.default_rng(7)
    minutes = np.sort(generator.integers(0, days * 24 * 60, n))
    scores = (generator.integers(1, 100, n) / 100) ** 2
    bad_day = generator.integers(-10, 11, days + 1)[minutes // (24 * 60)] / 100
    labels = generator.random(n) < np.clip(scores + bad_day, 0, 1)
    frame = pl.DataFrame(
        {
            "origin": [[None, "EWR", "JFK", "LGA"][code] for code in (generator.integers(0, 32, n) + 9) // 10 % 4],
            "distance": generator.integers(100, 2500, n),
            "event_time": [datetime(2013, 7, 1, 4) + timedelta(minutes=int(minute)) for minute in minutes],
            "late": pl.Series(labels, dtype=pl.Int8),
            "temperature": generator.normal(20, 5, n),
        },
        schema_overrides={"event_time": pl.Datetime("us")},
    )
    features = (Feature("origin", "categorical"), Feature("temperature", "numeric"))
    return Dataset(frame, Schema(features, "late", "America/New_York")), scores


def write_reports(folder: Path) -> None:
    os.chdir(folder)
    slices.write(evaluate(*flights(), declared(), seed=1))


def contents(folder: Path) -> dict[str, str]:
    found = [folder / "metrics.json", folder / "slices.json", *sorted((folder / "curves").iterdir())]
    return {path.name: path.read_text(encoding="utf-8") for path in found}


def test_reports_are_the_golden_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_reports(tmp_path)
    found = contents(tmp_path / "reports")
    assert sorted(found) == sorted(path.name for path in GOLDEN.iterdir())
    for name, text in found.items():
        assert text == (GOLDEN / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("threads", ["1", "4"])
def test_threads_change_no_byte(threads: str, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "POLARS_MAX_THREADS": threads}
    command = [sys.executable, __file__, str(tmp_path)]
    subprocess.run(command, env=environment, check=True)
    assert contents(tmp_path / "reports") == {path.name: path.read_text(encoding="utf-8") for path in GOLDEN.iterdir()}


def test_slices_partition_the_holdout_and_small_ones_are_only_counted() -> None:
    dataset, scores = flights()
    report = evaluate(dataset, scores, declared(), seed=1)
    assert set(report.slices) == {"all", *DECLARED["slices"]}
    assert all(sum(part.n for part in parts.values()) == 600 for parts in report.slices.values())
    assert set(report.slices["origin"]) == {MISSING, "EWR", "JFK", "LGA"}
    assert set(report.slices["hour"]) == {"0", "12"}  # local, not UTC
    assert set(report.slices["long"]) == {"false", "true"}
    assert set(report.slices["half"]) == {"0", "0.5", "1"}
    for parts in report.slices.values():
        assert all(bool(part.metrics) == (part.n >= 50) for part in parts.values())
    assert not report.slices["origin"][MISSING].metrics


def test_a_slice_is_measured_on_its_own_rows() -> None:
    dataset, scores = flights()
    [part] = [
        part for label, part in evaluate(dataset, scores, declared(), 1).slices["origin"].items() if label == "EWR"
    ]
    rows = (dataset.frame["origin"] == "EWR").fill_null(False).to_numpy()
    alone = Dataset(dataset.frame.filter(rows), dataset.schema)
    whole = evaluate(alone, scores[rows], declared(slices={}), 1).whole
    assert part.n == whole.n
    assert {k: v.value for k, v in part.metrics.items()} == pytest.approx(
        {k: v.value for k, v in whole.metrics.items()}
    )


def test_every_interval_of_the_whole_holds_the_value() -> None:
    for estimate in evaluate(*flights(), declared(), seed=1).whole.metrics.values():
        assert estimate.interval is not None
        assert estimate.value is not None
        assert estimate.interval[0] < estimate.value < estimate.interval[1]


def test_a_slice_of_one_class_has_null_and_not_a_number() -> None:
    dataset, scores = flights()
    marked = Dataset(dataset.frame.with_columns(distance=dataset.label.cast(pl.Int64)), dataset.schema)
    report = evaluate(marked, scores, declared(slices={"outcome": "distance"}), 1)
    one_class = report.slices["outcome"]["0"]
    [said] = [line for line in report.undefined if line.startswith("roc_auc of outcome 0 is not defined: ")]
    assert f"none of {one_class.n} rows has the label 1, which roc_auc needs; choose a holdout" in said
    why = f"none of {one_class.n} rows has the label 1, which roc_auc needs"
    assert one_class.metrics["roc_auc"] == Estimate(None, None, why)
    assert one_class.metrics["brier"].interval is not None
    written = slices.content(report)[paths.SLICES]["outcome"]["0"]["metrics"]
    assert written["roc_auc"] == {"value": None, "interval": None, "undefined": why}
    assert set(written["brier"]) == {"value", "interval"}


def test_the_thinned_roc_curve_keeps_its_ends_and_its_area() -> None:
    dataset, scores = flights()
    smooth = np.clip(scores + np.linspace(0, 0.009, 600), 0, 1)
    report = evaluate(dataset, smooth, declared(curves={"points": 100, "bins": 5}), 1)
    x = [point.false_positive_rate for point in report.curves["roc"]]
    y = [point.true_positive_rate for point in report.curves["roc"]]
    assert len(x) <= 100
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    area = report.whole.metrics["roc_auc"].value
    assert np.trapezoid(y, x) == pytest.approx(area, abs=0.002)
    recalls = [point.recall for point in report.curves["precision_recall"]]
    assert len(recalls) <= 100
    assert recalls == sorted(recalls)
    assert report.curves["precision_recall"][-1].precision == pytest.approx(report.whole.metrics["base_rate"].value)


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=2, max_size=60),
    st.integers(10, 12),
    st.integers(2, 9),
)
def test_curves_hold_for_any_ties(rows: list[tuple[int, int]], points: int, bins: int) -> None:
    labels = np.array([0, 1, *(label for label, _ in rows)], dtype=np.int8)
    scores = np.array([4, 4, *(score for _, score in rows)]) / 8
    sample = Sample(labels, scores, np.zeros(len(labels), dtype=np.int64))
    calibration = curves._calibration(sample, bins, 0.9)
    assert sum(part.n for part in calibration) == len(labels)
    assert sum(part.observed_rate * part.n for part in calibration) == pytest.approx(labels.sum())
    assert len(calibration) <= bins
    assert [part.score for part in calibration] == sorted({part.score for part in calibration})
    for part in calibration:
        assert 0 <= part.observed_rate_low <= part.observed_rate <= part.observed_rate_high <= 1 + 1e-12
    for roc in curves._roc(sample, points)[1:]:
        called = scores >= roc.threshold
        assert roc.true_positive_rate == pytest.approx(called[labels == 1].mean())
        assert roc.false_positive_rate == pytest.approx(called[labels == 0].mean())
    for both in curves._precision_recall(sample, points):
        called = scores >= both.threshold
        assert both.precision == pytest.approx(labels[called].mean())
        assert both.recall == pytest.approx(called[labels == 1].mean())
    assert len(cutoffs(labels, scores)[0]) == len(set(scores))


def test_bins_have_equal_counts_where_scores_differ() -> None:
    sample = Sample(np.arange(100).astype(np.int8) % 2, np.linspace(0, 1, 100), np.zeros(100, dtype=np.int64))
    assert [part.n for part in curves._calibration(sample, 4, 0.9)] == [25] * 4


def test_wilson_is_the_published_interval() -> None:
    assert wilson(0.1, 100, 0.95) == pytest.approx((0.05523, 0.17437), abs=1e-5)
    assert wilson(0.0, 10, 0.95) == pytest.approx((0, 0.27753), abs=1e-5)


def test_predictions_are_the_request_the_label_and_the_score_in_order() -> None:
    dataset, scores = flights()
    found = predictions(dataset, scores)
    assert found.columns == ["origin", "distance", "event_time", "late", "score"]
    assert found["score"].to_list() == scores.tolist()
    assert found.drop("score").equals(dataset.frame.drop("temperature"))
    renamed = Dataset(dataset.frame.rename({"distance": "score"}), dataset.schema)
    with pytest.raises(UserError, match="'score' is reserved"):
        predictions(renamed, scores)


def test_a_boolean_label_is_measured_like_a_whole_number() -> None:
    dataset, scores = flights()
    boolean = Dataset(dataset.frame.with_columns(pl.col("late").cast(pl.Boolean)), dataset.schema)
    assert evaluate(boolean, scores, declared(), 1) == evaluate(dataset, scores, declared(), 1)


@pytest.mark.parametrize("wrong", [np.nan, 1.5])
def test_a_score_that_is_none_is_never_measured(wrong: float) -> None:
    dataset, scores = flights()
    scores[17] = wrong
    with pytest.raises(UserError, match=r"1 of 600 rows have a wrong score: .* \(row 17, counted from 0\)"):
        evaluate(dataset, scores, declared(), 1)


@pytest.mark.parametrize(("rows", "message"), [(0, "no row has a label"), (9, "all 9 rows have late = 0")])
def test_a_holdout_of_one_class_is_refused(rows: int, message: str) -> None:
    dataset, scores = flights()
    none_late = Dataset(dataset.frame.with_columns(late=pl.lit(0, dtype=pl.Int8))[:rows], dataset.schema)
    with pytest.raises(UserError, match=f"data/features/holdout.parquet: {message}"):
        evaluate(none_late, scores[:rows], declared(), 1)


def test_a_slice_of_too_many_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "MOST_SLICES", 2)
    with pytest.raises(
        UserError, match=r"evaluation\.slices\.origin: 4 different values, such as \(missing\); at most"
    ):
        evaluate(*flights(), declared(), 1)


def test_a_slice_cannot_take_the_name_of_the_whole() -> None:
    with pytest.raises(ValidationError, match=r"slices\.all: the name means the whole holdout"):
        declared(slices={"all": "origin"})


def test_metrics_json_is_numbers_only() -> None:
    holdout = json.loads((GOLDEN / "metrics.json").read_text())["holdout"]
    assert set(holdout) == {*DECLARED["metrics"], "n"}
    assert all(isinstance(value, int | float) for value in holdout.values())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write_reports(Path(sys.argv[1]))
    else:
        import shutil
        import tempfile

        with tempfile.TemporaryDirectory() as scratch:
            write_reports(Path(scratch))
            for path in Path(scratch).rglob("*.json"):
                shutil.copy(path, GOLDEN / path.name)
