"""Estimates and their intervals as tables show them."""

from trunkline.pipeline.evaluate.estimate import Estimate, words


def number(estimate: Estimate | None) -> str:
    """Return the value as tables show it."""
    return "—" if estimate is None else words(estimate)


def span(interval: tuple[float, float] | None) -> str:
    """Return an interval as tables show it."""
    return "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
