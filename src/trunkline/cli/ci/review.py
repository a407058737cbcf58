"""`trunkline ci review`: the check of a pull request, all of it in one process."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from trunkline.cli import gate as cli_gate
from trunkline.cli import options
from trunkline.cli import plan as cli_plan
from trunkline.cli import review as cli_review
from trunkline.cli.ci import reproduce as cli_reproduce
from trunkline.cli.commands import exit_code

FILE = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class _Part:
    """A verb with what it is called with; what comes after one that is `needed` and fails is not asked."""

    name: str
    run: Callable[[], Any]
    needed: bool = False


@dataclass(frozen=True)
class _Answer:
    part: str
    code: int | None
    seconds: float = 0.0


@click.command(short_help="Check a pull request: run what changed, judge it, write the review.")
@options.base("The branch that it is to be merged into; the commit where it left that one is believed.", default="main")
@click.option("--no-run", "ran", is_flag=True, help="The pipeline has been run here: judge what it gave.")
@click.option("--data", metavar="FILE", type=FILE, help="Write what trunkline ci comment makes the comment from.")
@click.option("--html", metavar="FILE", type=FILE, help="Write the review as a page.")
@click.option("--markdown", metavar="FILE", type=FILE, help="Write the comment into FILE, instead of printing it.")
@click.pass_context
def review(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context,
    base: str,
    ran: bool,
    data: Path | None,
    html: Path | None,
    markdown: Path | None,
) -> None:
    r"""Do in one process, which imports and parses once, what these verbs do one after the other.

    \b
    trunkline plan --base REF
    trunkline ci reproduce run --base REF
    trunkline review --base REF --attribute
    trunkline gate --base REF
    trunkline gate --self-test

    Where one of the first three fails, the rest is not asked; else each is. The exit code is the highest of theirs.
    """
    from trunkline.adapters.dvc.parses import kept_parses

    def verb(command: click.Command, **arguments: Any) -> Callable[[], Any]:
        return partial(context.invoke, command, **arguments)

    writing = {"html": html, "data": data, "markdown": markdown}
    parts = [
        *([] if ran else [_Part("plan", verb(cli_plan.plan, base=base), needed=True)]),
        *([] if ran else [_Part("ci reproduce run", verb(cli_reproduce.run, base=base), needed=True)]),
        _Part("review", verb(cli_review.review, base=base, attributing=True, **writing), needed=True),
        _Part("gate --base", verb(cli_gate.gate, base=base)),
        _Part("gate --self-test", verb(cli_gate.gate, testing=True)),
    ]
    with kept_parses():
        answers = list(_answers(parts))
    _show(answers)
    context.exit(max(answer.code or 0 for answer in answers))


def _answers(parts: list[_Part]) -> Iterator[_Answer]:
    for number, part in enumerate(parts):
        click.secho(f"trunkline {part.name}", bold=True)
        start = time.perf_counter()
        code = exit_code(part.run)
        yield _Answer(part.name, code, time.perf_counter() - start)
        if code and part.needed:
            yield from (_Answer(later.name, None) for later in parts[number + 1 :])
            return


def _show(answers: list[_Answer]) -> None:
    from rich.text import Text

    from trunkline.show import terminal

    table = terminal.table("", "trunkline", "s", left=(0, 1))
    for answer in answers:
        words, style = _WORDS[answer.code]
        seconds = "" if answer.code is None else f"{answer.seconds:.1f}"
        table.add_row(Text(words, style=style), Text(answer.part), seconds)
    terminal.show(table)


_WORDS = {
    None: ("not asked", "dim"),
    0: ("yes", "green"),
    1: ("no", "bold red"),
    2: ("wrong input", "bold red"),
    3: ("failed", "bold red"),
}
