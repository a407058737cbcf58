"""Measures models on folds of the training rows: in parallel, each fold once, and once only if the search is killed.

A fold's number depends on the rows, the model and the seed alone. So what a killed search had measured is kept beside
the cache and looked up by its next run, which asks for the same models in the same order.
"""

import contextlib
import hashlib
import inspect
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Self

import joblib
import numpy as np

from trunkline.conf.model import Model
from trunkline.core import files
from trunkline.core.dataset import SCHEMA, Dataset
from trunkline.core.errors import UserError
from trunkline.core.tables import rows
from trunkline.pipeline import train
from trunkline.pipeline.evaluate import metrics
from trunkline.pipeline.evaluate.metrics.kinds import Sample, point
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.train import fit, folds
from trunkline.pipeline.train.folds import Cut, Fold

LOCK = Path("locks/pipeline.txt")


@dataclass(frozen=True)
class Ground:
    """What models are tried on: the training rows of a folder, `count` folds of them, and what is measured there.

    `digest` is that of the rows and the code.
    """

    folder: Path
    count: int
    metric: str
    seed: int
    digest: str
    cut: Cut

    @property
    def key(self) -> str:
        """The same for all that a score depends on besides model and fold."""
        content = [self.digest, str(self.cut), self.count, self.metric, self.seed]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def digest(folder: Path) -> str:
    """Hash the training rows of a folder, the code and the locked environment that measure on them."""
    code = [Path(inspect.getfile(each)) for each in (Dataset, Ground, rows)]
    for room in (metrics, train):  # whole, as dvc.yaml names them: a module that is added counts
        code += sorted(Path(inspect.getfile(room)).parent.glob("*.py"))
    paths = [folder / "train.parquet", folder / SCHEMA, *code, *([LOCK] if LOCK.exists() else [])]
    return hashlib.sha256("".join(map(files.sha256, paths)).encode()).hexdigest()


@dataclass(frozen=True)
class FoldJob:
    """A model to be measured on a fold, counted from 0; `key` names both."""

    trial: int
    fold: int
    model: dict[str, Any] = field(compare=False)

    @property
    def key(self) -> str:
        """The same for the same model and fold."""
        return hashlib.sha256(json.dumps([self.fold, self.model], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Score:
    """The metric, or why there is none."""

    value: float | None
    reason: str = ""


class Journal:
    """Scores by the key of their job, in a file that only grows; half a line, left by a kill, is not there."""

    def __init__(self, path: Path) -> None:
        """Open the journal of a ground, which others of this project replace."""
        path.parent.mkdir(parents=True, exist_ok=True)
        for other in set(path.parent.glob(f"*{path.suffix}")) - {path}:
            other.unlink(missing_ok=True)
        self.path, self.spent = path, 0.0
        self.scores: dict[str, Score] = {}
        whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
        for line in whole.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                if entry["check"] == _check(entry["key"], entry["value"], entry["reason"], entry["spent"]):
                    self.scores[entry["key"]] = Score(entry["value"], entry["reason"])
                    self.spent = max(self.spent, entry["spent"])
        self._file = path.open("ab")
        self._file.truncate(len(whole) + bool(whole))

    def add(self, job: FoldJob, score: Score, spent: float) -> None:
        """Keep a score, and the seconds that the search has taken until then."""
        self.scores[job.key] = score
        entry = {"key": job.key, "value": score.value, "reason": score.reason, "spent": round(spent, 3)}
        line = json.dumps({**entry, "check": _check(*entry.values())}) + "\n"
        self._file.write(line.encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        """Close the file; that of a finished search is not needed any more."""
        self._file.close()
        if failed is None:
            self.path.unlink(missing_ok=True)


def _check(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def run(ground: Ground, jobs: Sequence[FoldJob], workers: int) -> Iterator[tuple[FoldJob, Score]]:
    """Measure jobs, each in one thread of one of the worker processes, and yield them as they are done."""
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from (_measured(ground, job) for job in jobs)
        return
    with joblib.Parallel(workers, backend="loky", return_as="generator_unordered", pre_dispatch="2*n_jobs") as parallel:
        yield from parallel(joblib.delayed(_worked)(ground, job, os.getpid()) for job in jobs)


def _worked(ground: Ground, job: FoldJob, parent: int) -> tuple[FoldJob, Score]:
    _follow(parent)
    return _measured(ground, job)


@cache
def _follow(parent: int) -> None:
    """End this worker with its parent, which cannot say so when it is killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _measured(ground: Ground, job: FoldJob) -> tuple[FoldJob, Score]:
    try:
        return job, Score(measure(ground, Model.parse(job.model), job.fold))
    except UserError as error:
        return job, Score(None, str(error))


def measure(ground: Ground, model: Model, number: int) -> float:
    """Fit a model on a fold and return the metric of its validation rows.

    Raises UserError for a model that cannot be fitted there, and where the metric is not defined.
    """
    dataset, parts = _rows(ground)
    part = parts[number]
    train, validate = (Dataset(dataset.frame[places], dataset.schema) for places in (part.train, part.validate))
    scores = fit.scores(fit.fit(train, model, ground.seed), validate.features)
    values, groups, schema = validate.label.to_numpy(), validate.groups.to_numpy(), validate.schema
    sample = Sample(values, scores, groups, schema.task, schema.levels, schema.naive_error)
    value = float(point([named(ground.metric, dataset.schema.task)], sample)[0])
    if not np.isfinite(value):
        raise UserError(f"search.folds: {ground.metric} is not defined on fold {number + 1}; declare fewer folds")
    return value


@lru_cache(maxsize=1)
def _rows(ground: Ground) -> tuple[Dataset, tuple[Fold, ...]]:
    dataset = Dataset.read("train", ground.folder)
    return dataset, folds.split(dataset, ground.cut, ground.count, ground.seed)


def check(ground: Ground) -> tuple[int, ...]:
    """Return the rows that each fold is measured on; raises UserError for folds that cannot be made."""
    return tuple(len(part.validate) for part in _rows(ground)[1])
