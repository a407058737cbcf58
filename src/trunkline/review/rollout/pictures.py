"""Draws what a verdict on a rollout rests on: each rule as the hours went by, the scores of both arms, the slices."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from trunkline.deploy.rollout.evidence import WHOLE
from trunkline.deploy.rollout.finding import Finding
from trunkline.deploy.rollout.judge import Scores, Verdict
from trunkline.review.pictures import BAD, GRID, INK, MUTED, THIS, Picture, finish, framed, legend, name_rows
from trunkline.show.markdown import plain

MOST, NAME = 40, 80  # values of a slice that are drawn, and characters of the name of one

_HEIGHT = 3.0  # inches


def over_time(verdict: Verdict) -> Iterator[Picture]:
    """Draw each rule of all rows at the end of each hour: its value, the interval that it stays in, and the bound."""
    for number, rule in enumerate(dict.fromkeys(each.rule for _, findings in verdict.history for each in findings)):
        points = [(end, each) for end, findings in verdict.history for each in findings if each.rule == rule]
        known = [(end, each) for end, each in points if each.value is not None]
        if known:
            title = f"{rule}: the value (line), its interval (band), and the bound (dashed), hour by hour"
            yield framed(f"time{number}", title, _HEIGHT, partial(_time, points=known, verdict=verdict))


def scores(verdict: Verdict) -> Iterator[Picture]:
    """Draw how much of the scores of both arms is below the current version's deciles."""
    for number, each in enumerate(verdict.scores):
        title = f"{plain(each.name, NAME)}: share of rows at or below it, of both versions"
        yield framed(f"scores{number}", title, _HEIGHT, partial(_shares, each=each, verdict=verdict))


def slices(verdict: Verdict) -> Iterator[Picture]:
    """Draw one rule by slice: in shadow the decisions that change, in canary the mean; then performance, if judged."""
    for rule in ("disagreement", "mean", "performance"):
        drawn = [each for each in verdict.findings if each.rule == rule and each.value is not None]
        if len(drawn) > 1 and not (rule == "mean" and verdict.step.kind == "shadow"):
            title = f"{rule} by slice: value and interval; the dashed line is the bound"
            shown = drawn[:MOST]
            height = 1.5 + 0.3 * len(shown)
            yield framed(f"slices-{rule}", title, height, partial(_forest, findings=shown))


def _time(axes: Any, points: Sequence[tuple[datetime, Finding]], verdict: Verdict) -> None:
    hours = [(end - verdict.step.since).total_seconds() / 3600 for end, _ in points]
    findings = [each for _, each in points]
    banded = [(hour, *each.interval) for hour, each in zip(hours, findings, strict=True) if each.interval]
    if banded:
        across, low, high = zip(*banded, strict=True)
        axes.fill_between(across, low, high, color=GRID, label="interval")
    axes.plot(hours, [each.value for each in findings], color=THIS, lw=1.8, marker="o", ms=3, label="value")
    axes.axhline(findings[-1].bound, color=BAD, lw=1.4, ls="--", label="bound")
    axes.set_ylim(*_limits(findings))
    finish(axes, "hours since the step began")
    legend(axes)


def _limits(findings: Sequence[Finding]) -> tuple[float, float]:
    """Return the ends of the axis: all values and the last interval; what the first hours do not know is cut off."""
    last = findings[-1]
    held = [each.value for each in findings if each.value is not None]
    held += [last.bound or 0.0, 0.0, *(end for end in last.interval or () if math.isfinite(end))]
    room = 0.08 * (max(held) - min(held)) or 1e-3
    return min(held) - room, max(held) + room


def _shares(axes: Any, each: Scores, verdict: Verdict) -> None:
    for shares, label, look in (
        (each.current, verdict.step.current, {"color": MUTED, "marker": "s", "mfc": "none"}),
        (each.candidate, verdict.step.candidate, {"color": THIS, "marker": "o"}),
    ):
        axes.plot(each.levels, shares, lw=1.6, ms=5, label=plain(label, NAME), **look)
    axes.set_ylim(0, 1)
    finish(axes, each.name)
    axes.set_ylabel("share at or below", fontsize=10)
    legend(axes)


def _forest(axes: Any, findings: Sequence[Finding]) -> None:
    for row, each in enumerate(findings):
        colour = BAD if each.verdict == "breaks" else THIS
        if each.interval:
            axes.hlines(row, *each.interval, color=colour, lw=1.6)
        marker = "X" if each.verdict == "breaks" else "o"
        axes.plot(each.value, row, ls="", marker=marker, ms=6, color=colour)
    axes.axvline(findings[0].bound, color=INK, lw=1, ls="--")
    ends = [value for each in findings if each.part == WHOLE for value in each.interval or ()]
    ends += [value for each in findings for value in (each.value, each.bound) if value is not None]
    room = 0.5 * (max(ends) - min(ends)) or 1e-3
    axes.set_xlim(min(ends) - room, max(ends) + room)
    name_rows(axes, [plain(each.where, NAME) for each in findings])
    finish(axes, findings[0].rule)
