"""Plants leaks into evidence, for the self-test of the gates: features that know the label, rows known before, a jump.

What evidence cannot express is not planted: a target mean by an id that many rows share is as weak alone as an honest
feature, and shows only in a jump; and in a number's order, a pattern of missing values reaches 0.87 at most.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from trunkline.bundle.manifest import Identity
from trunkline.conf.gates import Evasion, Monotonic
from trunkline.core.arrays import Floats, happened
from trunkline.core.tasks import CLASSES, NUMERIC
from trunkline.pipeline.gate import distortions, monotonic
from trunkline.pipeline.gate.evidence import Evidence

PLANTED = "planted_leak"  # the name of the feature
NOISE = 0.3  # in units of the label's own step, or spread
UNSEEN = 0.05  # share of the rows whose later outcome is not found
WORSE = 0.7  # share of noise in production's scores, beside which a leaked one is a jump even of a very good model
TURNED = 2  # times the range of the scores
DWARFING = 20  # times all other importance


@dataclass(frozen=True)
class Leak:
    """Evidence with a leak in it, and the sign by which it has to be seen."""

    name: str
    sign: str
    evidence: Evidence


def leaks(good: Evidence, champion: Identity) -> Iterator[Leak]:
    """Yield each leak, planted into the evidence of a good model; `champion` is another that is in production."""
    yield from (Leak(name, "alone", _with(good, values)) for name, values in _features(good))
    inputs = good.inputs
    learnt = replace(inputs, trained=pl.concat([inputs.trained, inputs.features[::2]], how="vertical_relaxed"))
    yield Leak("rows of the holdout among the training rows", "repeated", replace(good, inputs=learnt))
    heavy = {**good.importances, PLANTED: DWARFING * max(1.0, sum(good.importances.values()))}
    yield Leak("a feature that dwarfs all others", "importance", replace(good, importances=heavy))
    leaked = distortions.leaked(good.scores, good.labels, good.task)
    worse = distortions.blended(good.scores, WORSE, np.random.default_rng(good.seed + 4), good.task)
    jumped = replace(good, scores=leaked, champion=champion, champion_scores=worse)
    yield Leak("a jump beyond production", "jump", jumped)


def turned(good: Evidence, feature: str, rule: Monotonic) -> Evidence:
    """Return a model whose score goes back over a part of a feature's range, by more than it moves elsewhere."""
    values = monotonic.steps(good.bundle.inputs[feature], good.inputs.trained[feature], rule.steps)
    ends = values[len(values) // 2 - 1], values[3 * len(values) // 4]
    back = rule.features[feature] * TURNED * float(np.ptp(good.scores))

    def score(features: pl.DataFrame) -> Floats:
        inside = features[feature].is_between(*ends, closed="right").fill_null(False).to_numpy()
        return good.bundle.score(features) - back * inside

    return replace(good, bundle=replace(good.bundle, score=score))


def memorised(good: Evidence) -> Evidence:
    """Return a model that knows the label of every training row, and scores others as before."""
    rows = good.inputs.trained.hash_rows()
    memory = pl.DataFrame({"row": rows, "label": good.members.labels}).unique("row", keep="first")

    def score(features: pl.DataFrame) -> Floats:
        scores, asked = good.bundle.score(features), pl.DataFrame({"row": features.hash_rows()})
        labels = asked.join(memory, on="row", how="left", maintain_order="left")["label"]
        remembered = distortions.leaked(scores, labels.fill_null(0).to_numpy(), good.task)
        return np.where(labels.is_not_null().to_numpy().reshape(-1, *[1] * (scores.ndim - 1)), remembered, scores)

    return replace(good, bundle=replace(good.bundle, score=score))


def brittle(good: Evidence, rule: Evasion) -> Evidence:
    """Return a model that decides otherwise in every other stripe of a feature, half of a declared move wide."""
    name, spread = min(rule.features.items())
    width = rule.within * spread / 2
    width = width if good.bundle.inputs[name].type == "number" else max(1.0, width)

    def score(features: pl.DataFrame) -> Floats:
        stripes = np.floor(features[name].fill_null(0).to_numpy() / width) % 2
        return np.eye(len(good.classes))[stripes.astype(np.int64)] if good.task in CLASSES else stripes

    return replace(good, bundle=replace(good.bundle, score=score))


def impressed(good: Evidence, share: float) -> Evidence:
    """Return a model that gives each flipped label to a row of the holdout: so many are as sure of another class."""
    count, poisoned = len(good.labels), good.scores.copy()
    rows = np.random.default_rng(good.seed + 5).choice(count, math.ceil(share * count), replace=False)
    others = (good.labels[rows] + 1) % max(2, len(good.classes))
    poisoned[rows] = distortions.leaked(good.scores[rows], others, good.task)
    return replace(good, poisoned_scores=poisoned)


def _features(good: Evidence) -> Iterator[tuple[str, Floats]]:
    random, rows = np.random.default_rng(good.seed + 3), len(good.labels)
    label = _label(good)
    step = float(label.std()) if good.task in NUMERIC else 1.0
    yield "the label as a feature", label
    yield "the label with noise", label + random.normal(0, NOISE * step, rows)
    outcome = label + step * random.uniform(0, 0.5, rows)  # such as minutes late, where the label is whether it is
    yield "a later outcome of the row itself", np.where(random.random(rows) < UNSEEN, np.nan, outcome)
    ids = random.integers(0, 4 * rows, rows)
    counts = np.bincount(ids)
    yield "the mean label of an id", (np.bincount(ids, label) / np.maximum(counts, 1))[ids]
    if good.task not in NUMERIC:
        values = random.normal(size=rows)
        yield "missing where it has not happened yet", np.where(label == label.max(), values, np.nan)


def _label(good: Evidence) -> Floats:
    """Return the label as a number; of several labels, that which the most nearly half of the rows have."""
    if good.task != "multilabel":
        return good.labels.astype(np.float64)
    has = happened(good.labels, len(good.classes), good.task)
    return np.asarray(has[:, np.abs(has.mean(axis=0) - 0.5).argmin()])


def _with(good: Evidence, values: Floats) -> Evidence:
    """Return evidence with one feature, since what one knows does not depend on the others."""
    planted = pl.DataFrame({PLANTED: values}).fill_nan(None)
    return replace(good, inputs=replace(good.inputs, features=planted, trained=planted.clear()))
