"""Whatever the labels and the metric: where there is no value, there is a reason that names what is absent."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.core.tasks import CLASSES as SEVERAL
from trunkline.core.tasks import Task
from trunkline.pipeline.evaluate import undefined
from trunkline.pipeline.evaluate.metrics.kinds import Sample, point
from trunkline.pipeline.evaluate.metrics.registry import REGISTRY, named

CLASSES = ("first", "second", "third")
LABELS: dict[Task, Any] = {
    "binary": st.integers(0, 1),
    "multiclass": st.integers(0, 2),
    "ordinal": st.integers(0, 2),
    "regression": st.sampled_from([0.0, 1.5, -3.0]),
    "count": st.sampled_from([0, 2, 5]),
    "quantile": st.sampled_from([0.0, 1.5, -3.0]),
    "ranking": st.sampled_from([0, 2, 5]),
    "multilabel": st.sampled_from([0, 2, 5]),
}


def sample(task: Task, labels: list[Any]) -> Sample:
    rows, levels = len(labels), (0.1, 0.5, 0.9) if task == "quantile" else ()
    scores = np.full((rows, 3), 1 / 3) if task in (*SEVERAL, "quantile", "multilabel") else np.full(rows, 0.25)
    numbers = np.array(labels, dtype=float if task in ("regression", "quantile") else int)
    return Sample(numbers, scores, np.arange(rows), task, levels, naive_error=2.0)


def named_as_absent(task: Task, name: str, labels: list[Any]) -> list[str]:
    """What any reason must name, of a metric and some labels."""
    if not labels:
        return ["there is no row"]
    if task == "binary":
        return [f"none of {len(labels)} rows has the label {label}" for label in (1, 0) if label not in labels][:1]
    if task == "multilabel":
        sides = {name: {number >> place & 1 for number in labels} for place, name in enumerate(CLASSES)}
        return [f"the label '{name}'" for name, of in sides.items() if len(of) < 2]
    if name == "quadratic_kappa":
        return [f"all {len(labels)} labels are '{CLASSES[labels[0]]}'"]
    if task in SEVERAL:
        return [f"'{name}'" for place, name in enumerate(CLASSES) if place not in labels]
    return [f"all {len(labels)} labels are {labels[0]:g}"]


@pytest.mark.parametrize(("task", "name"), [(task, name) for task in REGISTRY for name in REGISTRY[task]])
@given(data=st.data())
def test_a_metric_without_a_value_says_why(task: Task, name: str, data: st.DataObject) -> None:
    labels = data.draw(st.lists(LABELS[task], max_size=6))
    metric, rows = named(name, task), sample(task, labels)
    if np.isfinite(point([metric], rows)[0]):
        return
    reason = undefined.reason(metric, rows, CLASSES if task in (*SEVERAL, "multilabel") else ())
    assert [part for part in named_as_absent(task, name, labels) if part not in reason] == []
    assert "data.window.holdout or data.split" in reason
