"""Draws what was watched: metrics and scores over time, how near each bound is, distributions before and now."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Any

import polars as pl

from trunkline.monitor.judge import LIMIT, RULE, VERDICT
from trunkline.monitor.report import Report
from trunkline.monitor.table import (
    BIN,
    COMPLETE,
    COUNT,
    COVERAGE,
    ESTIMATE,
    FEATURE,
    HIGH,
    KIND,
    LABEL,
    LOW,
    MEASURE,
    OUTCOME,
    PERFORMANCE,
    REFERENCE,
    SCORE,
    SLICE,
    SUBJECT,
    VALUE,
    WINDOW,
)
from trunkline.review.pictures import BAD, GRID, INK, MUTED, THIS, Picture, finish, framed, legend, short
from trunkline.show.markdown import plain

MOST, NAME = 40, 80  # rows of a heat map, and characters of a name

_HEIGHT = 3.0  # inches
_FULL = 2.0  # times the limit, from which on a cell of a heat map is of full colour
_WHOLE = (pl.col(SLICE) == "") & pl.col(VALUE).is_not_nan()


def metrics(report: Report) -> Iterator[Picture]:
    """Draw each metric window by window, with its interval, beside its estimate, the holdout's, and the coverage."""
    table = report.measured.table.filter(_WHOLE & (pl.col(MEASURE) == "value"))
    names = table.filter(pl.col(KIND).is_in([PERFORMANCE, ESTIMATE]))[SUBJECT].unique().sort()
    for number, name in enumerate(names):
        of = table.filter(pl.col(SUBJECT) == name)
        known, estimated = (of.filter(pl.col(KIND) == kind).sort(WINDOW) for kind in (PERFORMANCE, ESTIMATE))
        title = (
            f"{plain(name, NAME)}: measured (line, band: interval), estimated of the scores (dotted), on the holdout"
        )
        title += " (dashed); bars: share of rows with an outcome"
        yield framed(f"metric{number}", title, _HEIGHT, partial(_metric, known=known, estimated=estimated, name=name))


def means(report: Report) -> Iterator[Picture]:
    """Draw the mean of each score, and of what came, window by window."""
    table = report.measured.table.filter(_WHOLE & (pl.col(MEASURE) == "mean"))
    came = table.filter(pl.col(KIND) == OUTCOME).sort(WINDOW)
    for number, name in enumerate(table.filter(pl.col(KIND) == SCORE)[SUBJECT].unique().sort()):
        scores = table.filter((pl.col(KIND) == SCORE) & (pl.col(SUBJECT) == name)).sort(WINDOW)
        title = f"Mean of {plain(name, NAME)} (line) and of the outcomes that came (squares); dashed: on the holdout"
        yield framed(f"mean{number}", title, _HEIGHT, partial(_means, scores=scores, came=came, name=name))


def heat(report: Report) -> Iterator[Picture]:
    """Draw, by feature and window, how much of its bound each rule of features uses; then by slice."""
    findings = report.findings.filter(pl.col(VALUE).is_not_nan() & pl.col(LIMIT).is_not_null())
    for rule in report.monitoring.judged:
        of = findings.filter((pl.col(RULE) == rule) & (pl.col(KIND) == FEATURE))
        if of.filter(pl.col(VERDICT) == "beyond").height or (of.height and rule == "input_drift"):
            title = f"{rule}: how much of the limit each feature uses; full colour: twice the limit; a cross: beyond it"
            yield _heat(f"heat-{rule}", title, of.with_columns(pl.col(SUBJECT).alias("row")))


def slices(report: Report) -> Iterator[Picture]:
    """Draw, by slice and window, how far each rule of slices is from its limit."""
    findings = report.findings.filter(pl.col(VALUE).is_not_nan() & pl.col(LIMIT).is_not_null())
    for rule in report.monitoring.judged:
        of = findings.filter((pl.col(RULE) == rule) & (pl.col(SLICE) != ""))
        if of.height:
            title = f"{rule} by slice: full colour: at twice the way to the limit or worse; a cross: beyond it"
            named = of.with_columns(pl.concat_str(SLICE, pl.lit(" "), LABEL).alias("row"))
            yield _heat(f"slices-{rule}", title, named)


