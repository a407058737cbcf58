"""The picture of the year: ranking, calibration and cost by week of each strategy, and what happened when."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np

from examples.year import measures
from examples.year.plan import END, FAULT, MENDED, START
from examples.year.rows import Rows
from examples.year.strategies import Course
from trunkline.show import drawing

WEEK = timedelta(days=7)
PANELS = {
    "roc_auc": "area under the ROC curve",
    "calibration error": "calibration error",
    "cost": "cost of an answer",
}
COLOURS = ("#1f5fbf", "#777777", "#c05a1b")


def weekly(rows: Rows, course: Course, start: date = START, end: date = END) -> list[dict[str, float]]:
    """Return the metrics of each whole week."""
    weeks = (end - start) // WEEK
    bounds = [(start + number * WEEK, start + (number + 1) * WEEK) for number in range(weeks)]
    return [measures.values(rows, course.answers, rows.between(*each)) for each in bounds]


def draw(rows: Rows, courses: Sequence[Course], start: date = START, end: date = END) -> str:
    """Return an SVG: a panel for each metric, a line for each strategy; below, what happened to the first of them."""
    lines = {course.name: weekly(rows, course, start, end) for course in courses}

    def fill(figure: Any) -> None:
        panels = figure.subplots(len(PANELS) + 1, 1, sharex=True, height_ratios=[3] * len(PANELS) + [1.6])
        for axes, (metric, title) in zip(panels, PANELS.items(), strict=False):
            for (name, weeks), colour in zip(lines.items(), COLOURS, strict=False):
                days = [np.datetime64(start + number * WEEK + WEEK / 2) for number in range(len(weeks))]
                axes.plot(days, [week[metric] for week in weeks], color=colour, label=name, linewidth=1.4)
            axes.set_title(title, loc="left", fontsize=9)
            _shade(axes)
        panels[0].legend(ncols=len(courses), fontsize=8, frameon=False, loc="lower left")
        _time_line(panels[-1], courses[0], courses[-1])

    return drawing.svg((9.0, 8.0), fill, settings={"font.size": 8})


def _shade(axes: Any) -> None:
    axes.axvspan(np.datetime64(FAULT), np.datetime64(MENDED), color="#f3e3b3", linewidth=0)
    axes.grid(color="#dddddd", linewidth=0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _time_line(axes: Any, managed: Course, blind: Course) -> None:
    """Mark releases of both, and what was refused or forbidden; the month with the fault is shaded."""
    _shade(axes)
    released = [(2, version.since, "^", COLOURS[0]) for version in managed.versions]
    other = [
        (1, event.on, "x", "#b00020") if event.what == "refused" else (1, event.on, "s", "#b08a00")
        for event in managed.events
        if event.what != "merged"
    ]
    monthly = [(0, version.since, "^", COLOURS[2]) for version in blind.versions]
    for height, day, mark, colour in (*released, *other, *monthly):
        axes.plot([np.datetime64(day)], [height], mark, color=colour, markersize=6)
    axes.set_yticks([2, 1, 0], ["managed: released", "refused, forbidden", "blind: released"])
    axes.set_ylim(-0.5, 2.5)
