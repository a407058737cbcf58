"""What is found of a rule on a part of the rows: a difference, how sure it is, and whether the bound holds."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from trunkline.deploy.rollout.difference import Difference
from trunkline.deploy.rollout.evidence import WHOLE, Part
from trunkline.deploy.rollout.sequence import radius

State = Literal["passes", "waits", "breaks"]

FEWEST = 20  # clusters of each arm without which nothing breaks


@dataclass(frozen=True)
class Finding:
    """A rule's `value`, larger for the worse, its `bound`, and the `interval` that it stays in however often one looks.

    None: not known yet. `rows` are the candidate's, `clusters` those of the arm with fewer.
    """

    rule: str
    part: Part
    verdict: State
    reason: str
    value: float | None = None
    bound: float | None = None
    interval: tuple[float, float] | None = None
    rows: int = 0
    clusters: int = 0

    @property
    def excess(self) -> float:
        """How far the interval lies beyond the bound; the larger, the surer it is broken."""
        return self.interval[0] - (self.bound or 0.0) if self.interval else -math.inf

    @property
    def where(self) -> str:
        """The rows that it is about, as people say it."""
        return "all rows" if self.part == WHOLE else f"{self.part.slice} {self.part.label}"

    def __str__(self) -> str:
        """Say the rule, the rows and the reason in one line."""
        return f"{self.rule}{'' if self.part == WHOLE else f' of {self.where}'}: {self.reason}"


class Limit(NamedTuple):
    """What a difference is held to: its bound, how often it may break wrongly, and the rows that are planned."""

    bound: float
    error_rate: float
    planned: float


def weighed(rule: str, part: Part, measured: Difference, limit: Limit, why: str) -> Finding:
    """Return whether a difference, larger for the worse, is within its bound.

    It breaks where all of its interval lies beyond, passes where it is within itself, and else waits for more rows.
    """
    bound, width = limit.bound, 0.0
    if measured.error:
        width = measured.error * radius(measured.rows, measured.clusters, limit.error_rate, limit.planned)
    interval = (measured.value - width, measured.value + width) if math.isfinite(width) else None
    numbers = (measured.value, bound, interval, measured.rows, measured.clusters)
    if interval and interval[0] > bound and measured.clusters >= FEWEST:
        return Finding(rule, part, "breaks", f"{why}; shown to be more than is allowed", *numbers)
    if measured.value > bound:
        return Finding(rule, part, "waits", f"{why}; more than is allowed, and not shown yet", *numbers)
    return Finding(rule, part, "passes", why, *numbers)
