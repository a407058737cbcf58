"""What is judged again in one process is measured once, and again as soon as any file of it has another byte."""

import pytest

from trunkline.conf.evaluation import Evaluation
from trunkline.core import paths
from trunkline.pipeline.gate import recompute
from trunkline.pipeline.reports import MEASURED

FILES = [
    *MEASURED,
    paths.FEATURES / "holdout.parquet",
    paths.PREDICTIONS / "holdout.parquet",
    paths.RIVAL_SCORES,
    paths.CHAMPION / "scores.parquet",
    paths.BUNDLE / "model.onnx",
]


@pytest.fixture
def measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in FILES:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    calls = []
    monkeypatch.setattr(recompute, "_measured", lambda *given: calls.append(given) or len(calls))
    monkeypatch.setattr(recompute, "_last", {})
    return calls


DECLARED = Evaluation(metrics=("roc_auc",))


def test_the_same_files_are_measured_once(measured):
    assert [recompute._measure(DECLARED, 1) for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_another_byte_of_any_file_is_measured_again(measured, path):
    recompute._measure(DECLARED, 1)
    path.write_text("[]")
    assert recompute._measure(DECLARED, 1) == 2
    path.rename(path.with_name("other"))
    assert recompute._measure(DECLARED, 1) == 3


def test_another_declaration_or_seed_is_measured_again(measured):
    recompute._measure(DECLARED, 1)
    assert recompute._measure(DECLARED, 2) == 2
    assert recompute._measure(Evaluation(metrics=("log_loss",)), 2) == 3
