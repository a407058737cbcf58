"""What outcomes show: the metrics of the rows that have one, by when it had arrived, and what is expected before."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, mean_pinball_loss, roc_auc_score

from tests.monitor.logs import DAY, ORIGINS, SINCE, measured, reference_of, rows, value, write, write_outcomes
from trunkline.core import files
from trunkline.core.dataset import Dataset, Schema
from trunkline.monitor import outcomes
from trunkline.monitor.estimates import Calibration, Expected
from trunkline.monitor.performance import Judge
from trunkline.pipeline.evaluate import reference as stored
from trunkline.pipeline.evaluate.estimate import Slice

METRICS = {"roc_auc": 0.75, "log_loss": 0.6}


@pytest.fixture(scope="module")
def reference():
    return reference_of(rows(20_000, seed=1), METRICS)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Two days of rows; of every fourth one, no outcome ever comes."""
    folder, content = tmp_path_factory.mktemp("log"), rows(3000, seed=2, days=2)
    write(folder, content, size=3000)
    known = content.gather_every(4, 1).vstack(content.gather_every(4, 2)).vstack(content.gather_every(4, 3))
    write_outcomes(folder, known)
    return folder, content, known


def test_metrics_are_those_of_the_rows_that_have_an_outcome(log, reference):
    folder, content, known = log
    found = measured(folder, reference, slices=("origin",), cluster=("flight",))
    first = pl.col("time") < SINCE + DAY
    of_day = known.filter(first)
    for part, where in ((of_day, {}), (of_day.filter(pl.col("origin") == "JFK"), {"slice": "origin", "label": "JFK"})):
        area = value(found, "performance", "roc_auc", "value", **where)
        assert area["value"] == pytest.approx(roc_auc_score(part["outcome"], part["score"]))
        assert area["low"] < area["value"] < area["high"]
        assert area["rows"] == part.height
        loss = value(found, "performance", "log_loss", "value", **where)["value"]
        assert loss == pytest.approx(log_loss(part["outcome"], part["score"]))
    area = value(found, "performance", "roc_auc", "value")
    assert (area["reference"], area["coverage"]) == (0.75, of_day.height / content.filter(first).height)
    late = value(found, "outcome", "outcome", "mean")
    assert late["value"] == pytest.approx(of_day["outcome"].mean())
    assert late["reference"] == reference["outcomes"]["counts"]["true"] / 20_000
    labels = found.table.filter(kind="performance", slice="origin")["label"].unique().to_list()
    assert sorted(labels) == sorted(ORIGINS)


def test_a_report_of_then_can_be_made_again(log, reference):
    """Outcomes arrive a day after their rows: half of the first day's are there at noon of the second."""
    folder, _, _ = log
    found = measured(folder, reference, until=SINCE + 1.5 * DAY)
    first = value(found, "performance", "log_loss", "value")
    assert 0.3 < first["coverage"] < 0.45
    assert (first["complete"], found.table.filter(kind="performance", window=SINCE + DAY).height) == (True, 0)
    waiting = measured(folder, reference, until=SINCE + 1.5 * DAY, matures=DAY)
    assert not value(waiting, "performance", "log_loss", "value")["complete"]


def test_calibration_is_by_the_bins_of_the_reference(tmp_path, reference):
    content = rows(8000, seed=3)
    write(tmp_path, content.with_columns((pl.col("score") + 0.1).clip(0, 1).alias("score")), size=8000)
    write_outcomes(tmp_path, content)
    found = measured(tmp_path, reference)
    large = value(found, "calibration", "score", "in_the_large")
    off = content["score"].clip(0, 0.9).mean() + 0.1 - content["outcome"].mean()
    assert large["value"] == pytest.approx(off)
    assert large["low"] < 0.1 < large["high"]
    assert large["reference"] == pytest.approx(0, abs=0.01)
    error = value(found, "calibration", "score", "error")
    assert error["value"] == pytest.approx(0.1, abs=0.02)
    assert error["reference"] < 0.02
    assert value(found, "outcome", "outcome", "psi")["value"] < 0.01


def test_of_many_rows_an_even_share_is_looked_at(log, reference, monkeypatch):
    folder, content, _ = log
    monkeypatch.setattr(outcomes, "MOST", 1500)
    few = value(measured(folder, reference), "performance", "log_loss", "value")
    assert 500 < few["rows"] / few["coverage"] < 1000  # half of a day's 1500
    assert few["coverage"] == pytest.approx(0.75, abs=0.05)
    assert few == value(measured(folder, reference), "performance", "log_loss", "value")
    assert content.height == 3000


def test_what_is_expected_of_calibrated_scores_comes(tmp_path, reference):
    content = rows(20_000, seed=4)
    write(tmp_path, content, size=20_000)
    before = measured(tmp_path, reference)
    assert before.table.filter(kind="performance").height == 0
    assert "no outcome has been imported" in before.unmeasured[0]
    write_outcomes(tmp_path, content)
    after = measured(tmp_path, reference, metrics=("roc_auc", "log_loss", "brier", "accuracy"))
    for name in ("roc_auc", "log_loss", "brier", "accuracy"):
        estimate, came = (value(after, kind, name, "value") for kind in ("estimate", "performance"))
        assert came["low"] < estimate["value"] < came["high"]
        off = value(after, "estimate", name, "error")
        assert (off["value"], off["coverage"]) == (estimate["value"] - came["value"], 1)
    assert value(before, "estimate", "roc_auc", "value") | {"reference": None} == (
        value(after, "estimate", "roc_auc", "value") | {"reference": None}
    )


