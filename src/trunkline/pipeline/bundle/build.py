"""Builds the bundle of an evaluated model: the graph if it proves to be exact, and all that serving needs beside it.

The graph is compared as it will run, loaded from a folder with its manifest. If the estimator has no exact graph, or
the graph's scores are not the pipeline's, the bundle holds the pipeline itself and says so.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import numpy as np
import polars as pl
from sklearn.pipeline import Pipeline

from trunkline.bundle import columns, golden
from trunkline.bundle.contract import Contract, Decision, Input
from trunkline.bundle.manifest import CONTRACT, GOLDEN, MANIFEST, MODELS, BundleError, Manifest
from trunkline.bundle.runtime import Bundle
from trunkline.bundle.schema import request_schema
from trunkline.conf.bundle import Packaging
from trunkline.conf.contract import Contract as DeclaredContract
from trunkline.conf.data import Data
from trunkline.conf.evaluation import Evaluation
from trunkline.conf.features import Features
from trunkline.conf.model import Model
from trunkline.conf.origins import Origins
from trunkline.conf.privacy import PERSONAL
from trunkline.core import files
from trunkline.core.arrays import Floats
from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.core.values import duration_text
from trunkline.pipeline.bundle import card, fitted, private, raw
from trunkline.pipeline.bundle import inputs as bundle_inputs
from trunkline.pipeline.bundle import parity as bundle_parity
from trunkline.pipeline.bundle.explain import picture
from trunkline.pipeline.bundle.explain.explain import Explanations
from trunkline.pipeline.bundle.onnx import ensemble, export
from trunkline.pipeline.evaluate import reference
from trunkline.pipeline.evaluate.estimate import Decided
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.features import compiler
from trunkline.pipeline.features.plan import FeaturePlan
from trunkline.pipeline.reports import BundleReport as Report
from trunkline.pipeline.reports import Evaluated
from trunkline.pipeline.train import choice, fit

FEATURES, REFERENCE, CARD = "features.json", "reference.json", "card.md"
EXPLANATIONS, PICTURE = "explanations.json", "explanations.svg"


@dataclass(frozen=True)
class Declaration:
    """What conf/ says of the model."""

    name: str
    seed: int
    data: Data
    contract: DeclaredContract
    features: Features
    model: Model
    evaluation: Evaluation
    packaging: Packaging

    @classmethod
    def of(cls, params: Params) -> Self:
        """Take it from params.yaml, with the model that a search chose; raises UserError for a wrong group."""
        return cls(
            name=params.name,
            seed=params.seed,
            data=params.group(Data),
            contract=params.group(DeclaredContract),
            features=params.group(Features),
            model=choice.trained(params.group(Model)),
            evaluation=params.group(Evaluation),
            packaging=params.group(Packaging),
        )

    @cached_property
    def plan(self) -> FeaturePlan:
        """The compiled feature plan."""
        return compiler.plan(self.features, self.data, self.contract)

    @cached_property
    def origins(self) -> Origins:
        """The columns that features and slices are made of."""
        return Origins(self.contract, self.data, self.features)

    def shown(self, reports: Evaluated) -> Evaluated:
        """Return reports without slices by personal columns."""
        declared = self.evaluation.slices
        kept = {
            name: parts
            for name, parts in reports.slices.items()
            if name not in declared or self.origins.privacy(self.origins.of_request(declared[name])) not in PERSONAL
        }
        return reports.model_copy(update={"slices": kept})


@dataclass(frozen=True)
class EvaluatedModel:
    """The fitted pipeline, its rows, and how it was measured and explained."""

    pipeline: Pipeline
    skops: bytes  # the pipeline as a file
    train: Dataset
    holdout: Dataset
    scores: Floats  # of the holdout, by the pipeline
    reports: Evaluated
    explanations: Explanations


@dataclass(frozen=True)
class Graph:
    """The model as a bundle holds it: its runtime, its file, and how its scores compare with the pipeline's."""

    runtime: Literal["onnx", "sklearn"]
    content: bytes
    parity: bundle_parity.Comparison | None
    reason: str | None  # why the runtime is not onnx


def build(
    declared: Declaration, measured: EvaluatedModel, folder: Path
) -> tuple[Report, bundle_parity.Comparison | None]:
    """Write the bundle's folder, whole or not at all; return what reports/bundle.json says, and the comparison.

    Raises UserError for a holdout whose rows the bundle's own contract would refuse.
    """
    contract = request_contract(declared, measured.train, measured.reports.decision.decided)
    check_holdout(measured.holdout, contract)
    with _folder(folder) as aside:
        graph = choose_graph(declared, measured, contract, aside)
        _write_parts(aside, declared, measured, contract, graph)
        digest = _seal(aside, declared, measured, graph.runtime)
        if graph.runtime == "onnx":
            golden.check(aside, Bundle.load(aside).score, declared.packaging.tolerance)
        report = Report(
            digest=digest,
            runtime=graph.runtime,
            reason=graph.reason,
            parity=graph.parity.report() if graph.parity else None,
            bytes=sum(path.stat().st_size for path in aside.iterdir()),
        )
    return report, graph.parity


