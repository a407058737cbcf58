"""How far an estimate may lie off at any moment, so that one may look whenever one likes.

The bound is that of asymptotic confidence sequences: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform
central limit theory and asymptotic confidence sequences", Annals of Statistics 52 (2024) 2613-2640; one-sided, of a
mixture over half a normal distribution (Robbins, Annals of Mathematical Statistics 41 (1970) 1397-1409). Few clusters
widen it to the t distribution's quantile, as in `pipeline.gate.comparison`. Rows of a cluster that comes again and
again are no new clusters; where they resemble each other, looks resemble each other more than the bound assumes, and
the chance that any of them is beyond it is smaller (Slepian, Bell System Technical Journal 41 (1962) 463-501).
"""

import math

from scipy import special


def radius(rows: float, clusters: int, error_rate: float, planned: float) -> float:
    """Return the distance in standard errors within which an estimate stays, on one side, however often one looks.

    `error_rate`, at most 0.5, is the chance that it does not at any number of rows; the bound is narrowest at about the
    `planned` number. Infinite where nothing can be said yet.
    """
    if rows <= 0 or clusters < 2:
        return math.inf
    log = -2 * math.log(error_rate)  # of the two-sided rate, twice as large, the mixture would be best at `planned`
    scale = (log + math.log1p(log)) / planned
    spread = 1 + rows * scale
    normal = math.sqrt(2 * math.log((math.sqrt(spread) / error_rate + 1) / 2) * spread / (spread - 1))
    return float(-special.stdtrit(clusters - 1, special.ndtr(-normal)))
