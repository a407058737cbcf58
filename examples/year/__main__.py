"""Runs the year and writes the page: python -m examples.year [--months N] [--state FOLDER]."""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
from tests.forkserver import Forkserver

from examples.year import answers, challenger, lived, loop, page, picture, plan, rows, strategies
from examples.year.learning import Learner
from examples.year.plan import Story
from trunkline.core import files
from trunkline.core.params import Params
from trunkline.core.progress import Bar, track


@click.command()
@click.option("--months", type=click.IntRange(0, 9), default=0, help="How many are lived for real.")
@click.option("--short", is_flag=True, help="Live two months for real with a small model and all that is planted.")
@click.option("--state", type=click.Path(path_type=Path), default=Path(".cache/year"), show_default=True)
@click.option("--docs", type=click.Path(path_type=Path), default=Path("docs"), show_default=True)
def main(months: int, short: bool, state: Path, docs: Path) -> None:
    """Compare the strategies over the year, live some days for real, write the page and its picture.

    What is done is kept in the state folder, so that a run that was killed goes on.
    """
    if short:
        _live(state.absolute() / "short", plan.SHORT)
    if months:
        end = ([*plan.months(), plan.END])[months - 1]
        _live(state.absolute() / "lived", replace(plan.YEAR, end=end))
    _write(state.absolute(), docs)


def _live(state: Path, story: Story) -> None:
    with _forked(), Bar("the days", (story.end - story.start).days, "days") as bar:
        for _ in loop.live(state, story):
            bar.advance()


@contextmanager
def _forked() -> Iterator[None]:
    """Have stages, DVC and verbs be forks of a process that has imported the libraries, as in the tests."""
    server, path = Forkserver(Path(tempfile.mkdtemp(prefix="year-")), {}), os.environ["PATH"]
    try:
        os.environ["PATH"] = os.pathsep.join([str(server.bin), str(Path(sys.executable).parent), path])
        yield
    finally:
        os.environ["PATH"] = path
        server.stop()


def _lived(state: Path) -> Sequence[str]:
    """Return what the page says of each story that was lived."""
    stories = {"lived": plan.YEAR, "short": plan.SHORT}
    return [lived.text(loop.lived(state / name), stories[name], lived.pulls(state / name)) for name in stories]


def _write(state: Path, docs: Path) -> None:
    params, year = Params.read(), rows.read(state)
    learner = Learner(year, state, params)
    names = list(strategies.TRIED)
    tried = {name: strategies.TRIED[name](learner, name) for name in track(names, "policies", unit="policies")}
    courses = [strategies.renamed(tried[name], short) for short, name in strategies.SHOWN.items()]
    refused = challenger.judged(learner, courses[0])
    days = loop.lived(state / "lived")
    real = answers.course(days, answers.scores(state / "lived/answers", year)) if days else None
    of = page.compared(year, courses, list(tried.values()), refused, params.seed, real)
    docs.mkdir(parents=True, exist_ok=True)
    files.write_text(docs / "year-in-production.svg", picture.draw(year, courses, real=real))
    files.write_text(docs / "year-in-production.md", page.text(year, of, "\n\n".join(filter(None, _lived(state)))))


if __name__ == "__main__":
    main()
