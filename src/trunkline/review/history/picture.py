"""Draws the history of the model: its metric commit by commit, readable without colours."""

import math
from collections.abc import Sequence
from typing import Any

from trunkline.pipeline.evaluate.metrics import registry
from trunkline.review.history.entries import HistoryEntry, MeasuredMetric
from trunkline.show import drawing

WIDTH, STEP = 12.0, 0.66  # inches: of the widest picture, and what the name of a commit takes
LABEL = 0.17  # inches that a version takes, written upwards
# By verdict: what the legend says, marker, face and edge. Shape and filling tell them apart without colours.
_LOOKS = {
    "pass": ("gates pass", "o", "#1b7837", "#1b7837"),
    "fail": ("gates fail", "X", "#b2182b", "#b2182b"),
    None: ("no gates", "s", "white", "#444"),
}


def draw(entries: Sequence[HistoryEntry]) -> str:
    """Return an SVG of entries of one metric, newest first, without those at which nothing of the model changed."""
    line = [entry for entry in reversed(entries) if entry.notable]
    versions = max((len(version) for entry in line for version in entry.versions), default=0)
    size = min(WIDTH, max(7.0, 1.5 + STEP * len(line))), 4.2 + 0.085 * versions
    return drawing.svg(size, lambda figure: _fill(figure, line), padding=(0.12, 0.1))


def _fill(figure: Any, line: Sequence[HistoryEntry]) -> None:
    axes = figure.subplots()
    measured = [(position, entry, entry.measured) for position, entry in enumerate(line) if entry.measured]
    values = [entry.measured.value if entry.measured else math.nan for entry in line]
    axes.plot(range(len(line)), values, color="#aaa", lw=1, zorder=2)  # broken where nothing was measured
    _values(axes, measured)
    _versions(axes, line)
    _finish(axes, line, measured[-1][2])
    figure.suptitle(f"{measured[-1][2].metric}, commit by commit", x=0.02, ha="left", fontsize=13, fontweight="bold")
    figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=9)


def _values(axes: Any, measured: Sequence[tuple[int, HistoryEntry, MeasuredMetric]]) -> None:
    size = min(9.0, max(3.0, 400 / (len(measured) + 1)))  # of a mark: smaller where there are many
    bars = [(position, *item.interval) for position, _, item in measured if item.interval]
    if bars:
        places, lows, highs = zip(*bars, strict=True)
        level = measured[-1][2].confidence
        label = f"{level:.0%} interval" if level else "interval"
        axes.vlines(places, lows, highs, color="#777", lw=1.4, zorder=3, label=label)
        axes.plot([*places, *places], [*lows, *highs], ls="", marker="_", ms=size, color="#777", zorder=3)
    for verdict, (label, marker, face, edge) in _LOOKS.items():
        points = [(position, item.value) for position, entry, item in measured if entry.verdict == verdict]
        if points:
            look = {"marker": marker, "markersize": size, "mfc": face, "mec": edge, "mew": 1.4}
            axes.plot(*zip(*points, strict=True), ls="", label=label, zorder=4, **look)


def _versions(axes: Any, line: Sequence[HistoryEntry]) -> None:
    apart = math.ceil(LABEL * len(line) / (WIDTH - 1.5))
    labelled = len(line) + apart
    for position, entry in reversed(list(enumerate(line))):
        if entry.versions and labelled - position >= apart:
            labelled = position
            axes.axvline(position, color="#bbb", lw=0.9, ls=":", zorder=1)
            at = {"xy": (position, 1), "xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            axes.annotate(
                "\n".join(entry.versions), xytext=(0, 4), ha="center", va="bottom", rotation=90, fontsize=9, **at
            )


def _finish(axes: Any, line: Sequence[HistoryEntry], newest: MeasuredMetric) -> None:
    step = math.ceil(STEP * len(line) / (WIDTH - 1.5))
    shown = range(len(line))[::-step][::-1]
    names = [f"{line[position].short}\n{line[position].date}" for position in shown]
    axes.set_xticks(list(shown), names, fontsize=7)
    axes.set_xlim(-0.6, len(line) - 0.4)
    axes.margins(y=0.12)
    side = registry.better(newest.metric)
    better = f" ({side} is better)" if side else ""
    axes.set_ylabel(f"{newest.metric} on the holdout{better}", fontsize=9)
    axes.set_xlabel("commit, oldest first", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#ddd", lw=0.8)
    axes.set_axisbelow(True)
