"""Gathers what a review shows: from git, the reports of both commits, and DVC's cache; times are measured now."""

import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl

from trunkline.adapters import checkouts
from trunkline.adapters.dvc import cache
from trunkline.adapters.dvc.survey import OPEN
from trunkline.adapters.forge import owners
from trunkline.adapters.git import repository
from trunkline.adapters.git.snapshot import Since, Snapshot
from trunkline.conf.data import Data
from trunkline.conf.deploy import Deploy
from trunkline.conf.evaluation import Evaluation
from trunkline.conf.gates import Gates
from trunkline.conf.review import Review as Declared
from trunkline.core import paths
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.core.files import parse_json
from trunkline.core.params import Params, dig
from trunkline.core.tasks import Task
from trunkline.deploy import moves
from trunkline.deploy.cost import Measured
from trunkline.pipeline import claims, merge, reports
from trunkline.pipeline.evaluate import slices
from trunkline.pipeline.evaluate.metrics.kinds import Sample
from trunkline.pipeline.gate import decision, timing
from trunkline.pipeline.plan import workspace
from trunkline.pipeline.reports import Past, Reports, Verdict, passes
from trunkline.pipeline.search import summary
from trunkline.review import backtest, derived, former, kind, problem, reasons, spending
from trunkline.review import data as review_data
from trunkline.review.attribution import measure
from trunkline.review.data import Curve, CurveKind, Merge, Pending, Points, Reliance, Review

EXPLANATIONS = paths.BUNDLE / "explanations.json"
FEATURES = 15  # that are shown
HOLDOUT = paths.PREDICTIONS / "holdout.parquet"
_CURVES: dict[CurveKind, tuple[Path, str, str]] = {  # the file, and its fields across and up
    "calibration": (paths.CURVES / "calibration.json", "score", "observed_rate"),
    "roc": (paths.CURVES / "roc.json", "false_positive_rate", "true_positive_rate"),
    "precision_recall": (paths.CURVES / "precision_recall.json", "recall", "precision"),
    "negative_scores": (paths.CURVES / "scores.json", "score", "negative"),
    "positive_scores": (paths.CURVES / "scores.json", "score", "positive"),
    "observed": (paths.CURVES / "observed.json", "score", "observed"),
}
READ = (*reports.FILES, *moves.READ, *owners.PLACES, *sorted({path for path, _, _ in _CURVES.values()}))  # of the base


def gather(root: Path, params: Params, target: str) -> Review:
    """Return the review of the checked-out commit against the commit where it left the target branch.

    Raises UserError for a base that cannot be found, and for reports that are missing or broken.
    """
    fork = repository.fork(root, target)
    base = Snapshot(root, fork.base, READ)
    since, behind = Since(root, base), repository.behind(root, fork.tip)
    plan, stages = workspace.plan(root, params, since)
    now = Reports.parse(reports.read(root))
    before = Params(base.mapping(paths.PARAMS), paths.PARAMS)
    another = problem.changes(before.content, params.content)
    past = Past() if another else Past.understood({path.stem: base.text(path) for path in reports.FILES})
    current = not any(step.action in OPEN for step in plan.steps)
    more = former.verdicts(before, params, now.validation) if current else []
    priced = any(dig(each.content, Deploy.key, "prices") for each in (before, params))
    measured = spending.measure(root, params, plan, stages) if priced else Measured()
    more += spending.verdicts(before, params, measured) if current else []
    data, declared = params.group(Data), params.group(Evaluation)
    tested = backtest.ordered(declared.metrics, now.backtest)
    now = _decided(root, params.group(Gates), now.model_copy(update={"backtest": tested}), more)
    pair = None if another else _pair(root, base.commit, data, declared)
    results = (path for stage in stages for path in stage.uncached)
    return Review(
        name=params.name,
        target=target,
        base=base.commit,
        head=since.status.head,
        dirty=bool(since.status.uncommitted(*repository.INPUTS)),
        behind=behind,
        plan=plan,
        config=review_data.config(before.content, params.content, stages),
        whole=review_data.whole(declared.metrics, past, now, pair),
        slices=review_data.slices(declared.metrics[0], past, now),
        reports=now,
        past=past,
        curves=tuple(_curve(root, base, kind) for kind in _DRAWN[data.target.task]),
        merge=_merge(root, fork.tip) if behind else None,
        latency=measured.latency or timing.prediction(root / paths.BUNDLE),
        costs=spending.shown(params, measured),
        uncommitted=tuple(since.status.uncommitted(str(paths.LOCK), *results)),
        same_model=moves.same_model(since),
        moves=moves.moves(root, params, base),
        search=summary.read(root),
        code=kind.code(since, base),
        reliances=_reliances(root, base.commit),
        derived=derived.changes(before.content, params.content),
        reasons=reasons.changes(before.content, params.content),
        another=another,
        refuted=claims.refuted_here(root, "HEAD") if since.status.uncommitted(str(paths.LOCK)) else (),
    )


