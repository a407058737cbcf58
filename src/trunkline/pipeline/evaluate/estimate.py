"""What is measured of a part of the holdout: values of metrics, and the intervals that they lie in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A metric's value and its interval; None where it is not defined, and `undefined` says why there is no value."""

    value: float | None
    interval: tuple[float, float] | None
    undefined: str | None = None


@dataclass(frozen=True)
class Slice:
    """A part of the holdout: its number of rows, and its metrics unless it is too small to be measured."""

    n: int
    metrics: dict[str, Estimate]


def words(estimate: Estimate | None) -> str:
    """Return the value as people read it, or that it is undefined, and why."""
    if estimate is None:
        return "not measured"
    if estimate.value is None:
        return f"undefined: {estimate.undefined}" if estimate.undefined else "undefined"
    return f"{estimate.value:.4f}"
