"""Cluster-bootstrap intervals: Trunkline's vectorised resamples beside a loop over scikit-learn's metrics.

Both compute the same values on the same resamples, which is checked. The loop is run on fewer resamples and
its time scaled up to the same number; each is timed once. Run: python benchmarks/bootstrap.py
"""

import resource
import sys
import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from trunkline.core.arrays import Floats
from trunkline.pipeline.evaluate.bootstrap import Resamples, resampled
from trunkline.pipeline.evaluate.metrics.kinds import Sample, named

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


def compare(names: list[str], rows: int, clusters: int) -> str:
    """Time both once and return a line of the table."""
    sample, metrics = holdout(rows, clusters), [named(name) for name in names]
    start = time.perf_counter()
    ours = resampled(metrics, sample, Resamples(clusters, RESAMPLES, 1))
    vectorised = time.perf_counter() - start
    start = time.perf_counter()
    theirs = looped(names, sample, Resamples(clusters, LOOPED, 1))
    loop = (time.perf_counter() - start) * RESAMPLES / LOOPED
    np.testing.assert_allclose(ours[:, :LOOPED], theirs, rtol=1e-9)
    case = f"{rows:>8,} {clusters:>9,} {len(names):>8}"
    return f"{case} {vectorised:>10.2f} {loop:>13.1f} {loop / vectorised:>6.0f}x"


def main() -> None:
    """Print the table."""
    out = sys.stdout.write
    out(f"{RESAMPLES} cluster resamples, in seconds; the loop ran {LOOPED}, times {RESAMPLES // LOOPED}\n")
    out(f"{'rows':>8} {'clusters':>9} {'metrics':>8} {'trunkline':>10} {'sklearn loop':>13} {'ratio':>7}\n")
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
