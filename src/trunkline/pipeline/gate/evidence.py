"""What the gates look at: the reports, and the scores of the same rows by every model that is compared.

Comparisons are made of rows, not of reported numbers, so that no score can be read from another model's report.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from trunkline.bundle.contract import Input, read_contract
from trunkline.bundle.manifest import CONTRACT, Identity, identify
from trunkline.conf.evaluation import WHOLE, Evaluation
from trunkline.conf.gates import BASELINE, POISONED, SEED
from trunkline.core import paths
from trunkline.core.arrays import Floats, Integers
from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError
from trunkline.core.files import parse_json
from trunkline.core.tasks import Task, levels
from trunkline.pipeline import reports as pipeline_reports
from trunkline.pipeline.champion import scorer
from trunkline.pipeline.champion.left import read_champion
from trunkline.pipeline.evaluate import drift
from trunkline.pipeline.evaluate import slices as evaluate_slices
from trunkline.pipeline.evaluate.drift import Shift
from trunkline.pipeline.evaluate.metrics.kinds import Sample
from trunkline.pipeline.gate.leaks import Inputs
from trunkline.pipeline.reports import MeasuredReports

Slices = Mapping[str, Mapping[str, Integers]]

REFERENCE, EXPLANATIONS = "reference.json", "explanations.json"


@dataclass(frozen=True, eq=False)
class BundleModel:
    """A bundle to ask: its inputs by name, and how it scores features (numeric Float64, categorical String)."""

    inputs: Mapping[str, Input]
    score: Callable[[pl.DataFrame], Floats]


@dataclass(frozen=True, eq=False)
class Members:
    """The labels and clusters of the training rows, in the order of their features.

    `baseline` are the scores of gates.baseline, of the training rows and of the holdout's; None where there is none.
    """

    labels: npt.NDArray[Any]
    clusters: Integers
    baseline: tuple[Floats, Floats] | None = None


@dataclass(frozen=True)
class Evidence:
    """All that rules look at; scores are of the holdout's rows, in their order, as labels and clusters are.

    `slices` are the places of the rows of each measured value of each slice; `challenger` is this commit's model, and
    `champion` None only where production has none: one that could not be fetched has ended the stage that fetches it.
    `inputs` are what the model reads, `importances` what it leans on, `members` the rows that it was trained on, and
    `bundle` is the model itself; `poisoned_scores` are of the same model, fitted to flipped labels.
    """

    reports: MeasuredReports
    challenger: Identity
    champion: Identity | None
    labels: npt.NDArray[Any]
    clusters: Integers
    slices: Slices
    scores: Floats
    champion_scores: Floats | None
    baseline_scores: Floats | None
    seed_scores: tuple[Floats, ...]
    shifts: Mapping[str, Shift]
    seed: int
    inputs: Inputs
    importances: Mapping[str, float]
    members: Members
    bundle: BundleModel
    task: Task = "binary"
    classes: tuple[str, ...] = ()
    naive: str | None = None
    naive_error: float | None = None
    poisoned_scores: Floats | None = None

    def sample(self, scores: Floats, places: Integers | None = None) -> Sample:
        """Return scores with the labels of their rows.

        Raises UserError for scores of other rows, or one that is no probability.
        """
        if len(scores) != len(self.labels):
            raise UserError(f"{len(scores)} scores for {len(self.labels)} rows of the holdout")
        expected = (len(self.labels), *([len(self.classes)] if self.classes else []))
        if scores.shape != expected:
            raise UserError(f"scores of shape {scores.shape} for a holdout of {expected}: they are another model's")
        declared = levels(self.task, self.classes)
        whole = Sample(self.labels, scores, self.clusters, self.task, declared, self.naive_error)
        return whole if places is None else whole.part(places)


def read(declared: Evaluation, seed: int) -> Evidence:
    """Gather what the stages before have left; raises UserError where files do not belong together."""
    reports = MeasuredReports.parse(pipeline_reports.read(Path(), pipeline_reports.MEASURED))
    holdout = Dataset.read("holdout")
    whole, _ = evaluate_slices.clustered(holdout, _predicted(holdout), declared.interval.cluster)
    if reports.slices[WHOLE][WHOLE].n != len(whole.labels):
        raise UserError(f"{paths.SLICES}: is of another holdout than {paths.FEATURES}; run: dvc repro")
    train = Dataset.read("train")
    rivals, (champion, champion_scores) = pl.read_parquet(paths.RIVAL_SCORES), read_champion()
    return Evidence(
        reports=reports,
        challenger=identify("this commit", paths.BUNDLE),
        champion=champion,
        labels=whole.labels,
        clusters=whole.clusters,
        slices=_slices(holdout, declared),
        scores=whole.scores,
        champion_scores=champion_scores,
        baseline_scores=_scores(rivals, BASELINE) if BASELINE in rivals.columns else None,
        seed_scores=tuple(_scores(rivals, name) for name in rivals.columns if name.startswith(SEED)),
        shifts=drift.shifts(_of_bundle(REFERENCE), holdout.features),
        seed=seed,
        inputs=Inputs(holdout.features, train.features, whole.labels, holdout.schema.task),
        importances=_of_bundle(EXPLANATIONS)["shap"]["mean_absolute"],
        members=_members(train, declared.interval.cluster, rivals),
        bundle=_bundle(),
        task=holdout.schema.task,
        classes=holdout.schema.classes,
        naive=holdout.schema.naive,
        naive_error=holdout.schema.naive_error,
        poisoned_scores=_scores(rivals, POISONED) if POISONED in rivals.columns else None,
    )


def _of_bundle(name: str) -> Any:
    return parse_json((paths.BUNDLE / name).read_text(encoding="utf-8"))


def _members(train: Dataset, cluster: str | None, rivals: pl.DataFrame) -> Members:
    trained = pl.read_parquet(paths.RIVAL_MEMBERS)
    baseline = (_scores(trained, BASELINE), _scores(rivals, BASELINE)) if BASELINE in trained.columns else None
    return Members(train.label.to_numpy(), evaluate_slices.clusters(train, cluster)[0], baseline)


def _bundle() -> BundleModel:
    """Return the bundle, loaded when it is first asked for a score: few rules do."""
    content = (paths.BUNDLE / CONTRACT).read_bytes()
    load = cache(partial(scorer.scorer, paths.BUNDLE))

    def score(features: pl.DataFrame) -> Floats:
        return load()(features)

    return BundleModel({field.name: field for field in read_contract(paths.BUNDLE, content).inputs}, score)


def _predicted(holdout: Dataset) -> Floats:
    """Return the evaluated model's scores, if they are of these rows."""
    predictions = pl.read_parquet(paths.PREDICTIONS / "holdout.parquet")
    request = predictions.columns[: -len(holdout.schema.scores)]
    if not predictions.select(request).equals(holdout.frame.select(request)):
        raise UserError(f"{paths.PREDICTIONS}: is of other rows than {paths.FEATURES}; run: dvc repro")
    return evaluate_slices.scores_of(predictions, holdout.schema.scores)


def _scores(frame: pl.DataFrame, name: str) -> Floats:
    return frame[name].to_numpy().astype(np.float64)


def _slices(holdout: Dataset, declared: Evaluation) -> Slices:
    slices: dict[str, dict[str, Integers]] = {name: {} for name in declared.slices}
    for name, label, places in evaluate_slices.parts(holdout, declared):
        if name != WHOLE and len(places) >= declared.slice_min_rows:
            slices[name][label] = places
    return slices
