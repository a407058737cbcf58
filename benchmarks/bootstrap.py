"""Cluster-bootstrap intervals: Trunkline's resamples beside sums over all rows and a loop over scikit-learn's metrics.

The same values on the same resamples, which is checked: to the bit for sums over all rows, which Trunkline leaves where
pairs can be counted by cluster. The loop is run on fewer resamples and its time scaled up to the same number; each is
timed once, in seconds of the processor. Run: python benchmarks/bootstrap.py
"""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from trunkline.core.arrays import Floats
from trunkline.pipeline.evaluate.bootstrap import Resamples, resampled
from trunkline.pipeline.evaluate.metrics.kinds import Metric, PairArea, RankArea, Sample
from trunkline.pipeline.evaluate.metrics.registry import named

RESAMPLES, LOOPED = 1000, 20
JUDGES: dict[str, Callable[..., float]] = {
    "roc_auc": roc_auc_score,
    "average_precision": average_precision_score,
    "log_loss": log_loss,
    "brier": brier_score_loss,
}


def holdout(rows: int, clusters: int) -> Sample:
    """Make calibrated scores."""
    generator = np.random.default_rng(1)
    scores = generator.beta(2, 6, rows)
    labels = (generator.random(rows) < scores).astype(np.int8)
    return Sample(labels, scores, generator.permutation(np.arange(rows) % clusters))


def looped(names: list[str], sample: Sample, resamples: Resamples) -> Floats:
    """Draw the rows of each resample and call scikit-learn."""
    order = np.argsort(sample.clusters, kind="stable")
    rows_of = np.split(order, np.cumsum(np.bincount(sample.clusters))[:-1])
    values = np.empty((len(names), resamples.count))
    for i, counts in enumerate(np.concatenate(list(resamples.blocks()))):
        rows = np.concatenate([rows_of[cluster] for cluster in np.repeat(np.arange(len(counts)), counts)])
        values[:, i] = [JUDGES[name](sample.labels[rows], sample.scores[rows]) for name in names]
    return values


def by_rows(metric: Metric) -> Metric:
    """Return a metric that is summed over all rows of each resample, even where pairs can be counted by cluster."""
    if isinstance(metric, PairArea):
        return RankArea(metric.name, metric.better, metric.meaning, metric.source, metric.under)
    return metric


def timed(compute: Callable[[], Floats]) -> tuple[Floats, float]:
    """Return what is computed and the seconds of the processor that it took."""
    start = time.process_time()
    return compute(), time.process_time() - start


def compare(names: list[str], rows: int, clusters: int, resamples: int = RESAMPLES, loops: int = LOOPED) -> str:
    """Time all three once and return a line of the table."""
    sample, draws = holdout(rows, clusters), Resamples(clusters, resamples, 1)
    metrics = [named(name, "binary") for name in names]
    ours, quick = timed(lambda: resampled(metrics, sample, draws))
    summed, slow = timed(lambda: resampled([by_rows(metric) for metric in metrics], sample, draws))
    theirs, loop = timed(lambda: looped(names, sample, replace(draws, count=loops)))
    np.testing.assert_array_equal(ours, summed)
    np.testing.assert_allclose(ours[:, :loops], theirs, rtol=1e-9)
    times = f"{quick:>10.3f} {slow:>8.3f} {slow / quick:>6.1f}x"
    loop *= resamples / loops
    return f"{rows:>8,} {clusters:>9,} {len(names):>8} {times} {loop:>13.1f} {loop / quick:>6.0f}x"


def main() -> None:
    """Print the table."""
    out = sys.stdout.write
    out(f"{RESAMPLES} cluster resamples, in seconds; the loop ran {LOOPED}, times {RESAMPLES // LOOPED}\n")
    out(f"{'rows':>8} {'clusters':>9} {'metrics':>8} {'trunkline':>10} {'by rows':>8} {'ratio':>7}")
    out(f" {'sklearn loop':>13} {'ratio':>7}\n")
    for names, rows, clusters in (
        (list(JUDGES), 30_000, 31),
        (["roc_auc"], 30_000, 31),
        (["roc_auc"], 100_000, 31),
        (["roc_auc"], 100_000, 100_000),
    ):
        out(compare(names, rows, clusters) + "\n")
    out(f"largest memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB\n")


if __name__ == "__main__":
    main()
