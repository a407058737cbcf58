"""Logs a finished pipeline run to MLflow, once per distinct result.

A run is identified by the hash of all that is logged of it, so logging is idempotent: an attempt that was
killed halfway is continued by the next, which writes the same values again, and a result that is there
is left alone. Run ids and times are MLflow's and appear in no file of the project.
"""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from trunkline.adapters import mlflow
from trunkline.conf import privacy
from trunkline.conf.evaluation import WHOLE
from trunkline.conf.tracking import Tracking
from trunkline.core import files, paths
from trunkline.core.params import Params
from trunkline.pipeline.track import datasets

if TYPE_CHECKING:
    from trunkline.adapters.mlflow import Client, LoggedRun


EXPERIMENT = "DVC_EXP_NAME"
RESULT, DIGEST = "trunkline.result", "trunkline.digest"  # of all that is logged, and of the bundle

_KEY_LENGTH = 250
_VALUE_LENGTH = 500  # of older servers; this one allows 6000, and params.yaml is attached in full
_NOT_IN_A_KEY = re.compile(r"[^\w\- ]", re.ASCII)  # a dot in a name would look like a level


@dataclass(frozen=True)
class FinishedRun:
    """A finished run: params, metrics by dotted key, artifacts relative to `root`, the model's hash, what it read."""

    name: str
    root: Path
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    artifacts: tuple[Path, ...]
    model: str
    tags: Mapping[str, str]
    datasets: tuple[mlflow.Dataset, ...] = ()
    hidden: frozenset[str] = frozenset()  # slices by personal columns, which stay out of MLflow

    @classmethod
    def read(cls, root: Path, declared: Params, tags: Mapping[str, str]) -> Self:
        """Read what the pipeline left under a project's root: params.yaml with the trained model, the reports."""
        choice = root / paths.CHOICE
        params = parameters(declared.content, _json(choice) if choice.exists() else {})
        metrics = _json(root / paths.METRICS)
        reports = (root / paths.METRICS).parent.rglob("*.json")
        return cls(
            name=_name(params, metrics),
            root=root,
            params=dict(flatten(params)),
            metrics=dict(values(metrics)) | dict(intervals(_json(root / paths.SLICES))),
            artifacts=tuple(sorted(path.relative_to(root) for path in reports)),
            model=_sha256(root / paths.MODEL),
            tags={**tags, DIGEST: _json(root / paths.BUNDLE_REPORT)["digest"]},
            datasets=tuple(datasets.ingested(_json(root / paths.INGESTED))),
            hidden=privacy.personal_slices(declared.content),
        )

    @cached_property
    def result(self) -> str:
        """SHA-256 of the parameters, the metrics, the model and the artifacts; not of commit and time."""
        files = {str(path): _sha256(self.root / path) for path in self.artifacts}
        content = [dict(self.params), dict(self.metrics), self.model, files]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Logged:
    """The run that holds the result; `new` if this call logged it."""

    run_id: str
    new: bool


def tags(commit: str | None, dirty: bool, environ: Mapping[str, str]) -> dict[str, str]:
    """Return where a result came from: the commit, whether files differ from it, and DVC's experiment."""
    origin = {"mlflow.source.git.commit": commit, EXPERIMENT: environ.get(EXPERIMENT)}
    origin["mlflow.source.git.dirty"] = str(dirty).lower() if commit else None
    return {key: value for key, value in origin.items() if value}


def log_run(run: FinishedRun, tracking: Tracking, home: Path) -> Logged:
    """Log a run to MLflow, unless its result is there already; safe to repeat, also after a kill.

    Raises OutsideError if MLflow cannot be reached or refuses, UserError if its experiment was deleted.
    """
    store = mlflow.MlflowStore(tracking.address(os.environ), home)
    result = run.result
    with store.client("then: dvc repro") as client:
        experiment = mlflow.experiment(client, tracking.experiment, store.artifacts)
        # A run per status: there are two only if two were begun at the same moment.
        runs = client.search_runs([experiment], f"tags.`{RESULT}` = '{result}'")
        attempts = {run.info.status: run for run in runs}
        if finished := attempts.get("FINISHED"):
            return Logged(finished.info.run_id, new=False)
        attempt = next(iter(attempts.values()), None)
        if attempt is None:
            attempt = client.create_run(experiment, run_name=run.name, tags={**run.tags, RESULT: result})
        _write(client, attempt, run)
        return Logged(attempt.info.run_id, new=True)


def parameters(declared: Mapping[str, Any], choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decided a result: params.yaml, with the model that a search put in the place of the declared one.

    Where a run is logged is no property of its result: the same result is the same run.
    """
    chosen = {"model": choice["model"]} if choice.get("model") else {}
    return {key: value for key, value in declared.items() if key != Tracking.key} | chosen


def values(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield what reports/metrics.json says, by names such as holdout.roc_auc."""
    for split, measured in metrics.items():
        yield from ((f"{split}.{name}", value) for name, value in measured.items() if value is not None)


def intervals(slices: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield both ends of the intervals that reports/slices.json has of the whole holdout."""
    for name, measured in slices[WHOLE][WHOLE]["metrics"].items():
        if measured["interval"]:
            yield from zip((f"holdout.{name}.low", f"holdout.{name}.high"), measured["interval"], strict=True)


def flatten(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield dotted keys and texts within MLflow's limits; lists, numbers and missing values as JSON."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from flatten(item, (*path, str(key)))
    else:
        key = ".".join(_NOT_IN_A_KEY.sub("_", part) or "_" for part in path)
        text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
        yield _fitted(key, ".".join(path) == key, path, _KEY_LENGTH), _fitted(text, True, text, _VALUE_LENGTH)


def _fitted(text: str, exact: bool, original: object, length: int) -> str:
    """Return the text if it is exact and not too long, else with a hash that keeps different ones apart."""
    if exact and len(text) <= length:
        return text
    return f"{text[: length - 9]}-{hashlib.sha256(json.dumps(original).encode()).hexdigest()[:8]}"


def _write(client: "Client", attempt: "LoggedRun", run: FinishedRun) -> None:
    entities = mlflow.library().entities
    params = [entities.Param(key, value) for key, value in run.params.items()]
    # At the time of the run, not of the call: a metric that is written again is then the same point.
    time = attempt.info.start_time
    metrics = [entities.Metric(key, value, time, 0) for key, value in run.metrics.items()]
    run_id = attempt.info.run_id
    client.log_batch(run_id, metrics=metrics, params=params)  # MLflow splits what is too much for one request
    mlflow.log_datasets(client, run_id, run.datasets)
    for path in (paths.PARAMS, *run.artifacts):
        if path == paths.SLICES and run.hidden:
            client.log_text(run_id, _without(run.root / path, run.hidden), path.as_posix())
            continue
        folder = None if path.parent == Path() else path.parent.as_posix()
        client.log_artifact(run_id, str(run.root / path), folder)
    client.set_terminated(run_id, "FINISHED")


def _without(path: Path, slices: Collection[str]) -> str:
    """Return the slices of a report but some, as JSON."""
    return files.canonical_json({name: labels for name, labels in _json(path).items() if name not in slices})


def _name(params: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    estimator = params["model"]["_target_"].rpartition(".")[2]
    metric = params["evaluation"]["metrics"][0]
    window = params["data"]["window"]  # rows without a time have none
    value = metrics["holdout"][metric]
    measured = "undefined" if value is None else f"{value:.3f}"
    return " ".join([estimator, *([window["holdout"]] if window else []), metric, measured])


def _json(path: Path) -> Any:
    return files.parse_json(path.read_text(encoding="utf-8"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
