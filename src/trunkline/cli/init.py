"""`trunkline init`: a project from a table."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options
from trunkline.core.errors import UserError

if TYPE_CHECKING:
    from trunkline.init.framework_files import Forge
    from trunkline.init.guess import Guess
    from trunkline.init.problem import Answers, Problem
    from trunkline.init.profile import Table
    from trunkline.init.sources import Named

FORGES: "tuple[Forge, ...]" = ("github", "gitlab", "jenkins", "none")


@click.command(short_help="Make a project from a table, run it, and say what was guessed.")
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@click.option("--target", help="What is predicted: a column, or an expression such as 'ArrDelay > 15'.")
@click.option("--time", metavar="COLUMN", help="When a row happens; the latest rows are held out.")
@click.option(
    "--key", "keys", multiple=True, metavar="COLUMN", help="A column of those that tell a row; may be repeated."
)
@click.option("--name", help="Name of the model; that of the table if none is given.")
@click.option("--forge", type=click.Choice(FORGES), help="Whose workflows are written; github if none is named.")
@options.dry_run("Write nothing; list the files and the guesses.")
@click.option("--no-run", is_flag=True, help="Write the project, but do not run it.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
def init(  # noqa: PLR0913, PLR0917  an argument per option
    tables: tuple[str, ...],
    target: str | None,
    time: str | None,
    keys: tuple[str, ...],
    name: str | None,
    forge: "Forge | None",
    dry_run: bool,
    no_run: bool,
    yes: bool,
) -> None:
    """Write a project into this folder that predicts something of a TABLE, run it, and say what was guessed.

    A TABLE is a CSV or Parquet file, an address such as https://host/data.csv or s3://bucket/data.parquet, a folder of
    Delta, delta:ADDRESS, iceberg:CATALOG/NAMESPACE.TABLE, or a database and its table, such as
    postgresql://host/database#wages, sqlite:///data/x.db#wages or '$VARIABLE#wages', where the environment has the
    address. A row of the first one is a prediction. What exists is not overwritten.
    """
    from trunkline.init import guesses, problem, project_files, write

    asking = not yes and sys.stdin.isatty()
    loaded = _read(tables or _asked(asking, "Table (a file or an address)", "TABLE"))
    answers = _answers(loaded[0][1], asking, problem.Answers(target or "", name, time, keys))
    whole = problem.problem(loaded, answers)
    chosen: Forge = forge or "github"
    if asking and forge is None:
        chosen = click.prompt("Forge", type=click.Choice(FORGES), default="github")
    texts = write.new(Path(), project_files.texts(whole, chosen, {}))
    write.check(texts)
    copied = {_target(each): each.copied for each, _ in loaded if each.copied is not None}
    if dry_run:
        for path in sorted({*texts, *copied}):
            click.echo(path)
        _tell(whole, guesses.guesses(whole), texts)
        return
    write.write(Path(), texts, copied)
    click.echo(f"{len(texts) + len(copied)} files were written")
    more = _run(whole, incoming=bool(copied), no_run=no_run)
    now = {path: path.read_text(encoding="utf-8") for path in texts}
    _tell(whole, [*guesses.guesses(whole), *more], now)


def _asked(asking: bool, question: str, option: str) -> tuple[str, ...]:
    if not asking:
        raise click.UsageError(f"Missing {option}, and there is no terminal to ask on.")
    return (click.prompt(question),)


def _answers(table: "Table", asking: bool, given: "Answers") -> "Answers":
    """Return what a person has said, and asks for the rest where there is a terminal."""
    from dataclasses import replace

    if given.target:
        return given
    click.echo(f"{table.name}: {', '.join(column.name for column in table.columns)}", err=True)
    (wanted,) = _asked(asking, "What is predicted (a column, or such as 'ArrDelay > 15')", "option '--target'")
    return replace(given, target=wanted)


def _read(tables: Iterable[str]) -> "list[tuple[Named, Table]]":
    """Read every table, and look at its columns; raises UserError for two of the same name."""
    from trunkline.init import loading

    loaded = [loading.load(text, Path()) for text in tables]
    names = [named.name for named, _ in loaded]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"two tables would be called {twice}; rename the file of one")
    return loaded


def _target(named: "Named") -> Path:
    from trunkline.init.sources import INCOMING

    return INCOMING / (named.copied.name if named.copied else "")


def _run(whole: "Problem", *, incoming: bool, no_run: bool) -> "list[Guess]":
    """Run the project, and show what it gave; return what was guessed by that."""
    import os

    from trunkline.cli import gate, report
    from trunkline.init import first_run, guesses
    from trunkline.review.summary import summary
    from trunkline.show import terminal

    first_run.repository(Path(), incoming=incoming)
    if no_run:
        click.echo("not run yet; run: dvc repro")
        return []
    # The stages are started as `python`, which is that of this command.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    results = first_run.run(Path(), whole)
    terminal.show(summary(report.subject(), results.reports))
    click.echo("\nSelf-test of the gates")
    gate.tell(results.cases)
    return [*guesses.rules(results.rules), *guesses.leaks(first_run.leaks(whole, results.reports))]


def _tell(whole: "Problem", guessed: "Iterable[Guess]", texts: "dict[Path, str]") -> None:
    """Print every guess with its place."""
    from trunkline.init import places

    click.echo("\nGuessed, and where to change it:")
    for guess in guessed:
        click.echo(f"  {places.place(whole, guess, texts)}: {guess.what} ({guess.why})")
