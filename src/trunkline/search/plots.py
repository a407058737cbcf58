"""Draws a search: how the best value came down trial by trial, and which parameters it depends on."""

import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from trunkline import measures
from trunkline.search.trials import Found, Trial

MOST = 30  # parameters in a picture
_MARKERS = "osD^vP*X"  # one per family, so that no colour is needed to tell them apart
_COLOURS = ("#1f5fa8", "#1b7837", "#b35806", "#762a83", "#b2182b", "#01665e", "#525252", "#8c510a")


def history(found: Found, metric: str) -> str:
    """Return an SVG of the value of each trial, the best so far, and that of the declared model."""
    return _drawn(4.2, lambda axes: _history(axes, found, metric))


def importance(shares: Mapping[str, float], metric: str) -> str:
    """Return an SVG of the share that each parameter has in what made trials good."""
    shown = {name: share for name, share in list(shares.items())[:MOST] if share > 0} or dict(shares)
    return _drawn(1.3 + 0.28 * len(shown), lambda axes: _importance(axes, shown, metric))


def _history(axes: Any, found: Found, metric: str) -> None:
    complete = [trial for trial in found.trials if trial.state == "complete"]
    names = list(dict.fromkeys(trial.family for trial in found.trials))
    for place, name in enumerate(names):
        own = [trial for trial in complete if trial.family == name]
        look = {"marker": _MARKERS[place % len(_MARKERS)], "color": _COLOURS[place % len(_COLOURS)]}
        axes.plot([one.number for one in own], [one.mean() for one in own], ls="", ms=5, label=name, zorder=3, **look)
    pruned = [trial for trial in found.trials if trial.state == "pruned"]
    if pruned:
        points = [one.number for one in pruned], [one.mean() for one in pruned]
        axes.plot(*points, ls="", marker="x", ms=4, color="#999", label="pruned: mean of its first folds", zorder=2)
    axes.step(
        *zip(*_steps(complete, measures.better(metric) == "larger"), strict=True), where="post", color="#333", lw=1.2
    )
    axes.axhline(found.trials[0].mean(), color="#777", lw=1, ls="--", zorder=1, label="declared model")
    axes.set_xlabel("trial", fontsize=9)
    axes.set_ylabel(f"{metric}, mean over folds ({measures.better(metric)} is better)", fontsize=9)
    axes.set_title(f"{metric} trial by trial; the line is the best so far", loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.18))


def _steps(complete: list[Trial], larger: bool) -> list[tuple[int, float]]:
    best, found = None, []
    for trial in complete:
        value = trial.mean()
        best = value if best is None else max(best, value) if larger else min(best, value)
        found.append((trial.number, best))
    return found


def _importance(axes: Any, shares: Mapping[str, float], metric: str) -> None:
    names, values = list(shares)[::-1], list(shares.values())[::-1]
    axes.barh(names, values, color="#1f5fa8", height=0.6)
    for place, value in enumerate(values):
        axes.annotate(
            f"{value:.0%}", (value, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_xlim(0, max(values) * 1.12 or 1)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("share of importance (PED-ANOVA)", fontsize=9)
    axes.set_title(f"What {metric} depends on among the trials", loc="left", fontsize=11)


def _drawn(height: float, fill: Callable[[Any], None]) -> str:
    """Return an SVG that depends on no machine's fonts, settings or clock."""
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # drawn as a box
        mpl.rcdefaults()
        mpl.rcParams.update({"svg.hashsalt": "trunkline", "svg.fonttype": "path", "text.parse_math": False})
        figure = Figure(figsize=(8.0, height), layout="constrained")
        axes = figure.subplots()
        fill(axes)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#eee", lw=0.8)
        axes.set_axisbelow(True)
        target = io.StringIO()
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    return "".join(f"{line.rstrip()}\n" for line in target.getvalue().splitlines())
