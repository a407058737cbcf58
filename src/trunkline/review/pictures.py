"""Draws the pictures of the HTML report: SVG that takes its colours from the page, so that it is as dark or light."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from markupsafe import Markup

from trunkline.pipeline.evaluate.estimate import Estimate
from trunkline.pipeline.reports import BacktestReport
from trunkline.pipeline.search import plots
from trunkline.pipeline.search.summary import Searched
from trunkline.review.data import Curve, CurveKind, Moved, Points, Reliance
from trunkline.show import drawing

MOST = 40  # rows of a picture
LABEL = 22  # characters of a row's name
_PROLOGUE = r"<!--.*?-->|<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>"
_WIDTH = 4.4  # inches, so that letters stay readable on a phone

# Colours that stand for those of the page's style sheet, which knows whether it is dark.
INK, MUTED, GRID, THIS, GOOD, BAD = (f"#0f0f0{number}" for number in range(6))
_NAMES = {INK: "ink", MUTED: "muted", GRID: "grid", THIS: "this", GOOD: "good", BAD: "bad"}
_LOOK = plots.Look(INK, MUTED, GRID, (THIS,), columns=2, longest=LABEL)
_LOOKS = {
    "better": ("D", GOOD, GOOD),
    "worse": ("X", BAD, BAD),
    "within noise": ("o", "none", MUTED),
    "noise not known": ("s", "none", MUTED),
}

SCORES: tuple[CurveKind, ...] = ("negative_scores", "positive_scores")  # drawn together
_SAME = ("calibration", "roc", "observed")  # beside the line on which both numbers are the same
_CURVES: dict[CurveKind, tuple[str, str, str, str]] = {  # title, axes, mark
    "calibration": (
        "Calibration: observed rate by score; on the dashed line both are the same",
        "score",
        "observed rate",
        "o",
    ),
    "roc": (
        "ROC: true positive rate by false positive rate; the dashed line is chance",
        "false positive rate",
        "true positive rate",
        "",
    ),
    "precision_recall": ("Precision by recall", "recall", "precision", ""),
    "observed": ("Mean label by score; on the dashed line both are the same", "score", "mean label", "o"),
}


@dataclass(frozen=True)
class Picture:
    """An SVG for the inside of an HTML page, and what it shows."""

    svg: Markup
    title: str


def curve(points: Curve) -> Picture:
    """Draw a curve of this commit, and of the base where that has one."""
    title = _CURVES[points.kind][0]
    both = (*points.points, *points.base)
    values = [value for point in both if all(map(_drawable, point)) for value in point]
    limits = 0.0, 1.0  # the ends of both axes: those of rates, or of what there is to draw
    if points.kind == "observed" and values and min(values) != max(values):
        limits = min(values), max(values)
    return framed(points.kind, title, 4.0, lambda axes: _curve(axes, points, limits))


def scores(curves: Sequence[Curve]) -> Picture | None:
    """Draw how the scores of both labels are spread, here and at the base; None where nothing says so."""
    spread = {points.kind: points for points in curves if points.kind in SCORES}
    if len(spread) < len(SCORES):
        return None
    return framed("scores", "Scores of the rows of each label", 3.4, lambda axes: _scores(axes, spread))


def backtest(report: BacktestReport) -> Picture | None:
    """Draw the first metric at each origin, with the interval of its mean over them; None where there is no origin."""
    name = report.first
    there = [
        (origin.origin, value)
        for origin in report.origins
        if name is not None and (value := origin.metrics.get(name)) is not None and _drawable(value)
    ]
    if name is None or not there:
        return None
    title = f"{name} at each origin of the backtest; the line is their mean, with its interval"
    return framed("backtest", title, 3.0, lambda axes: _backtest(axes, there, name, report.metrics[name]))


def reliances(leant_on: Sequence[Reliance]) -> Picture | None:
    """Draw what the model leans on most, the first on top; None where nothing says so."""
    drawable = [each for each in leant_on if _drawable(each.value)][:MOST]
    if not drawable:
        return None
    title = "What the model leans on: mean absolute SHAP value of each feature"
    return framed("reliances", title, 1.4 + 0.26 * len(drawable), lambda axes: _reliances(axes, drawable))


def changes(whole: Sequence[Moved]) -> Picture | None:
    """Draw the change of each metric with its noise, the better to the right; None where no change is known."""
    drawable = [moved for moved in whole if _drawable(moved.better)][:MOST]
    if not drawable:
        return None
    title = "Change of each metric, with its interval: right of the line is better"
    return framed("changes", title, 1.4 + 0.36 * len(drawable), lambda axes: _changes(axes, drawable))


def forest(slices: Sequence[Moved], whole: float | None) -> Picture | None:
    """Draw a metric slice by slice, at the base and now, with intervals; `whole` is that of the whole holdout."""
    drawable = [moved for moved in slices if _drawable(moved.now.value)][:MOST]
    if not drawable:
        return None
    title = f"{drawable[0].metric} of each slice, with its interval, at the base and now"
    return framed("forest", title, 1.5 + 0.3 * len(drawable), lambda axes: _forest(axes, drawable, whole))


def searches(searched: Searched) -> Iterator[Picture]:
    """Draw what was tried, and what the metric depends on where that is known; nothing if no trial was measured."""
    metric = searched.metric
    trials = [trial for trial in searched.trials if trial.value is None or _drawable(trial.value)]
    if any(trial.state == "complete" for trial in trials):
        title = f"Search: {metric} of each trial"
        yield framed("tried", title, 4.0, lambda axes: plots.history(axes, trials, metric, _LOOK))
    if searched.importance:
        title = f"Search: what {metric} depends on among the trials"
        high, shares = plots.height(searched.importance), searched.importance
        yield framed("depends", title, high, lambda axes: plots.importance(axes, shares, metric, _LOOK))


def framed(name: str, title: str, height: float, fill: Callable[[Any], None]) -> Picture:
    """Return a picture, so many inches high, of what `fill` draws into its axes; no other of a page has its `name`."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.set_facecolor("none")
        fill(axes)

    colours = dict.fromkeys(("text.color", "xtick.labelcolor", "ytick.labelcolor"), INK)
    colours |= dict.fromkeys(("axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), MUTED)
    svg = drawing.svg((_WIDTH, height), draw, padding=(0.08, 0.08), settings=colours, background="none")
    return Picture(_inline(svg, name, title), title)


def _inline(svg: str, name: str, title: str) -> Markup:
    """Return an SVG for the inside of a page: no prologue, comment or style, its names its own, the page's colours."""
    svg = re.sub(_PROLOGUE, "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub("|".join(_NAMES), lambda match: f"var(--{_NAMES[match[0]]})", svg)
    svg = "".join(f"{line.rstrip()}\n" for line in svg.splitlines() if line.strip())
    label = Markup('<svg role="img" aria-label="{}"').format(title)
    return Markup(svg.replace("<svg", label, 1))  # noqa: S704  without comments, it has no text of others


def _curve(axes: Any, points: Curve, limits: tuple[float, float]) -> None:
    _, across, up, marker = _CURVES[points.kind]
    room = 0.02 * (limits[1] - limits[0])
    ends = limits[0] - room, limits[1] + room
    if points.kind in _SAME:
        axes.plot(limits, limits, color=MUTED, lw=1, ls="--")
    if points.base:
        base = _columns(points.base, limits)
        axes.plot(*base, color=MUTED, lw=1.4, marker="s" if marker else "", ms=4, mfc="none", label="base")
    axes.plot(*_columns(points.points, limits), color=THIS, lw=1.8, marker=marker, ms=5, label="this")
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    finish(axes, across)
    axes.set_ylabel(up, fontsize=10)
    axes.grid(axis="y", color=GRID, lw=0.8)
    if points.base:
        legend(axes)


def _columns(points: Points, limits: tuple[float, float]) -> tuple[Sequence[float], Sequence[float]]:
    """Return the points inside of the limits, as both axes have them."""
    inside = [point for point in points if all(limits[0] <= value <= limits[1] for value in point)]
    return [across for across, _ in inside], [up for _, up in inside]


def _scores(axes: Any, spread: Mapping[CurveKind, Curve]) -> None:
    for kind, colour, name in zip(SCORES, (GOOD, BAD), ("negative", "positive"), strict=True):
        for points, label, look in (
            (spread[kind].points, f"{name}, this", {"color": colour, "lw": 1.8}),
            (spread[kind].base, f"{name}, base", {"color": colour, "lw": 1.2, "ls": ":"}),
        ):
            across, up = _columns(points, (0.0, 1.0))
            if across:
                axes.step(across, up, where="mid", label=label, **look)
    axes.set(xlim=(0, 1), ylim=(0, None))
    finish(axes, "score")
    axes.set_ylabel("share of the label's rows", fontsize=10)
    axes.grid(axis="y", color=GRID, lw=0.8)
    legend(axes, columns=2)


def _backtest(axes: Any, there: Sequence[tuple[date, float]], name: str, mean: Estimate) -> None:
    axes.plot(range(len(there)), [value for _, value in there], color=THIS, lw=1.8, marker="o", ms=5)
    if mean.value is not None and mean.interval is not None and all(map(_drawable, mean.interval)):
        axes.axhline(mean.value, color=MUTED, lw=1, ls="--")
        axes.axhspan(*mean.interval, color=GRID, alpha=0.5, lw=0)
    finish(axes, "origin")
    axes.set_xticks(range(len(there)), [str(day) for day, _ in there], rotation=90 if len(there) > 4 else 0)
    axes.set_ylabel(name, fontsize=10)
    axes.grid(axis="y", color=GRID, lw=0.8)


def _reliances(axes: Any, leant_on: Sequence[Reliance]) -> None:
    axes.barh(range(len(leant_on)), [each.value for each in leant_on], height=0.6, color=THIS, label="this")
    before = [(each.base, row) for row, each in enumerate(leant_on) if _drawable(each.base)]
    if before:
        axes.plot(*zip(*before, strict=True), ls="", marker="|", ms=11, mew=2, color=INK, label="base")
    name_rows(axes, [each.feature for each in leant_on])
    finish(axes, "mean absolute SHAP value")


def _changes(axes: Any, moves: Sequence[Moved]) -> None:
    seen = set()
    axes.axvline(0, color=INK, lw=1)
    for row, moved in enumerate(moves):
        if moved.clear:
            look = "better" if (moved.better or 0) > 0 else "worse"
        else:
            look = "noise not known" if moved.clear is None else "within noise"
        marker, face, edge = _LOOKS[look]
        if moved.interval and all(map(_drawable, moved.interval)):
            axes.hlines(row, *moved.interval, color=edge, lw=1.8)
        label = None if look in seen else look
        axes.plot(moved.better, row, ls="", marker=marker, ms=8, mfc=face, mec=edge, mew=1.5, label=label)
        seen.add(look)
    name_rows(axes, [moved.metric for moved in moves])
    finish(axes, "change, positive for the better")


def _forest(axes: Any, moves: Sequence[Moved], whole: float | None) -> None:
    if _drawable(whole):
        axes.axvline(whole, color=INK, lw=1, ls=":", label="whole holdout")
    _points(axes, moves, "now", 0.14, {"marker": "o", "color": THIS, "mfc": THIS, "label": "now"})
    _points(axes, moves, "before", -0.14, {"marker": "s", "color": MUTED, "mfc": "none", "label": "base"})
    name_rows(axes, [moved.where for moved in moves])
    finish(axes, short(moves[0].metric))


def _points(axes: Any, moves: Sequence[Moved], side: str, shift: float, look: dict[str, Any]) -> None:
    """Draw one side of every slice, a little above or below the middle of its row."""
    points = [(row + shift, getattr(moved, side)) for row, moved in enumerate(moves)]
    shown = [(row, point) for row, point in points if point is not None and _drawable(point.value)]
    for row, point in shown:
        if point.interval and all(map(_drawable, point.interval)):
            axes.hlines(row, *point.interval, color=look["color"], lw=1.4)
    if shown:
        axes.plot([point.value for _, point in shown], [row for row, _ in shown], ls="", ms=5, **look)


def name_rows(axes: Any, names: Sequence[str]) -> None:
    """Name the rows, the first on top, and explain the marks below."""
    axes.set_yticks(range(len(names)), [short(name) for name in names], fontsize=10)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    if axes.get_legend_handles_labels()[1]:
        legend(axes)


def legend(axes: Any, columns: int = 3) -> None:
    """Explain the marks below the picture."""
    axes.figure.legend(loc="outside lower left", ncols=columns, frameon=False, fontsize=9)


def short(name: str) -> str:
    """Return a name that leaves room for the picture: the middle of a long one is left out."""
    return name if len(name) <= LABEL else f"{name[: LABEL // 2]}…{name[1 - LABEL // 2 :]}"


def _drawable(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and abs(value) < 1e9  # what an axis can hold


def finish(axes: Any, across: str) -> None:
    """Name the axis across, and leave out what is no information."""
    axes.set_xlabel(across, fontsize=10)
    axes.tick_params(axis="both", labelsize=10)
    axes.locator_params(axis="x", nbins=5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=GRID, lw=0.8)
    axes.set_axisbelow(True)
