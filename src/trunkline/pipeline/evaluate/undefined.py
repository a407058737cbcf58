"""Why a metric is not defined on some rows, and what to do about it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trunkline.core.arrays import happened
from trunkline.core.tasks import CLASSES
from trunkline.pipeline.evaluate.metrics.kinds import Metric, RankArea, Sample

REMEDY = (
    "choose a holdout that has them (data.window.holdout or data.split), coarser evaluation.slices, "
    "or other evaluation.metrics"
)


def reason(metric: Metric, sample: Sample, classes: Sequence[str] = ()) -> str:
    """Return in one line why a metric has no value on a sample, and what to do; `classes` as for `cause`."""
    return f"{cause(metric, sample, classes)}; {REMEDY}"


def cause(metric: Metric, sample: Sample, classes: Sequence[str] = ()) -> str:
    """Return in a few words why a metric has no value on a sample, by its labels.

    `classes` are the names of the labels of multiclass and ordinal.
    """
    rows = len(sample.labels)
    if not rows:
        return "there is no row"
    if sample.task == "multilabel" and (alike := _alike(sample, classes)):
        return f"{alike}, and {metric.name} needs rows with and without it"
    if isinstance(metric, RankArea) and (absent := _absent(metric, sample.labels, classes)):
        return absent
    if not isinstance(metric, RankArea) and np.ptp(sample.labels) == 0:
        label = f"'{classes[int(sample.labels[0])]}'" if sample.task in CLASSES else f"{sample.labels[0]:g}"
        return f"all {rows} labels are {label}, and it needs different ones"
    return f"it is no finite number of these {rows} rows"


def _alike(sample: Sample, classes: Sequence[str]) -> str:
    """Name the labels that none of the rows, or every one, has, if there are any."""
    rates = happened(sample.labels, sample.scores.shape[1], sample.task).mean(axis=0).tolist()
    rows, names = len(sample.labels), classes or range(1, len(rates) + 1)
    said = ((f"none of {rows} rows has" if rate == 0 else f"all {rows} rows have", rate) for rate in rates)
    alike = [f"{what} the label '{name}'" for name, (what, rate) in zip(names, said, strict=True) if rate in (0, 1)]
    return " and ".join(alike)


def _absent(metric: Metric, labels: NDArray[Any], classes: Sequence[str]) -> str:
    """Name the classes that none of the rows is of, if there are any."""
    rows, there = len(labels), set(np.unique(labels).tolist())
    if not classes:
        absent_labels = [label for label in (1, 0) if label not in there]
        return (
            f"none of {rows} rows has the label {absent_labels[0]}, which {metric.name} needs" if absent_labels else ""
        )
    absent = [f"'{name}'" for number, name in enumerate(classes) if number not in there]
    if not absent:
        return ""
    kind = "class" if len(absent) == 1 else "classes"
    return f"none of {rows} rows is of the {kind} {', '.join(absent)}, and {metric.name} is a mean over all classes"