def request_contract(declared: Declaration, train: Dataset, decided: Decided | None) -> Contract:
    """Return the contract of a request to the model, with the categories that its training rows have."""
    texts = train.features.select(train.schema.of_role("categorical"))
    words = declared.model.preprocess.text
    without = declared.origins.personal_features | set(() if words is None else words.features)
    levels = {
        column.name: column.drop_nulls().unique().cast(pl.String).sort().to_list()
        for column in texts
        if column.name not in without
    }
    inputs = [
        msgspec.structs.replace(field, levels=levels[field.name]) if field.name in levels else field
        for field in bundle_inputs.inputs(declared.features, declared.plan, declared.contract, declared.data.sources)
    ]
    return Contract(
        label=declared.data.target.name,
        classes=list(declared.data.target.class_names),
        on_bad_row=declared.packaging.on_bad_row,
        inputs=inputs,
        request=request_schema(inputs),
        decision=Decision(threshold=decided.chosen.threshold, costs=decided.costs) if decided else None,
    )


def check_holdout(holdout: Dataset, contract: Contract) -> None:
    """Raise UserError if a row that the model was measured on would be refused when it is served."""
    rows = _requests(holdout)
    breaches = columns.check_rows(rows.to_arrow(), contract).breaches
    for breach in breaches:
        row = int(breach.rows.argmax())
        raise UserError(
            f"data/features/holdout.parquet: row {row}: {breach.field}: {breach.words} ({rows[breach.field][row]!r}), "
            "by what conf/contract and conf/features say of it: correct them"
        )


def choose_graph(declared: Declaration, measured: EvaluatedModel, contract: Contract, folder: Path) -> Graph:
    """Return the exact graph, or the pipeline with the reason why there is none; `folder` is left empty."""
    compared, reason = None, None
    try:
        graph = export.export(measured.pipeline, measured.train.schema)
        compared = _compare(declared, measured, contract, graph, folder)
    except ensemble.NotCovered as error:
        reason = str(error)
    except BundleError as error:
        reason = f"the exported graph does not load ({error})"
    else:
        if compared.holds(declared.packaging.tolerance):
            return Graph("onnx", graph, compared, None)
        reason = _difference(compared, declared.packaging.tolerance)
    return Graph("sklearn", measured.skops, compared, reason)


def _difference(compared: bundle_parity.Comparison, tolerance: float) -> str:
    """Return how far a graph's scores are from the pipeline's, and what can be done."""
    remedy = "" if compared.flips else f"raise bundle.tolerance ({tolerance:g}) if so much does not matter, or "
    return (
        f"the exported graph's scores differ by up to {compared.difference:.3g}, "
        f"with {compared.flips} label flips on {compared.rows} rows; {remedy}choose another estimator or preprocessing "
        "in conf/model"
    )


def _compare(
    declared: Declaration, measured: EvaluatedModel, contract: Contract, graph: bytes, folder: Path
) -> bundle_parity.Comparison:
    """Load the graph as serving does, and compare its scores with the pipeline's."""
    _write_model(folder, contract, "onnx", graph)
    _seal(folder, declared, measured, "onnx")
    try:
        bundle, schema = Bundle.load(folder), measured.train.schema
        odd = bundle_parity.adversarial(
            measured.train, measured.holdout, export.thresholds(measured.pipeline, schema), declared.seed
        )
        expected = partial(fit.scores, measured.pipeline)
        actual = partial(columns.graph_scores, bundle)
        return bundle_parity.compare(expected, actual, measured.holdout.features, odd, schema.task)
    finally:
        for path in folder.iterdir():
            path.unlink()


def golden_rows(declared: Declaration, measured: EvaluatedModel, inputs: Sequence[Input]) -> list[dict[str, Any]]:
    """Return requests with their scores, from the lowest to the highest score in equal steps of the rank.

    Of several classes, the score is that of each by its name, and the rank that of the first one's. Personal values are
    replaced, and such requests scored again.
    """
    holdout, scores, count = measured.holdout, measured.scores, declared.packaging.golden_rows
    order, classes = np.argsort(scores if scores.ndim == 1 else scores[:, 0], kind="stable"), holdout.schema.classes
    places = order[np.unique(np.linspace(0, len(order) - 1, count).round().astype(np.int64))]
    rows, of_rows, personal = (
        replace(holdout, frame=holdout.frame[places]),
        scores[places],
        declared.origins.personal_features,
    )
    if personal:
        rows = private.replaced(rows, measured.train, inputs, personal)
        of_rows = fit.scores(measured.pipeline, rows.features)
    named_scores = [dict(zip(classes, row, strict=True)) for row in of_rows.tolist()] if classes else of_rows.tolist()
    requests = _requests(rows).to_dicts()
    return [{"request": row, "score": score} for row, score in zip(requests, named_scores, strict=True)]