def distributions(report: Report) -> Iterator[Picture]:
    """Draw each feature and score that alerts: the reference's bins, before and in the alert's last window."""
    streaks = [each for alert in report.active for each in alert.streaks if each.kind in (FEATURE, SCORE)]
    last: dict[tuple[str, str], datetime] = {}
    for each in streaks:
        key = each.kind, each.subject
        last[key] = max(each.until, last.get(key, each.until))
    for number, ((kind, subject), window) in enumerate([*last.items()][:MOST]):
        of = (pl.col(KIND) == kind) & (pl.col(SUBJECT) == subject)
        before = report.measured.reference_counts.filter(of)
        now = report.measured.counts.filter(of & (pl.col(WINDOW) == window))
        if before.height and now.height:
            of_window = f"in the window of {window:%Y-%m-%d %H:%M} (bars)"
            title = f"{plain(subject, NAME)}: share of rows by bin, of the reference (line) and {of_window}"
            yield framed(f"bins{number}", title, _HEIGHT, partial(_bins, before=before, now=now))


def _metric(axes: Any, known: pl.DataFrame, estimated: pl.DataFrame, name: str) -> None:
    covered = known.filter(pl.col(COVERAGE).is_not_null())
    if covered.height:
        bars = axes.twinx()
        days = _days(covered)
        width = 0.9 * min((after - before for before, after in pairwise(days)), default=1.0)
        bars.bar(days, covered[COVERAGE].to_list(), width=width, color=GRID, alpha=0.6)
        bars.set(ylim=(0, 4), yticks=[], facecolor="none")
        bars.spines[:].set_visible(False)
        axes.set_zorder(bars.get_zorder() + 1)
        axes.patch.set_visible(False)
    sure = known.filter(pl.col(LOW).is_not_null() & pl.col(HIGH).is_not_null())
    if sure.height:
        axes.fill_between(_days(sure), sure[LOW].to_list(), sure[HIGH].to_list(), color=THIS, alpha=0.18, lw=0)
    axes.plot(_days(known), known[VALUE].to_list(), color=THIS, lw=1.8, marker="o", ms=3, label="measured")
    if estimated.height:
        line = _days(estimated), estimated[VALUE].to_list()
        axes.plot(*line, color=INK, lw=1.2, ls=":", label="estimated")
    _holdout(axes, pl.concat([known, estimated]))
    _of_time(axes, name)


def _means(axes: Any, scores: pl.DataFrame, came: pl.DataFrame, name: str) -> None:
    axes.plot(_days(scores), scores[VALUE].to_list(), color=THIS, lw=1.8, label="mean score")
    if came.height:
        look = {"color": INK, "ls": "", "marker": "s", "ms": 3, "mfc": "none"}
        axes.plot(_days(came), came[VALUE].to_list(), label="mean outcome", **look)
    _holdout(axes, scores)
    _of_time(axes, name)


def _holdout(axes: Any, rows: pl.DataFrame) -> None:
    reference = rows[REFERENCE].drop_nulls()
    if reference.len():
        axes.axhline(reference[0], color=MUTED, lw=1.2, ls="--", label="holdout")


def _of_time(axes: Any, up: str) -> None:
    finish(axes, "window (UTC)")
    axes.set_ylabel(short(plain(up, NAME)), fontsize=10)
    _dates(axes)
    legend(axes)


def _dates(axes: Any) -> None:
    from matplotlib import dates  # noqa: PLC0415  half a second

    library: Any = dates  # has no types
    locator = library.AutoDateLocator(minticks=3, maxticks=5)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(library.ConciseDateFormatter(locator))


