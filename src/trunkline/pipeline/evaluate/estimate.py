"""What is measured of a part of the holdout: values of metrics, and the intervals that they lie in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A metric's value and its interval; None where it is not defined."""

    value: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Slice:
    """A part of the holdout: its number of rows, and its metrics unless it is too small to be measured."""

    n: int
    metrics: dict[str, Estimate]