def attributed(root: Path, params: Params, review: Review, began: measure.Announce) -> Review:
    """Add which of several changes moved the metric, if the runs fit the time that conf/review declares.

    `began` is given the name of every run; they take the declared time at most.
    """
    if review.stale or repository.is_dirty(root, measure.SEPARATED):
        return replace(review, unattributed="the pipeline has not been run on a commit of these files")
    question = measure.ask(root, params, review.target)
    if len(question.factors) < 2:
        return review
    why = _unaffordable(root, question, params.group(Declared).attribution)
    if why:
        return replace(review, unattributed=why)
    return replace(review, attribution=measure.answer(root, question, began))


def _unaffordable(root: Path, question: measure.Question, budget: timedelta) -> str:
    """Return why the runs do not fit the budget; those of the base and the head are in the cache already."""
    each = measure.seconds(root)
    if each is None:
        return "how long the stages take is not known here"
    needed = each * len(question.factors)
    if needed <= budget.total_seconds():
        return ""
    return f"{needed:.0f} s at most is more than review.attribution allows, {budget.total_seconds():.0f} s"


def _decided(root: Path, gates: Gates, now: Reports, more: Sequence[Verdict]) -> Reports:
    """Return the reports with all verdicts that decide: those on times and by the base's rules are in no file."""
    verdicts = (*decision.decide(gates, now.gates, root), *more)
    decided = {"gates": verdicts, "verdict": "pass" if passes(verdicts) else "fail"}
    return now.model_copy(update={"gates": now.gates.model_copy(update=decided)})


def _merge(root: Path, tip: str) -> Merge:
    """Merge the target's own commits in a checkout aside, and plan the merged tree."""
    text, conflicts = checkouts.plan_merged(root, tip, checkouts.cache_folder(root), merge.SETTINGS)
    steps = parse_json(text)["stages"] if not conflicts else ()
    pending = (Pending(step["name"], tuple(step["reasons"])) for step in steps if step["action"] in OPEN)
    return Merge(conflicts, tuple(pending))


def _pair(root: Path, base: str, data: Data, declared: Evaluation) -> tuple[Sample, Sample] | None:
    """Return the scores of both commits, if the base's are in the cache and of the same rows."""
    content = cache.cached_file(root, base, HOLDOUT)
    if content is None or not (root / HOLDOUT).exists():
        return None
    before, now = pl.read_parquet(io.BytesIO(content)), pl.read_parquet(root / HOLDOUT)
    schema = Schema((), data.target.name, data.timezone, data.target.task, data.target.class_names, data.target.group)
    rows = [frame.drop(schema.scores, strict=False) for frame in (before, now)]
    if not rows[0].equals(rows[1]) or before.columns != now.columns:
        return None
    dataset = Dataset(rows[1], schema)
    cluster = declared.interval.cluster
    old, new = (
        slices.clustered(dataset, slices.scores_of(frame, schema.scores), cluster)[0] for frame in (before, now)
    )
    return old, new


_DRAWN: dict[Task, tuple[CurveKind, ...]] = {  # a confusion matrix is no curve
    "binary": ("calibration", "roc", "precision_recall", "negative_scores", "positive_scores"),
    "multiclass": (),
    "ordinal": (),
    "regression": ("observed",),
    "count": ("observed",),
    "quantile": ("calibration",),
    "ranking": ("observed",),
    "multilabel": (),
}
_UNREADABLE = (ValueError, KeyError, TypeError)


def _curve(root: Path, base: Snapshot, kind: CurveKind) -> Curve:
    path, across, up = _CURVES[kind]
    try:
        now = _points((root / path).read_text(encoding="utf-8"), across, up)
    except (OSError, *_UNREADABLE) as error:
        raise UserError(f"{path}: cannot be read ({error}); run: dvc repro") from None
    try:
        before = _points(base.text(path) or "[]", across, up)
    except _UNREADABLE:  # an old commit may hold anything
        before = ()
    return Curve(kind, now, before)


def _points(text: str, across: str, up: str) -> Points:
    return tuple((float(point[across]), float(point[up])) for point in parse_json(text))


def _reliances(root: Path, base: str) -> tuple[Reliance, ...]:
    """Return what the model leans on most, if its bundle is here, beside the base's, if the cache has it."""
    path = root / EXPLANATIONS
    now = _shap(path.read_bytes()) if path.is_file() else {}
    before = _shap(cache.cached_file(root, base, EXPLANATIONS) or b"")
    order = sorted(now, key=lambda name: (-now[name], name))[:FEATURES]
    return tuple(Reliance(name, now[name], before.get(name)) for name in order)


def _shap(content: bytes) -> dict[str, float]:
    """Return the mean absolute SHAP value of each feature; nothing where the file does not say it."""
    try:
        values = parse_json(content.decode())["shap"]["mean_absolute"]
        return {str(name): float(value) for name, value in values.items()}
    except (*_UNREADABLE, AttributeError):
        return {}
