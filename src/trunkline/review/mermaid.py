"""Curves as Mermaid charts, which GitHub draws where a comment stands."""

from collections.abc import Sequence

from trunkline.pipeline.reports import BacktestReport
from trunkline.review.data import Curve, CurveKind

# Both lines are seen on white and on black: GitHub's own first colour is nearly white in its light theme.
_COLOURS = '%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#2f81f7, #8b949e"}}}}%%'
CHARTS: dict[CurveKind, tuple[str, str, str]] = {
    "calibration": ("Calibration: observed rate by score (the straight line is perfect)", "score", "rate"),
    "roc": ("ROC: true positive rate by false positive rate", "false positive rate", "rate"),
    "observed": ("Mean label by score (the straight line is perfect)", "score", "label"),
}


def chart(curve: Curve) -> str:
    """Draw a curve of a kind of `CHARTS`; the x axis is in equal steps, which is all that mermaid knows."""
    (title, axis, up), points = CHARTS[curve.kind], curve.points
    low, high = (points[0][0], points[-1][0]) if points else (0.0, 1.0)
    steps = [low + (high - low) * step / 10 for step in range(11)]
    values = ", ".join(f"{_at(step, points):.3f}" for step in steps)
    diagonal = ", ".join(f"{step:.3f}" for step in steps)
    values_of = [value for point in points for value in point]
    ends = "0 --> 1" if up == "rate" else f"{min(values_of, default=0):.2f} --> {max(values_of, default=1):.2f}"
    return (
        f'```mermaid\n{_COLOURS}\nxychart-beta\n  title "{title}"\n  x-axis "{axis}" {low:.2f} --> {high:.2f}\n'
        f'  y-axis "{up}" {ends}\n  line [{values}]\n  line [{diagonal}]\n```'
    )


def backtest(report: BacktestReport, metric: str) -> str:
    """Draw a metric of the backtest at each origin, where it is defined; the straight line is its mean over them."""
    there = [
        (str(origin.origin), value) for origin in report.origins if (value := origin.metrics.get(metric)) is not None
    ]
    mean = sum(value for _, value in there) / max(1, len(there))
    days = ", ".join(f'"{day}"' for day, _ in there)
    values, means = (", ".join(f"{value:.4f}" for value in of) for of in ([v for _, v in there], [mean] * len(there)))
    return (
        f'```mermaid\n{_COLOURS}\nxychart-beta\n  title "Backtest: {metric} at each origin (the straight line is the '
        f'mean)"\n  x-axis [{days}]\n  y-axis "{metric}"\n  line [{values}]\n  line [{means}]\n```'
    )


def _at(step: float, points: Sequence[tuple[float, float]]) -> float:
    """Return the height of the points at a step, on the straight line between its neighbours."""
    before = max((point for point in points if point[0] <= step), default=points[0] if points else (0.0, 0.0))
    after = min((point for point in points if point[0] >= step), default=before)
    if after[0] == before[0]:
        return before[1]
    return before[1] + (after[1] - before[1]) * (step - before[0]) / (after[0] - before[0])
