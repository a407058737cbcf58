"""The paired difference of two AUCs on clustered resamples, beside sums over all rows and a loop over scikit-learn's.

The same differences on the same resamples, which is checked: to the bit for sums over all rows. The loop is run on
fewer resamples and its time scaled up to the same number; each is timed once, in seconds of the processor.
Run: python -m benchmarks.paired_auc
"""

import sys

import numpy as np
from benchmarks.bootstrap import by_rows, timed
from sklearn.metrics import roc_auc_score

from trunkline.core.arrays import Floats
from trunkline.pipeline.evaluate.bootstrap import Resamples
from trunkline.pipeline.evaluate.metrics.kinds import Sample
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.gate import comparison

ROWS, CLUSTERS, RESAMPLES, LOOPED = 100_000, 31, 1000, 20


def pair(rows: int) -> tuple[Sample, Sample]:
    """Make two models' scores of the same rows."""
    random = np.random.default_rng(1)
    scores, clusters = random.beta(2, 6, rows), np.arange(rows) % CLUSTERS
    labels = (random.random(rows) < scores).astype(np.int8)
    other = np.clip(scores + random.normal(0, 0.02, rows), 0, 1)
    return Sample(labels, scores, clusters), Sample(labels, other, clusters)


def looped(champion: Sample, challenger: Sample, loops: int) -> Floats:
    """Draw the rows of each resample and call scikit-learn twice."""
    rows_of = [np.flatnonzero(champion.clusters == cluster) for cluster in range(CLUSTERS)]
    values = []
    for counts in np.concatenate(list(Resamples(CLUSTERS, loops, 1).blocks())):
        rows = np.concatenate([rows_of[cluster] for cluster in np.repeat(np.arange(CLUSTERS), counts)])
        both = [roc_auc_score(champion.labels[rows], sample.scores[rows]) for sample in (champion, challenger)]
        values.append(both[1] - both[0])
    return np.array(values)


def compare(rows: int = ROWS, resamples: int = RESAMPLES, loops: int = LOOPED) -> str:
    """Time all three once and return the seconds and the ratios."""
    champion, challenger = pair(rows)
    draws, area = Resamples(CLUSTERS, resamples, 1), named("roc_auc", "binary")
    ours, quick = timed(lambda: comparison.difference(area, champion, challenger, draws).draws)
    summed, slow = timed(lambda: comparison.difference(by_rows(area), champion, challenger, draws).draws)
    theirs, loop = timed(lambda: looped(champion, challenger, loops))
    np.testing.assert_array_equal(ours, summed)
    np.testing.assert_allclose(ours[:loops], theirs, atol=1e-12)
    loop *= resamples / loops
    return (
        f"{resamples:,} resamples of {rows:,} rows in {CLUSTERS} clusters, two models, in seconds\n"
        f"trunkline {quick:.3f}, by rows {slow:.2f}: {slow / quick:.1f} times; "
        f"scikit-learn in a loop {loop:.0f}: {loop / quick:.0f} times\n"
    )


def main() -> None:
    """Print the comparison."""
    sys.stdout.write(compare())


if __name__ == "__main__":
    main()
