"""The text of a retraining's pull request, in Markdown: why, what production does now, what changes, what came of it.

What others wrote is escaped, and no value of a row is in it. Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from trunkline.core.durations import in_words
from trunkline.monitor.report import Report
from trunkline.monitor.table import (
    COMPLETE,
    COVERAGE,
    HIGH,
    KIND,
    LOW,
    PERFORMANCE,
    REFERENCE,
    ROWS,
    SLICE,
    SUBJECT,
    VALUE,
    WINDOW,
)
from trunkline.pipeline.evaluate.estimate import Estimate, words
from trunkline.retrain import windows
from trunkline.retrain.change import Change
from trunkline.retrain.result import Result
from trunkline.show.markdown import code, plain, table, text

NEWEST = 5  # labelled windows that are shown
_SHA = 12  # letters of one


@dataclass(frozen=True)
class Words:
    """What is said of a retraining: `causes` is a list in Markdown.

    `result` is None while nothing is computed; `changed` says that a person has changed the branch.
    """

    name: str
    causes: str
    change: Change
    report: Report | None
    result: Result | None
    changed: bool = False


def title(name: str, change: Change) -> str:
    """Return the title of the pull request, and the subject of its commit."""
    if change.after is None or change.after == change.before:
        return plain(f"Retrain {name} on what its sources are now", 200)
    return plain(f"Retrain {name} on {windows.written(change.after.train, change.step)}", 200)


def body(of: Words) -> str:
    """Return the text of the pull request."""
    return "\n".join([*_beginning(of), *(f"\n### {heading}\n\n{content}" for heading, content in _sections(of))]) + "\n"


def no_help(result: Result) -> str:
    """Return the sentence that says why the gates do not let a retraining pass."""
    reasons = "; ".join(text(reason) for reason in result.reasons) or "no rule could be judged"
    return f"Retraining does not help: {reasons}."


def no_help_comment(key: str, result: Result, pull: int) -> str:
    """Return the comment that says so, with what it is recognized by in its first line."""
    return f"<!-- trunkline:no-help {key} -->\n{no_help(result)} These rows are not tried again: #{pull}.\n"


def _beginning(of: Words) -> Iterator[str]:
    if of.result is not None and not of.result.helps:
        yield f"**{no_help(of.result)}**\n"
    yield f"{code(of.name)} is to learn from newer rows: declared state changes, and what the pipeline makes of it."
    if of.changed:
        yield "\nA person has changed this branch: its commits stay, only this text is kept up to date."


def _sections(of: Words) -> Iterator[tuple[str, str]]:
    yield "Why", of.causes
    yield "What production does now", _production(of.report)
    if not of.changed:
        yield "What changes", _changes(of.change)
    if of.result is None:
        yield "What the retrained model does", "CI is computing it; this text is brought up to date when it is there."
        return
    yield "What the retrained model does", "\n\n".join(filter(None, [_measured(of.result), _gates(of.result)]))
    yield "What it costs", _costs(of.result)


def _production(report: Report | None) -> str:
    if report is None:
        return "Not known: there is no prediction log, or no version runs."
    watched = report.watched
    of = f"{code(watched.version or 'the bundle')} {code(watched.digest[:_SHA])} in {code(watched.environment)}"
    rows = report.measured.table.filter(
        (pl.col(KIND) == PERFORMANCE) & (pl.col(SUBJECT) == report.metric) & (pl.col(SLICE) == "") & pl.col(COMPLETE)
    )
    if rows.is_empty():
        return f"{of}: no outcomes are known yet."
    newest = rows.sort(WINDOW, descending=True).head(NEWEST).iter_rows(named=True)
    head = ("window from", text(report.metric or ""), "90 % interval", "on its holdout", "rows", "with an outcome")
    lines = (
        (
            f"{row[WINDOW]:%Y-%m-%d %H:%M}", _number(row[VALUE]), _interval(row[LOW], row[HIGH]),
            _number(row[REFERENCE]), f"{row[ROWS]:,}", "—" if row[COVERAGE] is None else f"{row[COVERAGE]:.0%}",
        )
        for row in newest
    )  # fmt: skip
    return f"{of}, as of {watched.as_of:%Y-%m-%d %H:%M} UTC:\n\n{table(head, lines)}"


def _changes(change: Change) -> str:
    rows = []
    if change.before is not None and change.after is not None:
        for (name, old), (_, new) in zip(change.before, change.after, strict=True):
            if old != new:
                written = (code(windows.written(window, change.step)) for window in (old, new))
                rows.append((code(f"data.window.{name}"), *written))
    for move in change.moves:
        key = code(".".join(("data", "sources", *move.key)))
        rows.append((key, *(code("none" if side is None else str(side)) for side in (move.before, move.now))))
    files = ", ".join(code(path.as_posix()) for path in sorted(change.new))
    return f"{table(('key', 'now', 'then'), rows)}\n\nIn {files}, and nothing else."


def _measured(result: Result) -> str:
    if result.holdout is None:
        return ""
    before = result.before.metrics if result.before else {}
    rows = [("rows", f"{result.before.n:,}" if result.before else "—", f"{result.holdout.n:,}")]
    rows += [
        (text(name), _estimate(before.get(name)), _estimate(value)) for name, value in result.holdout.metrics.items()
    ]
    note = "Each on its own holdout, which are other rows: the gates compare both models on the new one."
    return f"{table(('', 'trunk', 'retrained'), rows)}\n\n{note}"


def _gates(result: Result) -> str:
    champion = result.gates.champion
    beside = f"beside {code(champion.version)} on the new holdout" if champion else "while production had none"
    marks = {"fail": "❌", "pass": "✅"}
    rows = (
        (marks[each.verdict], code(" ".join(filter(None, [each.id, each.slice]))), text(each.reason))
        for each in result.gates.gates
        if each.blocking and each.verdict != "not_applicable"
    )
    return f"The gates, {beside}: **{result.gates.verdict}**.\n\n{table(('', 'rule', 'why'), rows)}"


def _costs(result: Result) -> str:
    before = "" if result.learnt_before is None else f", {result.learnt_before:,} before"
    learnt = "not known" if result.learnt is None else f"{result.learnt:,}{before}"
    stages = ", ".join(map(code, result.stages)) or "none"
    took = "" if result.seconds is None else f"; {in_words(result.seconds)} when they last ran on one machine"
    return f"- Rows learnt from: {learnt}.\n- Stages that run again: {stages}{took}."


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return "—"
    interval = "" if estimate.interval is None else f" ({estimate.interval[0]:.4f} to {estimate.interval[1]:.4f})"
    return f"{text(words(estimate))}{interval}"


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"


def _interval(low: float | None, high: float | None) -> str:
    return "—" if low is None or high is None else f"{low:.4f} to {high:.4f}"
