"""A score that moves the wrong way is seen wherever it does, and the bundle itself is asked."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from tests.evidences import INPUTS, gates, made
from trunkline.conf.model import Model
from trunkline.core.arrays import Floats
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.features import Feature
from trunkline.pipeline.champion.scorer import scorer
from trunkline.pipeline.gate import monotonic
from trunkline.pipeline.gate import verdicts as gate_verdicts
from trunkline.pipeline.gate.evidence import Evidence
from trunkline.pipeline.reports import Verdict
from trunkline.pipeline.train import fit, modelfile

RULE = {"kind": "monotonic", "features": {"hour": 1}}


def by(score: Callable[[pl.DataFrame], Floats]) -> Evidence:
    """Evidence of a bundle that scores so."""
    return replace(made(), bundle=replace(made().bundle, score=score))


def judged(evidence: Evidence, **rule: Any) -> list[Verdict]:
    return gate_verdicts.judge(gates({"later": RULE | rule}), evidence)


def hours(features: pl.DataFrame) -> Floats:
    return features["hour"].to_numpy()


@pytest.mark.parametrize(
    ("score", "direction", "answer"),
    [
        (hours, 1, "pass"),
        (hours, -1, "fail"),
        (lambda rows: -hours(rows), -1, "pass"),
        (lambda rows: np.zeros(len(rows)), 1, "pass"),  # nor does it fall
        (lambda rows: np.where(hours(rows) > 7.5, 1.0, hours(rows)), 1, "fail"),  # beyond all rows, within the contract
        (lambda rows: hours(rows) - 3 * (rows["carrier"] == "UA").to_numpy() * (hours(rows) > 1), 1, "fail"),
        (lambda rows: hours(rows) * np.where(rows["wind"].is_null(), -1e-6, 1), 1, "fail"),  # of few rows, and little
    ],
)
def test_it_is_right_about_the_direction(score: Any, direction: int, answer: str) -> None:
    [verdict] = judged(by(score), features={"hour": direction})
    assert (verdict.verdict, verdict.slice, verdict.blocking) == (answer, "hour", True)
    assert (verdict.observed > verdict.threshold) == (answer == "fail")


def test_many_falls_that_are_small_add_up_and_the_reason_says_where() -> None:
    [verdict] = judged(by(lambda rows: -hours(rows) / 1000), tolerance=0.01)
    assert "falls by 0.016, from 0.008 to -0.008, as hour grows alone from -8 to 8, in row 0" in verdict.reason
    assert judged(by(lambda rows: -hours(rows) / 1000), tolerance=0.02)[0].verdict == "pass"


def changed(**fields: Any) -> Any:
    return msgspec.structs.replace(INPUTS["hour"], **fields)


def test_steps_are_of_the_contract_and_of_the_rows() -> None:
    trained = pl.Series([1.0, 2.0, None, 2.0, 4.0])
    assert monotonic.steps(INPUTS["wind"], trained, 3).tolist() == [1, 2, 2.5, 4]
    whole = changed(type="integer", min=0, max=23)
    assert monotonic.steps(whole, trained, 3).tolist() == [0, 1, 2, 4, 12, 23]
    assert monotonic.steps(changed(allowed=[3, 1]), trained, 3).tolist() == [1, 3]
    [verdict] = judged(replace(made(), bundle=replace(made().bundle, inputs={"hour": changed(max=-8)})))
    assert (verdict.verdict, "cannot move" in verdict.reason) == ("fail", True)


@pytest.mark.parametrize(
    "score", [lambda rows: np.where(hours(rows) > 2, np.nan, 0.5), lambda rows: np.full((len(rows), 3), 1 / 3)]
)
def test_what_is_no_single_number_cannot_be_judged(score: Any) -> None:
    [verdict] = judged(by(score))
    assert (verdict.verdict, verdict.reason[:16]) == ("fail", "cannot be judged")


@pytest.mark.parametrize("constraint", [{"hour": 1}, {}])
def test_a_model_is_asked_whatever_its_runtime_is(tmp_path, constraint: dict[str, int]) -> None:
    """Of a pipeline that needs scikit-learn here: learnt with the constraint, or as the rows happen to be."""
    evidence = made()
    features = (Feature("hour", "numeric"), Feature("wind", "numeric"))
    frame = evidence.inputs.features.select("hour", "wind").with_columns(late=pl.Series(evidence.labels))
    rows = Dataset(frame, Schema(features, "late", "UTC"))
    declared = {
        "_target_": "sklearn.ensemble.HistGradientBoostingClassifier",
        "max_iter": 20,
        "monotonic_cst": constraint,
    }
    pipeline = fit.fit(rows, Model.parse(declared), 1)
    modelfile.save(pipeline, tmp_path / "model.skops")
    [verdict] = judged(by(scorer(tmp_path)))
    assert verdict.verdict == ("pass" if constraint else "fail"), verdict.reason
