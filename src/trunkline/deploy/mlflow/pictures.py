"""The curves of reports/curves as pictures that MLflow shows; a confusion matrix is none."""

from collections.abc import Mapping, Sequence
from typing import Any

from trunkline.show import drawing

# By the name of its file: its title, and the fields of a point across and up.
CURVES = {
    "roc": ("ROC", "false_positive_rate", "true_positive_rate"),
    "precision_recall": ("Precision and recall", "recall", "precision"),
    "calibration": ("Calibration", "score", "observed_rate"),
    "observed": ("Predicted and observed", "score", "observed"),
}
_DIAGONAL = ("roc", "calibration", "observed")  # what is as good as chance, or perfect, lies on it


def draw(kind: str, points: Sequence[Mapping[str, Any]]) -> str:
    """Draw the points of a curve as an SVG; raises what Python raises for points that are not of its form."""
    title, across, up = CURVES[kind]
    places = [(float(point[across]), float(point[up])) for point in points]

    def fill(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot(*zip(*places, strict=True), color="#3b6ea5", marker="" if kind == "roc" else ".")
        if kind in _DIAGONAL:
            axes.axline((0, 0), slope=1, color="#999", lw=1, ls="--")
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel(across.replace("_", " "))
        axes.set_ylabel(up.replace("_", " "))
        axes.grid(color="#ddd", lw=0.8)

    return drawing.svg((6.0, 5.0), fill)
