"""What the point-in-time features are worth: the same estimator on the same rows, with and without the recent past.

For each training window and each month after it, ROC AUC of features=static_weather and features=point_in_time, and
the difference with a 95 % interval from paired resamples of whole days. Needs the validated tables that `make repro`
leaves in data/valid. Run: python benchmarks/feature_gain.py
"""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from trunkline.core.machine import pin

if TYPE_CHECKING:
    from trunkline.conf.project import Project
    from trunkline.pipeline.evaluate.metrics.kinds import Sample

MONTHS = {"2013-01..2013-03": range(4, 13), "2013-01..2013-06": range(7, 8)}


def main() -> None:
    """Print one row per training window and month."""
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    table = Table("trained on", "measured on", "static + weather", "+ point in time", "difference", "95% interval")
    console = Console(width=110)
    cases = [(train, f"2013-{month:02d}") for train, months in MONTHS.items() for month in months]
    for train, month in track(cases, "training", console=Console(stderr=True), transient=True):
        table.add_row(train, month, *compared(train, month))
    console.print(table)


def compared(train: str, month: str) -> tuple[str, str, str, str]:
    """Return both values of ROC AUC, their difference and its interval, as text."""
    from trunkline.core.paths import CONF
    from trunkline.pipeline.compose.compose import compose
    from trunkline.pipeline.compose.judge import check
    from trunkline.pipeline.evaluate import bootstrap
    from trunkline.pipeline.evaluate.metrics import kinds, registry

    area = [registry.named("roc_auc", "binary")]
    points, resampled = [], []
    for features in ("static_weather", "point_in_time"):
        window = f"data.window={{train: {train}, holdout: {month}}}"
        project = check(compose(CONF, [f"features={features}", window]), CONF)
        sample, clusters = scored(project)
        resamples = bootstrap.Resamples(clusters, 1000, project.seed)
        points.append(float(kinds.point(area, sample)[0]))
        resampled.append(bootstrap.resampled(area, sample, resamples)[0])
    low, high = bootstrap.percentile_interval(resampled[1] - resampled[0], 0.95, 0.05) or (float("nan"),) * 2
    return f"{points[0]:.3f}", f"{points[1]:.3f}", f"{points[1] - points[0]:+.3f}", f"{low:+.3f} to {high:+.3f}"


def scored(project: "Project") -> "tuple[Sample, int]":
    """Build features, fit and score the holdout of one configuration."""
    from trunkline.core.dataset import Dataset
    from trunkline.core.paths import VALID
    from trunkline.pipeline.evaluate import slices
    from trunkline.pipeline.features import compiler, split
    from trunkline.pipeline.features.duckdb import DuckDBEngine
    from trunkline.pipeline.train import fit

    plan = compiler.plan(project.features, project.data, project.contract)
    with tempfile.TemporaryDirectory() as folder:
        with DuckDBEngine(plan, VALID) as engine:
            split.materialize(engine, plan, project.data, Path(folder))
        threads = int(os.environ["OMP_NUM_THREADS"])
        pipeline = fit.fit(Dataset.read("train", Path(folder)), project.model, project.seed, threads)
        holdout = Dataset.read("holdout", Path(folder))
    scores = fit.scores(pipeline, holdout.frame)
    return slices.clustered(holdout, scores, project.evaluation.interval.cluster)


if __name__ == "__main__":
    pin()
    main()
