"""Evidence of small models whose quality is known, for the tests of the gates."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from trunkline.bundle.contract import Input
from trunkline.bundle.manifest import Identity
from trunkline.conf.evaluation import WHOLE, Evaluation
from trunkline.conf.gates import Gates
from trunkline.pipeline.evaluate import slices as evaluate_slices
from trunkline.pipeline.evaluate.bootstrap import Resamples
from trunkline.pipeline.evaluate.drift import Shift
from trunkline.pipeline.gate.evidence import BundleModel, Evidence, Members
from trunkline.pipeline.gate.leaks import Inputs
from trunkline.pipeline.reports import MeasuredReports

ROWS, CLUSTERS, SEED = 6000, 30, 7
EVALUATION = Evaluation.parse(
    {
        "metrics": ["roc_auc", "log_loss", "brier"],
        "slices": {"origin": "origin", "carrier": "carrier"},
        "slice_min_rows": 100,
        "interval": {"cluster": "day", "resamples": 200},
    }
)
CHALLENGER = Identity("this commit", "c" * 64, "1" * 64, 1_000_000)
CHAMPION = Identity("flights@v3", "a" * 64, "2" * 64, 800_000)

INPUTS = {
    "carrier": Input(name="carrier", role="categorical", type="text", nullable=False, description=""),
    "hour": Input(name="hour", role="numeric", type="number", nullable=False, description="", min=-8, max=8),
    "wind": Input(name="wind", role="numeric", type="number", nullable=True, description=""),
}


def gates(rules: Mapping[str, Mapping[str, Any]], **more: Any) -> Gates:
    """Declared rules, judged with few resamples."""
    return Gates.parse({"resamples": 500, "rules": {name: dict(rule) for name, rule in rules.items()}} | more)


def made(noise: float = 0.0, **replaced: Any) -> Evidence:
    """A calibrated model without a champion; `noise` is added to its log-odds."""
    random = np.random.default_rng(SEED)
    clusters = np.repeat(np.arange(CLUSTERS), ROWS // CLUSTERS)
    odds = -1.0 + random.normal(0, 0.5, CLUSTERS)[clusters] + 1.2 * random.normal(size=ROWS)
    labels = (random.random(ROWS) < chance(odds)).astype(np.int8)
    places = random.choice(3, ROWS, p=[0.5, 0.49, 0.01])
    carriers = random.choice(2, ROWS, p=[0.3, 0.7])
    found = Evidence(
        reports=MeasuredReports.model_validate(REPORTS),
        challenger=CHALLENGER,
        champion=None,
        labels=labels,
        clusters=clusters,
        slices={
            "origin": {"EWR": np.flatnonzero(places == 0), "JFK": np.flatnonzero(places == 1)},
            "carrier": {name: np.flatnonzero(carriers == code) for code, name in enumerate(("AA", "UA"))},
        },
        scores=chance(odds + noise * random.normal(size=ROWS)),
        champion_scores=None,
        baseline_scores=chance(0.3 * odds - 0.8),
        seed_scores=tuple(chance(odds + 0.01 * random.normal(size=ROWS)) for _ in range(2)),
        shifts={"hour": Shift(0.01, 0.02), "wind": Shift(0.3, 0.2)},
        seed=SEED,
        inputs=Inputs(features(random, 0.5 * odds), features(random, odds), labels, "binary"),
        importances={"carrier": 0.1, "hour": 0.3, "wind": 0.2},
        members=Members(labels, clusters),
        bundle=BundleModel(INPUTS, lambda features: chance(features["hour"].fill_null(0).to_numpy())),
        poisoned_scores=chance(0.95 * odds),
    )
    return measured(replace(found, **replaced))


def features(random: np.random.Generator, known: Any) -> pl.DataFrame:
    """An honest feature, one that is sometimes missing, and a category."""
    return pl.DataFrame(
        {
            "carrier": random.choice(["AA", "UA"], len(known)),
            "hour": known + random.normal(size=len(known)),
            "wind": np.where(random.random(len(known)) < 0.1, np.nan, random.normal(size=len(known))),
        }
    ).with_columns(pl.col("wind").fill_nan(None))


def measured(evidence: Evidence) -> Evidence:
    """The same evidence with reports of its scores; LGA has too few rows to be measured."""
    sample, resamples = evidence.sample(evidence.scores), Resamples(CLUSTERS, 200, SEED)
    parts = {WHOLE: {WHOLE: np.arange(ROWS)}, **evidence.slices}
    slices: dict[str, dict[str, Any]] = {name: {} for name in parts}
    for name, values in parts.items():
        for label, places in values.items():
            found = evaluate_slices.estimates(sample.part(places), EVALUATION, resamples)
            metrics = {metric: {"value": one.value, "interval": one.interval} for metric, one in found.items()}
            slices[name][label] = {"n": len(places), "metrics": metrics}
    slices["origin"]["LGA"] = {"n": 57, "metrics": {}}
    content = evidence.reports.model_dump() | {"slices": slices}
    return replace(evidence, reports=MeasuredReports.model_validate(content))


def against(noise: float, **more: Any) -> Evidence:
    """The calibrated model, and a champion whose log-odds have `noise` added."""
    evidence = made()
    random = np.random.default_rng(SEED + 1)
    scores = chance(np.log(evidence.scores / (1 - evidence.scores)) + noise * random.normal(size=ROWS))
    return replace(evidence, champion=CHAMPION, champion_scores=scores, **more)


def chance(odds: Any) -> Any:
    """Probabilities of log-odds."""
    return 1 / (1 + np.exp(-odds))


REPORTS: dict[str, Any] = {
    "slices": {WHOLE: {WHOLE: {"n": ROWS, "metrics": {}}}},
    "dataset": {
        "source_rows": 9000,
        "unlabelled": 0,
        "windows": {
            "train": {"rows": 3000, "unlabelled": 0, "label_not_yet_known": 0, "base_rate": 0.3},
            "holdout": {"rows": ROWS, "unlabelled": 0, "label_not_yet_known": 0, "base_rate": 0.33},
        },
        "features": {"numeric": 2, "categorical": 0},
    },
    "validation": {
        "flights": {"rows": 9000, "quarantined": 90, "checks": {}},
        "weather": {"rows": 100, "quarantined": 0, "checks": {}},
    },
    "bundle": {"digest": "c" * 64, "runtime": "onnx", "reason": None, "parity": None, "bytes": 1_000_000},
}