def _requests(dataset: Dataset) -> pl.DataFrame:
    """Return the features as a request has them: numbers in their own type, categories as texts."""
    categorical = dataset.schema.of_role("categorical")
    return dataset.frame.select(dataset.schema.names).with_columns(dataset.features.select(categorical))


def _write_parts(
    folder: Path, declared: Declaration, measured: EvaluatedModel, contract: Contract, graph: Graph
) -> None:
    _write_model(folder, contract, graph.runtime, graph.content)
    personal = declared.origins.personal_features
    exact: Mapping[str, Any] = {
        GOLDEN: golden_rows(declared, measured, contract.inputs),
        FEATURES: raw.features_content(declared.plan, declared.data, declared.contract),
    }
    rounded: Mapping[str, Any] = {
        REFERENCE: private.suppressed(
            reference.histograms(private.clipped(measured.train, personal), measured.scores), personal
        )
        | reference.outcomes(measured.holdout, measured.scores, declared.shown(measured.reports).slices),
        EXPLANATIONS: measured.explanations.as_dict(),
    }
    for name, content in exact.items():
        files.write_json(folder / name, content, digits=None)
    for name, content in rounded.items():
        files.write_json(folder / name, content)
    files.write_text(folder / PICTURE, picture.draw(measured.explanations))
    files.write_text(folder / CARD, card.render(_card(declared, measured, contract, graph)))


def _write_model(folder: Path, contract: Contract, runtime: str, content: bytes) -> None:
    files.write_json(folder / CONTRACT, msgspec.to_builtins(contract), digits=None)
    (folder / MODELS[runtime]).write_bytes(content)


def _seal(folder: Path, declared: Declaration, measured: EvaluatedModel, runtime: Literal["onnx", "sklearn"]) -> str:
    """Write the manifest of all files in the folder; return its digest."""
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    manifest = Manifest(name=declared.name, runtime=runtime, task=declared.data.target.task, files=hashes)
    content = files.canonical_json(msgspec.to_builtins(manifest))
    files.write_text(folder / MANIFEST, content)
    return hashlib.sha256(content.encode()).hexdigest()


def _card(declared: Declaration, measured: EvaluatedModel, contract: Contract, graph: Graph) -> card.CardInputs:
    data, evaluation, packaging = declared.data, declared.evaluation, declared.packaging
    return card.CardInputs(
        name=declared.name,
        intended_use=packaging.card.intended_use,
        limits=packaging.card.limits,
        estimator=declared.model.target,
        parameters={**declared.model.parameters, **_steps(declared.model)},
        observations=data.observations,
        label=data.target.name,
        label_definition=data.target.definition,
        task=data.target.task,
        classes=data.target.class_names,
        label_known_after=duration_text(data.target.known_after) if data.target.known_after is not None else None,
        prediction_lead=duration_text(data.prediction_lead) if data.prediction_lead is not None else None,
        windows=data.parts,
        metrics=tuple(named(name, data.target.task) for name in evaluation.metrics),
        confidence=evaluation.interval.confidence,
        cluster=evaluation.interval.cluster or ", ".join(data.target.group) or None,
        group=data.target.group,
        reports=declared.shown(measured.reports),
        features=tuple(card.FeatureText(field.name, field.role, field.description) for field in contract.inputs),
        runtime=graph.runtime,
        reason=graph.reason,
        parity=graph.parity.report() if graph.parity else None,
        explanations=measured.explanations,
        selected=fitted.selection(measured.pipeline),
        naive=data.target.naive,
        known_because=tuple(
            (f"{table}.{name}", column.known_because)
            for table, of in declared.contract.tables.items()
            for name, column in of.columns.items()
            if column.known_because is not None
        ),
    )


def _steps(model: Model) -> dict[str, Any]:
    """Return what conf/model says beside the estimator's parameters, of weights and rounds only what is declared."""
    declared = model.model_dump(mode="json", include={"weight", "stop_early", "calibrate"}, exclude_none=True)
    steps = model.preprocess.model_dump(exclude_none=True)
    return {"preprocess": steps} | {name: value for name, value in declared.items() if value}


@contextmanager
def _folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `target` when the block ends without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part"))
    try:
        yield temporary
        temporary.chmod(0o755)
        for path in temporary.iterdir():
            path.chmod(0o644)
        shutil.rmtree(target, ignore_errors=True)
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
