import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from trunkline.core.arrays import Floats
from trunkline.core.errors import UserError
from trunkline.pipeline.evaluate.metrics import kinds, registry
from trunkline.pipeline.evaluate.metrics.kinds import Sample, measure, point
from trunkline.pipeline.evaluate.metrics.registry import named

BINARY = registry.REGISTRY["binary"]

ALL = list(BINARY.values())
JUDGES: dict[str, Callable[..., float]] = {
    "roc_auc": sklearn_metrics.roc_auc_score,
    "average_precision": sklearn_metrics.average_precision_score,
    "log_loss": lambda y, p, sample_weight: sklearn_metrics.log_loss(y, p, sample_weight=sample_weight, labels=[0, 1]),
    "brier": sklearn_metrics.brier_score_loss,
    "accuracy": lambda y, p, sample_weight: sklearn_metrics.accuracy_score(y, p > 0.5, sample_weight=sample_weight),
    "base_rate": lambda y, p, sample_weight: np.average(y, weights=sample_weight),
    "mean_score": lambda y, p, sample_weight: np.average(p, weights=sample_weight),
}

# Few distinct values make ties; the others are where a naive formula breaks.
SCORES = st.sampled_from([0.0, 5e-324, 1e-17, 0.25, 0.5, np.nextafter(0.5, 1), 0.75, 1 - 2**-53, 1.0]) | st.floats(0, 1)
ROWS = st.lists(st.tuples(st.integers(0, 1), SCORES, st.integers(0, 3)), min_size=2, max_size=40)


def sample_of(rows: list[tuple[int, float, int]]) -> Sample:
    labels, scores, clusters = zip(*rows, strict=True)
    return Sample(np.array(labels, dtype=np.int8), np.array(scores), np.array(clusters))


def judged(labels: np.ndarray, scores: Floats, weights: np.ndarray) -> list[float]:
    return [JUDGES[name](labels, scores, sample_weight=weights) for name in BINARY]


@given(rows=ROWS, counts=st.lists(st.integers(0, 5), min_size=4, max_size=4))
def test_every_metric_equals_scikit_learn_unweighted_and_weighted(
    rows: list[tuple[int, float, int]], counts: list[int]
) -> None:
    sample = sample_of(rows)
    weights = np.array(counts)[sample.clusters]
    assume(len(set(sample.labels)) == 2)
    assert point(ALL, sample) == pytest.approx(judged(sample.labels, sample.scores, np.ones(len(rows))), abs=1e-12)
    assume(len(set(sample.labels[weights > 0])) == 2)
    found = measure(ALL, sample, np.array([counts]))[:, 0]
    assert found == pytest.approx(judged(sample.labels, sample.scores, weights), abs=1e-12)


@given(rows=ROWS, counts=st.lists(st.integers(0, 5), min_size=4, max_size=4))
def test_a_weight_is_the_number_of_times_a_row_is_there(rows: list[tuple[int, float, int]], counts: list[int]) -> None:
    sample = sample_of(rows)
    repeated = np.repeat(np.arange(len(rows)), np.array(counts)[sample.clusters])
    found = measure(ALL, sample, np.array([counts]))[:, 0]
    assert found == pytest.approx(point(ALL, sample.part(repeated)), abs=1e-12, nan_ok=True)


def test_many_resamples_at_once_give_the_bits_of_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    sample = Sample(
        generator.integers(0, 2, 997).astype(np.int8),
        generator.random(997).round(2),
        generator.integers(0, 9, 997),
    )
    counts = generator.integers(0, 4, (50, 9))
    together = measure(ALL, sample, counts)
    monkeypatch.setattr(kinds, "_BLOCK", 3000)
    np.testing.assert_array_equal(measure(ALL, sample, counts), together)
    np.testing.assert_array_equal(measure(ALL, sample, counts[7:8])[:, 0], together[:, 7])


def test_constant_scores_rank_nothing() -> None:
    labels = np.array([0, 1, 1, 0, 0], dtype=np.int8)
    sample = Sample(labels, np.full(5, 0.3), np.zeros(5, dtype=np.int64))
    assert point([named("roc_auc", "binary"), named("average_precision", "binary")], sample) == pytest.approx(
        [0.5, 0.4]
    )


@pytest.mark.parametrize(
    ("labels", "undefined"),
    [
        ([], set(BINARY)),
        ([0, 0], {"roc_auc", "average_precision"}),
        ([1, 1], {"roc_auc"}),
        ([0, 1], set()),
    ],
)
def test_what_is_not_defined_is_nan(labels: list[int], undefined: set[str]) -> None:
    n = len(labels)
    sample = Sample(np.array(labels, dtype=np.int8), np.linspace(0, 1, n), np.zeros(n, dtype=np.int64))
    found = dict(zip(BINARY, measure(ALL, sample, np.array([[1], [0]])), strict=True))
    assert {name for name, (once, _) in found.items() if np.isnan(once)} == undefined
    assert all(np.isnan(never) for _, never in found.values())


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1e-9, 1.0000001])
def test_a_score_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(
        UserError, match=r"1 of 3 rows have a wrong score: .* \(row 1, counted from 0\); .* from 0 to 1"
    ):
        Sample(np.zeros(3, dtype=np.int8), np.array([0.1, wrong, 0.2]), np.zeros(3, dtype=np.int64))


def test_a_label_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="wrong label: 2"):
        Sample(np.array([0, 2], dtype=np.int8), np.array([0.1, 0.2]), np.zeros(2, dtype=np.int64))


def test_a_misspelled_metric_gives_the_nearest() -> None:
    with pytest.raises(UserError, match=r"^evaluation\.metrics: no metric 'roc_acu'; did you mean 'roc_auc'\?$"):
        named("roc_acu", "binary")


def test_the_names_are_known_without_a_heavy_import() -> None:
    code = "import sys; from trunkline.pipeline.evaluate.metrics import registry"
    code += "; print({'sklearn', 'polars', 'duckdb', 'scipy'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
