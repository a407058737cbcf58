"""The page of the year: which strategy won by how much, what was tried, what happened, and what was not as it was."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from examples.year import managed, measures, plan, strategies
from examples.year.managed import Event
from examples.year.measures import Difference
from examples.year.plan import END, HOLDOUT, START
from examples.year.rows import Rows
from examples.year.strategies import Course

NAMES = {"roc_auc": "AUC", "log_loss": "log loss", "calibration error": "calibration error", "cost": "cost of 1,000"}

Differences = Mapping[str, Mapping[str, Difference]]


@dataclass(frozen=True)
class Compared:
    """The three strategies, how much better the first is than the others, and all that was tried.

    `differences` are by the name of the other strategy and of the metric; `refused` is what became of the challenger.
    `real` is the real loop, as far as it was lived, and `lived` how much better it is on its days.
    """

    courses: Sequence[Course]
    differences: Differences
    tried: Sequence[Course]
    refused: str
    real: Course | None = None
    lived: Differences = field(default_factory=dict)


def compared(  # noqa: PLR0913, PLR0917  all that the page is about
    rows: Rows, courses: Sequence[Course], tried: Sequence[Course], refused: str, seed: int, real: Course | None = None
) -> Compared:
    """Measure what the page says of them."""
    beside = [*courses[1:], *(each for each in tried if each.name in strategies.BESIDE)]
    lived = _better(rows, real, courses, seed) if real else {}
    return Compared(courses, _better(rows, courses[0], beside, seed), tried, refused, real, lived)


def _better(rows: Rows, this: Course, others: Sequence[Course], seed: int) -> Differences:
    chosen = rows.between(START, this.end)
    return {each.name: measures.differences(rows, each.answers, this.answers, chosen, seed) for each in others}


def text(rows: Rows, of: Compared, lived: str = "") -> str:
    """Return the page in Markdown; `lived` is what it says of the real loop."""
    loader = FileSystemLoader(Path(__file__).parent)
    pages = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    heads = [*NAMES.values()]
    fault = rows.seen.frame.filter(rows.between(plan.FAULT, plan.MENDED))["temperature"]
    values: dict[str, Any] = {
        "rows": int(rows.between(START, END).sum()), "start": START, "first": of.courses[0].versions[0],
        "holdout": HOLDOUT.days, "policies": strategies.SHOWN, "missed": f"{plan.MISSED:.0f}",
        "threshold": plan.THRESHOLD, "fault": plan.FAULT, "mended": plan.MENDED, "challenger": of.refused,
        "caught": _caught(rows, "temperature"), "cried": _caught(rows, "pressure"),
        "missing": f"{fault.null_count() / len(fault):.0%}", "lived": lived,
        "verdicts": list(_verdicts(of.courses[0], of.differences)),
        "results": _table(["strategy", "versions", *heads], [_row(rows, each) for each in of.courses]),
        "differences": _beside(of.differences), "real": _real(rows, of),
        "whole": of.real is not None and of.real.end == END,
        "tried": _table(["policy", "versions", *heads], [_row(rows, each) for each in of.tried]),
        "events": _table(["day", "asked by", "became", "learns from", "up to"], map(_event, of.courses[0].events)),
    }  # fmt: skip
    return pages.get_template("page.md.j2").render(values)


def _caught(rows: Rows, feature: str) -> tuple[int, int]:
    """Return on how many days of the fault, and on how many others, the rule `missing` of a feature is beyond."""
    days = [START + timedelta(days=number) for number in range((END - START).days)]
    beyond = [day for day in days if managed.broken(rows, feature, day)]
    inside = sum(plan.FAULT <= day < plan.MENDED for day in beyond)
    return inside, len(beyond) - inside


def _table(heads: Sequence[str], rows: Any) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _beside(differences: Differences) -> str:
    return _table(["beside", *NAMES.values()], [[name, *map(_shown, by.items())] for name, by in differences.items()])


def _real(rows: Rows, of: Compared) -> Mapping[str, Any] | None:
    """Return what the page says of the real loop's answers, beside those of the strategies on the days it lived."""
    if of.real is None:
        return None
    until = [replace(each, end=of.real.end) for each in of.courses]
    return {
        "end": of.real.end, "verdicts": list(_verdicts(of.real, of.lived)), "differences": _beside(of.lived),
        "results": _table(["strategy", *NAMES.values()], [_row(rows, each)[:1] + _row(rows, each)[2:]
                                                          for each in (of.real, *until)]),
        "events": _table(["day", "asked by", "became", "learns from", "up to"], map(_event, of.real.events)),
    }  # fmt: skip


def _row(rows: Rows, course: Course) -> list[str]:
    values = measures.values(rows, course.answers, rows.between(START, course.end))
    numbers = [f"{values[name] * 1000:.0f}" if name == "cost" else f"{values[name]:.4f}" for name in NAMES]
    return [course.name, str(len(course.versions)), *numbers]


def _shown(of: tuple[str, Difference]) -> str:
    name, each = of
    scale, digits = (1000, 1) if name == "cost" else (1, 4)
    value, low, high = (f"{number * scale:+.{digits}f}" for number in (each.value, each.low, each.high))
    return f"{value} ({low} to {high})"


def _verdicts(this: Course, differences: Differences) -> Iterator[str]:
    for name, by in differences.items():
        better = [NAMES[metric] for metric, each in by.items() if each.low > 0]
        worse = [NAMES[metric] for metric, each in by.items() if each.high < 0]
        alike = [title for title in NAMES.values() if title not in (*better, *worse)]
        said = {"better by": better, "worse by": worse, "not to be told apart by": alike}
        parts = [f"{words} {', '.join(titles)}" for words, titles in said.items() if titles]
        yield f"Beside *{name}*, *{this.name}* is {'; '.join(parts)}."


def _event(event: Event) -> list[str]:
    version = event.version
    return [str(event.on), event.why, event.what, str(version.start), str(version.end)]
