"""How often the comparison with the champion is wrong, on simulated pairs whose true difference is known.

Each pair is two models' scores of the same rows in clusters that have difficulties of their own, to which the models
react differently. The models are drawn alike (no difference), or one with more noise; its true difference is the mean
over all pairs. Margins are set from that: a margin of the true difference is the edge, where a test at 95 % confidence
may be wrong in 5 % of the pairs; half of it makes the challenger worse by twice the margin.
Run: python benchmarks/error_rates.py
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from trunkline.pipeline.evaluate.bootstrap import Resamples
from trunkline.pipeline.evaluate.metrics.kinds import Sample
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.gate import comparison

PAIRS, RESAMPLES, ROWS, LEVEL = 2000, 1000, 200, 0.05
METRICS, CLUSTERS = ("roc_auc", "log_loss"), (31, 14)
NOISIER = 1.35  # of the worse model's noise to the other's


def pair(number: int, clusters: int, noisier: float) -> tuple[Sample, Sample]:
    """Make a champion's and a challenger's scores of the same rows."""
    random = np.random.default_rng([number, clusters])
    where = np.repeat(np.arange(clusters), ROWS)
    known, day = random.normal(size=len(where)), random.normal(0, 0.8, clusters)[where]
    labels = (random.random(len(where)) < 1 / (1 + np.exp(1.3 - day - known))).astype(np.int8)

    def scores(noise: float) -> NDArray[np.float64]:
        of_day = random.normal(0, 0.5, clusters)[where]
        seen = known + noise * random.normal(size=len(where))
        return np.asarray(1 / (1 + np.exp(1.3 - 0.6 * seen - 0.5 * of_day * (1 + known))), dtype=np.float64)

    return Sample(labels, scores(1.0), where), Sample(labels, scores(noisier), where)


def compared(number: int, metric: str, clusters: int, noisier: float) -> comparison.ScoreDifference:
    """Compare one pair."""
    resamples = Resamples(clusters, RESAMPLES, number)
    return comparison.difference(named(metric, "binary"), *pair(number, clusters, noisier), resamples)


def declared(differences: list[comparison.ScoreDifference], margin: float) -> float:
    """Return the share of pairs for which a difference above the margin is declared."""
    return float(np.mean([difference.p_value(margin) < LEVEL for difference in differences]))


def main() -> None:
    """Simulate, print a table in Markdown."""
    lines = [
        "| metric | clusters | no difference: superiority declared | plain percentiles | worse by the margin: passed "
        "| worse by twice the margin: refused | equal, same margin: passed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for metric in METRICS:
            for clusters in CLUSTERS:
                alike, worse = (
                    list(
                        pool.map(
                            partial(compared, metric=metric, clusters=clusters, noisier=n), range(PAIRS), chunksize=20
                        )
                    )
                    for n in (1.0, NOISIER)
                )
                true = float(np.mean([difference.observed for difference in worse]))
                plain = float(np.mean([np.quantile(difference.draws, LEVEL) > 0 for difference in alike]))
                shares = (
                    declared(alike, 0), plain, declared(worse, true), 1 - declared(worse, true / 2),
                    declared(alike, true),
                )  # fmt: skip
                lines.append(f"| {metric} | {clusters} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    sys.stdout.write("\n".join(lines) + f"\n{PAIRS} pairs each; the true difference is that of the noisier model\n")


if __name__ == "__main__":
    main()
