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
COLOURS = ("#1f5fbf", "#777777", "#c05a1b", "#12805c")
MARKS = {  # of what happened: the height, the mark and its colour
    "released": (3, "^", COLOURS[0]),
    "refused": (2, "x", "#b00020"),
    "taken back": (2, "v", "#b00020"),
    "challenger": (2, "D", "#b00020"),
    "forbidden": (2, "s", "#b08a00"),
    "alert": (1, "|", COLOURS[1]),
    "upstream": (1, "s", "#b08a00"),
}


def weekly(rows: Rows, course: Course, start: date = START, end: date = END) -> list[dict[str, float]]:
    """Return the metrics of each whole week that a course has answered."""
    weeks = (min(end, course.end) - start) // WEEK
    bounds = [(start + number * WEEK, start + (number + 1) * WEEK) for number in range(weeks)]
    return [measures.values(rows, course.answers, rows.between(*each)) for each in bounds]


def draw(
    rows: Rows, courses: Sequence[Course], start: date = START, end: date = END, real: Course | None = None
) -> str:
    """Return an SVG: a panel for each metric, a line for each strategy; below, what happened to the first of them.

    A `real` course has a line too, and below is what happened to it, if it goes on to the end.
    """
    lines = {course.name: weekly(rows, course, start, end) for course in (*courses, *([real] if real else []))}

    def fill(figure: Any) -> None:
        panels = figure.subplots(len(PANELS) + 1, 1, sharex=True, height_ratios=[3] * len(PANELS) + [2])
        for axes, (metric, title) in zip(panels, PANELS.items(), strict=False):
            for (name, weeks), colour in zip(lines.items(), COLOURS, strict=False):
                days = [np.datetime64(start + number * WEEK + WEEK / 2) for number in range(len(weeks))]
                axes.plot(days, [week[metric] for week in weeks], color=colour, label=name, linewidth=1.4)
            axes.set_title(title, loc="left", fontsize=9)
            _shade(axes)
        panels[0].legend(ncols=len(lines), fontsize=8, frameon=False, loc="lower left")
        _time_line(panels[-1], real if real and real.end == end else courses[0], courses[-1])

    return drawing.svg((9.0, 8.0), fill, settings={"font.size": 8})


def _shade(axes: Any) -> None:
    axes.axvspan(np.datetime64(FAULT), np.datetime64(MENDED), color="#f3e3b3", linewidth=0)
    axes.grid(color="#dddddd", linewidth=0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _time_line(axes: Any, managed: Course, blind: Course) -> None:
    """Mark what happened to one strategy, and the releases of another; the month with the fault is shaded."""
    _shade(axes)
    shown = [(*MARKS[what], day) for day, what in managed.marks]
    shown += [(0, "^", COLOURS[2], version.since) for version in blind.versions]
    for height, mark, colour, day in shown:
        axes.plot([np.datetime64(day)], [height], mark, color=colour, markersize=5)
    axes.set_yticks(
        [3, 2, 1, 0], [f"{managed.name}: released", "refused, taken back, forbidden", "alerts", "blind: released"]
    )
    axes.set_ylim(-0.5, 3.5)
