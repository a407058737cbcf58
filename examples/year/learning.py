"""Scores of a version: fitted as the train stage does, kept in a folder, so that a run that was killed goes on."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from examples.year.plan import KNOWN_AFTER, Version
from examples.year.rows import Rows
from trunkline.conf.model import Model
from trunkline.core import files
from trunkline.core.arrays import Floats
from trunkline.core.params import Params
from trunkline.core.progress import Bar
from trunkline.pipeline.train import estimators, fit


@dataclass(frozen=True)
class Learner:
    """Fits versions on the rows of the year; `state` keeps the scores."""

    rows: Rows
    state: Path
    params: Params

    def scores(self, version: Version) -> Floats:
        """Return the scores of the rows as the server saw them, shape (rows,); NaN up to the end of the window."""
        path = self.state / "scores" / f"{version.name}.npy"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with Bar(f"fitting {version.name}"), files.atomic_path(path) as aside, aside.open("wb") as file:
                np.save(file, self._fitted(version).astype(np.float32))
        return np.asarray(np.load(path), dtype=np.float64)

    def answered(self, versions: list[Version]) -> Floats:
        """Return the score that answered each row, by the version that ran then; NaN before the first."""
        answers = np.full(len(self.rows.label), np.nan)
        for version in versions:
            later = self.rows.day >= np.datetime64(version.since)
            answers[later] = self.scores(version)[later]
        return answers

    def _fitted(self, version: Version) -> Floats:
        source = self.rows.mended if version.mended else self.rows.seen
        known = self.rows.between(version.start, version.end - KNOWN_AFTER)
        model = self.params.group(Model)
        pipeline, arguments = fit.assemble(estimators.build(model, self.params.seed), model, source.schema)
        if version.half_life:
            age = (np.datetime64(version.end) - self.rows.day[known]).astype(np.float64)
            arguments["estimator__sample_weight"] = 0.5 ** (age / version.half_life)
        with threadpool_limits(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)), user_api="openmp"):
            pipeline.fit(fit.inputs(source.features.filter(known)), self.rows.label[known], **arguments)
        later = self.rows.day >= np.datetime64(version.end)
        scores = np.full(len(later), np.nan)
        scores[later] = fit.scores(pipeline, self.rows.seen.features.filter(later))
        return scores
