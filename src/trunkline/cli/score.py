"""`trunkline score`: the ML Test Score and the level of maturity that a commit proves."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options, output

if TYPE_CHECKING:
    from trunkline.lineage.score.evaluate import Score

_MARKS = {0.0: "·", 0.5: "½", 1.0: "1"}


@click.command(short_help="The ML Test Score and the level of maturity that this repository proves.")
@click.argument("commit", default="HEAD", metavar="[COMMIT]")
@click.option("--badge", type=click.Path(dir_okay=False, path_type=Path), help="Write it as an SVG image to this file.")
@options.trunk
@options.as_json("Print every test and level with its evidence as JSON.")
def score(commit: str, badge: Path | None, trunk: str, *, as_json: bool) -> None:
    """Score COMMIT by the 28 tests of the ML Test Score (Breck et al., 2017) and by five levels of maturity.

    A point is given only where files of the commit, its history or its signed tags prove it; each has its evidence, and
    says what is missing. Nothing is fetched or asked. docs/score.md says what proves which.
    """
    from trunkline.core import files
    from trunkline.lineage.score import badge as image
    from trunkline.lineage.score import evaluate, gather

    scored = evaluate.evaluate(gather.read(Path(), commit, trunk))
    if badge:
        files.write_text(badge, image.svg(scored))
    output.answer(evaluate.content(scored), "\n".join(_lines(scored)), as_json)


def _lines(scored: "Score") -> Iterator[str]:
    level = scored.level
    yield f"{scored.commit[:10]}: {scored.total:g} of 7 by the ML Test Score, level {level.number} of 5 ({level.name})"
    for section, points in scored.sections.items():
        yield f"\n{section}: {points:g} of 7"
        for point in scored.tests:
            if point.section == section:
                yield f"  {_MARKS[point.points]} {point.number} {point.claim}"
                yield from _detail((*(f"{each.where}: {each.shows}" for each in point.evidence),), point.missing)
    yield "\nlevels"
    for each in scored.levels:
        yield f"  {'1' if each.reached else '·'} {each.number} {each.name}"
        yield from _detail(tuple(f"{proof.where}: {proof.shows}" for proof in each.evidence), each.missing)


def _detail(evidence: tuple[str, ...], missing: tuple[str, ...]) -> Iterator[str]:
    yield from (f"      {line}" for line in evidence)
    yield from (f"      missing: {line}" for line in missing)