def _days(rows: pl.DataFrame) -> list[float]:
    """Return the starts of windows as matplotlib has moments: in days since 1970."""
    return (rows[WINDOW].dt.epoch("us") / 86_400_000_000).to_list()


def _heat(name: str, title: str, findings: pl.DataFrame) -> Picture:
    """Return a heat map; its rows are in the order in which they moved, those that never did by their largest value."""
    cells = findings.with_columns(_used().alias("used"))
    beyond = pl.col(VERDICT) == "beyond"
    order = cells.group_by("row").agg(
        pl.col(WINDOW).filter(beyond).min().alias("first"), pl.col("used").max().alias("most")
    )
    rows = order.sort(["first", "most", "row"], descending=[False, True, False], nulls_last=True)["row"].to_list()[
        :MOST
    ]
    return framed(name, title, 1.2 + 0.26 * len(rows), partial(_cells, cells=cells, rows=rows))


def _used() -> pl.Expr:
    """Return how much of the way from the reference to the limit a value has gone."""
    start = pl.when(pl.col(REFERENCE).is_null()).then(0.0).otherwise(REFERENCE)
    way = pl.col(LIMIT) - start
    return ((pl.col(VALUE) - start) / pl.when(way.abs() < 1e-12).then(1e-12).otherwise(way)).clip(0.0, _FULL)


def _cells(axes: Any, cells: pl.DataFrame, rows: Sequence[str]) -> None:
    windows = cells[WINDOW].unique().sort().to_list()
    places = {window: number for number, window in enumerate(windows)}
    heights = {name: number for number, name in enumerate(rows)}
    shown = cells.filter(pl.col("row").is_in(rows))
    for row in shown.iter_rows(named=True):
        left, height = places[row[WINDOW]] - 0.5, heights[row["row"]]
        alpha = row["used"] / _FULL if math.isfinite(row["used"]) else 0.0
        axes.barh(height, 1, left=left, height=0.84, color=BAD if row[COMPLETE] else MUTED, alpha=alpha, lw=0)
        if row[VERDICT] == "beyond":
            axes.plot(places[row[WINDOW]], height, marker="x", ms=4, color=INK, mew=1)
    axes.set_yticks(range(len(rows)), [short(plain(name, NAME)) for name in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(-0.5, len(windows) - 0.5)
    ticks = range(0, len(windows), max(1, -(-len(windows) // 5)))
    finish(axes, "window (UTC)")
    axes.set_xticks(list(ticks), [_day(windows[place]) for place in ticks], fontsize=9)
    axes.tick_params(axis="y", length=0)


def _day(window: datetime) -> str:
    return f"{window:%m-%d}" if window.hour == window.minute == 0 else f"{window:%m-%d %H:%M}"


def _bins(axes: Any, before: pl.DataFrame, now: pl.DataFrame) -> None:
    joined = before.join(now.select(BIN, pl.col(COUNT).alias("now")), on=BIN, how="left", maintain_order="left")
    joined = joined.filter((pl.col(COUNT) > 0) | (pl.col("now").fill_null(0) > 0)).head(MOST)
    shares = [column / max(1, column.sum()) for column in (joined[COUNT], joined["now"].fill_null(0))]
    places = list(range(joined.height))
    axes.bar(places, shares[1].to_list(), width=0.8, color=THIS, alpha=0.75, lw=0, label="now")
    axes.step(places, shares[0].to_list(), where="mid", color=INK, lw=1.4, label="reference")
    finish(axes, "bin of the reference, by its upper end")
    names = [short(plain(_number(name), NAME)) for name in joined[BIN].to_list()]
    ticks = range(0, len(names), max(1, -(-len(names) // 8)))
    axes.set_xticks(list(ticks), [names[place] for place in ticks], fontsize=8, rotation=45, ha="right")
    axes.set_ylabel("share of rows", fontsize=10)
    legend(axes)


def _number(name: str) -> str:
    try:
        return f"{float(name):.3g}"
    except ValueError:
        return name
