"""Draws a search: how the best value came down trial by trial, and which parameters it depends on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trunkline.pipeline.evaluate.metrics import registry
from trunkline.pipeline.search.summary import Tried
from trunkline.show import drawing

MOST = 30  # parameters in a picture
_MARKERS = "osD^vP*X"  # one per family, so that no colour is needed to tell them apart


@dataclass(frozen=True)
class Look:
    """Colours, of which families take turns; entries of the legend side by side, and the characters of a name."""

    ink: str = "#333"
    muted: str = "#777"
    grid: str = "#eee"
    families: tuple[str, ...] = (
        "#1f5fa8",
        "#1b7837",
        "#b35806",
        "#762a83",
        "#b2182b",
        "#01665e",
        "#525252",
        "#8c510a",
    )
    columns: int = 3
    longest: int = 36

    def short(self, name: str) -> str:
        """Return a name that leaves room for the picture: the middle of a long one is left out."""
        half = self.longest // 2
        return name if len(name) <= self.longest else f"{name[:half]}…{name[1 - half :]}"


PAPER = Look()
Shares = Sequence[tuple[str, float]]


def history_svg(trials: Sequence[Tried], metric: str) -> str:
    """Return an SVG of the value of each trial, the best so far, and that of the declared model."""
    return _drawn(4.2, lambda axes: history(axes, trials, metric, PAPER))


def importance_svg(shares: Shares, metric: str) -> str:
    """Return an SVG of the share that each parameter has in what made trials good."""
    return _drawn(height(shares), lambda axes: importance(axes, shares, metric, PAPER))


def height(shares: Shares) -> float:
    """Return the inches that the picture of shares needs."""
    return 1.3 + 0.28 * len(_shown(shares))


def history(axes: Any, trials: Sequence[Tried], metric: str, look: Look) -> None:
    """Draw the value of each trial."""
    names = list(dict.fromkeys(trial.family for trial in trials))
    for number, name in enumerate(names):
        mark = {"marker": _MARKERS[number % len(_MARKERS)], "color": look.families[number % len(look.families)]}
        own = [trial if trial.state == "complete" and trial.family == name else None for trial in trials]
        _points(axes, own, look.short(name), ms=5, **mark)
    pruned = [trial if trial.state == "pruned" else None for trial in trials]
    _points(axes, pruned, "pruned: mean of its first folds", ms=4, marker="x", color=look.muted)
    steps = _steps(trials, registry.better(metric) == "larger")
    axes.step(*zip(*steps, strict=True), where="post", color=look.ink, lw=1.2, label="best so far")
    axes.axhline(steps[0][1], color=look.muted, lw=1, ls="--", zorder=1, label="conf/model as it is")
    axes.set_xlabel("trial", fontsize=9)
    ends = f" ({end} is better)" if (end := registry.better(metric)) else ""
    axes.set_ylabel(f"{look.short(metric)}, mean over folds{ends}", fontsize=9)
    axes.locator_params(axis="x", integer=True)
    _finish(axes, look)
    axes.figure.legend(loc="outside lower left", frameon=False, fontsize=8, ncols=look.columns)


def importance(axes: Any, shares: Shares, metric: str, look: Look) -> None:
    """Draw the share of each parameter, the largest on top."""
    shown = _shown(shares)[::-1]
    values = [share for _, share in shown]
    axes.barh(range(len(shown)), values, color=look.families[0], height=0.6)
    axes.set_yticks(range(len(shown)), [look.short(name) for name, _ in shown])
    for row, value in enumerate(values):
        axes.annotate(f"{value:.0%}", (value, row), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xlim(0, max(values) * 1.12 or 1)
    axes.set_xlabel(f"share in what makes {look.short(metric)} good (PED-ANOVA)", fontsize=9)
    _finish(axes, look)
    axes.grid(visible=False, axis="y")


def _shown(shares: Shares) -> Shares:
    return [share for share in shares if share[1] > 0][:MOST] or shares[:MOST]


def _points(axes: Any, trials: Sequence[Tried | None], label: str, **mark: Any) -> None:
    """Draw those trials of all that are there."""
    points = [(number, trial.value) for number, trial in enumerate(trials) if trial is not None]
    if points:
        axes.plot(*zip(*points, strict=True), ls="", label=label, zorder=3, **mark)


def _steps(trials: Sequence[Tried], larger: bool) -> list[tuple[int, float]]:
    best: float | None = None
    steps = []
    for number, trial in enumerate(trials):
        if trial.state == "complete" and trial.value is not None:
            best = trial.value if best is None else (max if larger else min)(best, trial.value)
            steps.append((number, best))
    return steps


def _finish(axes: Any, look: Look) -> None:
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=look.grid, lw=0.8)
    axes.set_axisbelow(True)


def _drawn(height: float, fill: Callable[[Any], None]) -> str:
    return drawing.svg((8.0, height), lambda figure: fill(figure.subplots()))
