"""The picture of what a model leans on: the importances of its features."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trunkline.core import files
from trunkline.pipeline.bundle.explain.explain import Explanations, Shap
from trunkline.pipeline.bundle.explain.permutation import Permutation
from trunkline.show import drawing

SHOWN = 15  # features in the picture
LABEL = 36  # characters of a name in it


def draw(explanations: Explanations) -> str:
    """Draw both importances of the most important features as an SVG; equal values give equal bytes."""

    def fill(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        _draw_permutation(left, explanations.permutation)
        _draw_shap(right, explanations.shap)

    height = 1.7 + 0.3 * min(SHOWN, len(explanations.shap.mean_absolute))
    return drawing.svg((12, height), fill, padding=(0.15, 0.12))


def _draw_permutation(axes: Any, permutation: Permutation) -> None:
    names = _largest({name: drop.mean for name, drop in permutation.drops.items()})
    means, lows, highs = (
        np.array([files.rounded(getattr(permutation.drops[name], field)) for name in names], dtype=np.float64)
        for field in ("mean", "lowest", "highest")
    )
    line = {"xerr": (means - lows, highs - means), "error_kw": {"lw": 1, "ecolor": "#222"}}
    axes.barh(range(len(names)), means, tick_label=_short(names), color="#3b6ea5", **line)
    title = f"{permutation.metric} lost when shuffled"
    _finish(
        axes, title, f"{permutation.rows:,} holdout rows; bar: mean of {permutation.repeats} repeats, line: their range"
    )


def _draw_shap(axes: Any, shap: Shap) -> None:
    names = _largest(shap.mean_absolute)
    values = [files.rounded(shap.mean_absolute[name]) for name in names]
    axes.barh(range(len(names)), values, tick_label=_short(names), color="#c8743c")
    kind = "exact" if shap.exact else "sampled"
    _finish(axes, f"mean |SHAP value|, {shap.output}", f"{shap.rows:,} holdout rows; {kind}")


def _largest(values: Mapping[str, float]) -> list[str]:
    return sorted(values, key=lambda name: (-values[name], name))[:SHOWN]


def _short(names: list[str]) -> list[str]:
    """Return names that leave room for the bars: the middle of a long one is left out."""
    return [name if len(name) <= LABEL else f"{name[: LABEL // 2]}…{name[1 - LABEL // 2 :]}" for name in names]


def _finish(axes: Any, title: str, note: str) -> None:
    axes.margins(x=0.04, y=0.01)
    axes.invert_yaxis()  # the largest on top
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    axes.set_xlabel(note, fontsize=9, color="#555", loc="left")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="#ddd", lw=0.8)
    axes.set_axisbelow(True)
