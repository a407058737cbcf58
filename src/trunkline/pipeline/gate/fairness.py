"""Whether groups of rows are treated alike: a rate of each group, and how far the extreme groups are apart.

The rates are those of fairlearn's MetricFrame, which a test compares with; the interval is of the two groups that are
extreme in the sample, on resamples of whole clusters. (That they were picked makes the interval a little too high,
never too low.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trunkline.core.arrays import Floats, Integers
from trunkline.core.errors import UserError
from trunkline.pipeline.evaluate.bootstrap import Resamples, percentile_interval
from trunkline.pipeline.evaluate.metrics.kinds import Sample

Measure = Literal["selection_rate", "true_positive_rate", "false_positive_rate", "calibration"]
UNDEFINED = 0.05  # share of resamples without a value above which there is no interval


@dataclass(frozen=True)
class Rate:
    """What is compared between groups, and how; rows with a score above `selected_above` are selected."""

    measure: Measure
    compared: Literal["difference", "ratio"]
    selected_above: float


@dataclass(frozen=True)
class Gap:
    """How far the extreme groups are apart, and on each resample."""

    lowest: str
    highest: str
    observed: float
    draws: Floats

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the percentile interval; raises UserError where the gap is not defined on too many resamples."""
        bounds = percentile_interval(self.draws, confidence, UNDEFINED)
        if bounds is None:
            raise UserError(f"the gap between {self.lowest} and {self.highest} has too few rows for an interval")
        return bounds


def rates(sample: Sample, groups: Mapping[str, Integers], rate: Rate) -> dict[str, float]:
    """Return the rate of each group; calibration is the mean score less the observed rate.

    Raises UserError for a group in which it is not defined.
    """
    over, under = _sums(sample, groups, rate, int(sample.clusters.max(initial=0)) + 1)
    empty = [name for name, count in zip(groups, under.sum(axis=1), strict=True) if count == 0]
    if empty:
        raise UserError(f"the {rate.measure} of {', '.join(empty)} is not defined: no row of that label")
    return dict(zip(groups, (over.sum(axis=1) / under.sum(axis=1)).tolist(), strict=True))


def compare(sample: Sample, groups: Mapping[str, Integers], rate: Rate, resamples: Resamples) -> Gap:
    """Compare the groups with the smallest and the largest rate; `groups` are the places of each one's rows.

    The difference is largest minus smallest, the ratio smallest over largest. Raises UserError for fewer than two
    groups or a rate that is not defined.
    """
    if len(groups) < 2:
        raise UserError(f"{len(groups)} groups have enough rows to judge; two are needed")
    by_group = rates(sample, groups, rate)
    low, high = (
        min(by_group, key=lambda name: (by_group[name], name)),
        max(by_group, key=lambda name: (by_group[name], name)),
    )
    extreme = {name: groups[name] for name in (low, high)}
    over, under = _sums(sample, extreme, rate, resamples.clusters)
    drawn = []
    for counts in resamples.blocks():  # einsum keeps its own loops, whatever the number of threads
        top, bottom = (np.einsum("rc,gc->gr", counts, sums) for sums in (over, under))
        drawn.append(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0))
    values = np.concatenate(drawn, axis=1)
    observed = _apart(np.array([by_group[low]]), np.array([by_group[high]]), rate.compared)
    return Gap(low, high, float(observed[0]), _apart(values[0], values[-1], rate.compared))


def _apart(low: Floats, high: Floats, compared: str) -> Floats:
    if compared == "difference":
        return high - low
    return np.divide(low, high, out=np.ones_like(high), where=high != 0)


def _sums(sample: Sample, groups: Mapping[str, Integers], rate: Rate, clusters: int) -> tuple[Floats, Floats]:
    """Return what is counted and out of how many, by group and cluster."""
    selected, positive = sample.scores > rate.selected_above, sample.labels == 1
    everything = np.ones(len(positive), dtype=np.bool_)
    over, under = {
        "selection_rate": (selected, everything),
        "true_positive_rate": (selected & positive, positive),
        "false_positive_rate": (selected & ~positive, ~positive),
        "calibration": (sample.scores - sample.labels, everything),
    }[rate.measure]

    def by_cluster(values: Floats) -> Floats:
        rows = groups.values()
        return np.array([np.bincount(sample.clusters[at], weights=values[at], minlength=clusters) for at in rows])

    return by_cluster(over.astype(np.float64)), by_cluster(under.astype(np.float64))
