"""Replays a log on an executor: each task compares segments of its own, with bundles that it finds itself."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from trunkline.lineage import bundles, predictions
from trunkline.lineage.replay import Replay, merged, replay
from trunkline.pipeline.features.executors.executor import Executor
from trunkline.serve.prediction_log.sealed import Keys

TASK = 64  # segments of a task


@dataclass(frozen=True)
class Places:
    """Where bundles are looked for, in the project `root` too, and the tables that features are joined from.

    `keys` are the variables with which each machine reads what is encrypted.
    """

    root: Path
    bundle: Path
    store: Path
    tables: Path | None
    keys: Keys | None = None

    def resolved(self) -> Self:
        """Return the same with absolute paths, for processes that work in other folders."""
        paths = (self.root.resolve(), self.bundle.resolve(), self.store.resolve())
        return type(self)(*paths, self.tables and self.tables.resolve(), self.keys)

    def find(self, aside: Path, digest: str) -> Path:
        """Return the folder of a bundle, which may be a copy in `aside`; raises UserError where it is nowhere."""
        return bundles.find(self.root, digest, [self.bundle, self.store / "bundles" / digest], aside)


def run(logs: Sequence[str], places: Places, tolerance: float, executor: Executor) -> Replay:
    """Return how the rows of logs compare with what is recomputed, as `replay` does: the same."""
    paths = [str(path.resolve()) for path in predictions.expand(logs)]
    parts = [paths[start : start + TASK] for start in range(0, len(paths), TASK)]
    tasks = [partial(compare, part, places.resolved(), tolerance) for part in parts]
    return merged(tolerance, executor.run(tasks))


def compare(logs: Sequence[str], places: Places, tolerance: float) -> Replay:
    """Return how the rows of logs compare, with bundles found in the places."""
    with tempfile.TemporaryDirectory(prefix="trunkline-") as aside:
        return replay(logs, partial(places.find, Path(aside)), places.tables, tolerance, places.keys)