@pytest.mark.parametrize("base", [0.01, 0.3])
def test_an_estimate_is_the_mean_over_all_outcomes(base):
    """Of scores that mean twice their odds, by the calibration: the mean metric of many draws of the outcomes."""
    random = np.random.default_rng(0)
    scores = np.clip(random.beta(base * 5, (1 - base) * 5, 2000), 1e-9, 1 - 1e-9)
    chances = 2 * scores / (1 + scores)
    expected = Expected([Calibration(np.array([0.5]), np.array([np.log(2)]))])
    for part in np.array_split(scores[:, None], 3):
        expected.add(part)
    draws = random.random((100, 2000)) < chances
    found = dict(expected.measured())
    areas = [roc_auc_score(draw, scores) for draw in draws]
    assert found["roc_auc"] == pytest.approx(np.mean(areas), abs=4 * np.std(areas) / 10 + 1e-3)
    losses = [log_loss(draw, scores) for draw in draws]
    assert found["log_loss"] == pytest.approx(np.mean(losses), abs=4 * np.std(losses) / 10)
    squares = np.square(draws - scores).mean(axis=1)
    assert found["brier"] == pytest.approx(squares.mean(), abs=4 * squares.std() / 10)


def test_estimates_of_several_classes_are_of_all_their_scores():
    scores = np.random.default_rng(0).dirichlet([1, 2, 3], 500)
    expected = Expected([Calibration(np.array([0.5]), np.array([0.0]))] * 3)
    expected.add(scores)
    found = dict(expected.measured())
    assert found["log_loss"] == pytest.approx(-(scores * np.log(scores)).sum(axis=1).mean())
    assert found["brier"] == pytest.approx(1 - np.square(scores).sum(axis=1).mean())
    assert found["accuracy"] == pytest.approx(scores.max(axis=1).mean())
    assert "roc_auc" not in found


def judged(task, classes, outcome, scores, metrics):
    """What is measured of rows, beside a reference that they are themselves, as it is read from its file."""
    data = Dataset(pl.DataFrame({"label": outcome}), Schema((), "label", "UTC", task, classes))
    content = stored.histograms(data, scores) | stored.outcomes(data, scores, {"all": {"all": Slice(len(scores), {})}})
    names = [f"score_{name}" for name in classes] or ["score"]
    frame = pl.DataFrame(scores, schema=names).with_columns(
        pl.Series("outcome", outcome), cluster=pl.int_range(pl.len()).cast(pl.String)
    )
    reference = files.parse_json(files.canonical_json(content))
    found = Judge(reference, task, classes, metrics, ()).measured(frame)
    return {(row["kind"], row["subject"], row["measure"]): row for row in found}


def test_of_several_classes_each_has_its_share_and_its_calibration():
    """The classes are not in the order of the alphabet, in which a file has them."""
    random, classes = np.random.default_rng(0), ("late", "early", "cancelled")
    scores = random.dirichlet([4, 2, 1], 3000)
    codes = (scores.cumsum(axis=1) < random.random((3000, 1))).sum(axis=1)
    found = judged("multiclass", classes, np.array(classes)[codes], scores, ("log_loss", "roc_auc_ovr"))
    for code, name in enumerate(classes):
        share = found["outcome", name, "share"]
        assert share["value"] == pytest.approx((codes == code).mean()) == share["reference"]
        error = found["calibration", f"score_{name}", "error"]
        assert error["value"] == pytest.approx(error["reference"], abs=1e-4)
    assert found["performance", "log_loss", "value"]["value"] == pytest.approx(log_loss(codes, scores))
    assert found["outcome", "outcome", "psi"]["value"] == pytest.approx(0, abs=1e-9)


def test_of_a_number_the_mean_and_its_histogram_are_compared():
    random = np.random.default_rng(0)
    scores = random.normal(10, 2, 2000)
    labels = scores + random.normal(0.5, 1, 2000)
    found = judged("regression", (), labels, scores, ("mae",))
    mean = found["outcome", "outcome", "mean"]
    assert mean["value"] == pytest.approx(labels.mean(), rel=1e-5) == mean["reference"]
    assert found["calibration", "score", "in_the_large"]["value"] == pytest.approx((scores - labels).mean())
    assert found["outcome", "outcome", "psi"]["value"] == pytest.approx(0, abs=1e-9)
    assert found["performance", "mae", "value"]["value"] == pytest.approx(np.abs(scores - labels).mean())


def test_of_quantiles_the_loss_and_the_coverage_are_measured():
    random, names = np.random.default_rng(0), ("q10", "q50", "q90")
    middle = random.normal(10, 2, 2000)
    scores = middle[:, None] + np.array([-1.0, 0.0, 1.0])
    labels = middle + random.normal(0.5, 1, 2000)
    found = judged("quantile", names, labels, scores, ("pinball", "coverage"))
    inside = np.mean((scores[:, 0] <= labels) & (labels <= scores[:, 2]))
    assert found["performance", "coverage", "value"]["value"] == pytest.approx(inside)
    losses = [mean_pinball_loss(labels, of, alpha=q) for of, q in zip(scores.T, (0.1, 0.5, 0.9), strict=True)]
    assert found["performance", "pinball", "value"]["value"] == pytest.approx(np.mean(losses))
    assert found["outcome", "outcome", "mean"]["value"] == pytest.approx(labels.mean())
    low = found["calibration", "score_q10", "in_the_large"]
    assert low["value"] == pytest.approx((scores[:, 0] - labels).mean()) == pytest.approx(low["reference"], rel=1e-4)


def test_equal_scores_rank_half_of_their_pairs_rightly():
    expected = Expected([Calibration(np.array([0.5]), np.array([0.0]))])
    expected.add(np.full((100, 1), 0.3))
    assert dict(expected.measured())["roc_auc"] == 0.5
