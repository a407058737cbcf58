"""The paired difference of two AUCs on clustered resamples, beside a loop over scikit-learn's roc_auc_score.

Both compute the same differences on the same resamples, which is checked. The loop is run on fewer resamples and its
time scaled up to the same number; each is timed once. Run: python benchmarks/paired_auc.py
"""

import sys
import time

import numpy as np
from sklearn.metrics import roc_auc_score

from trunkline.core.arrays import Floats
from trunkline.pipeline.evaluate.bootstrap import Resamples
from trunkline.pipeline.evaluate.metrics.kinds import Sample, named
from trunkline.pipeline.gate import comparison

ROWS, CLUSTERS, RESAMPLES, LOOPED = 100_000, 31, 1000, 20


def pair() -> tuple[Sample, Sample]:
    """Make two models' scores of the same rows."""
    random = np.random.default_rng(1)
    scores, clusters = random.beta(2, 6, ROWS), np.arange(ROWS) % CLUSTERS
    labels = (random.random(ROWS) < scores).astype(np.int8)
    other = np.clip(scores + random.normal(0, 0.02, ROWS), 0, 1)
    return Sample(labels, scores, clusters), Sample(labels, other, clusters)


def looped(champion: Sample, challenger: Sample) -> Floats:
    """Draw the rows of each resample and call scikit-learn twice."""
    rows_of = [np.flatnonzero(champion.clusters == cluster) for cluster in range(CLUSTERS)]
    values = []
    for counts in np.concatenate(list(Resamples(CLUSTERS, LOOPED, 1).blocks())):
        rows = np.concatenate([rows_of[cluster] for cluster in np.repeat(np.arange(CLUSTERS), counts)])
        both = [roc_auc_score(champion.labels[rows], sample.scores[rows]) for sample in (champion, challenger)]
        values.append(both[1] - both[0])
    return np.array(values)


def main() -> None:
    """Time both and print the ratio."""
    champion, challenger = pair()
    start = time.perf_counter()
    found = comparison.difference(named("roc_auc"), champion, challenger, Resamples(CLUSTERS, RESAMPLES, 1))
    vectorised = time.perf_counter() - start
    start = time.perf_counter()
    theirs = looped(champion, challenger)
    loop = (time.perf_counter() - start) * RESAMPLES / LOOPED
    np.testing.assert_allclose(found.draws[:LOOPED], theirs, atol=1e-12)
    sys.stdout.write(f"{RESAMPLES:,} resamples of {ROWS:,} rows in {CLUSTERS} clusters, two models\n")
    sys.stdout.write(
        f"trunkline {vectorised:.2f} s, scikit-learn in a loop {loop:.0f} s: {loop / vectorised:.0f} times\n"
    )


if __name__ == "__main__":
    main()
