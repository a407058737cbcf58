"""`trunkline attribute`: which of the things that changed moved the metric, and by how much."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options, output
from trunkline.core import durations

if TYPE_CHECKING:
    from rich.console import RenderableType

    from trunkline.review.attribution.measure import Question
    from trunkline.review.attribution.shares import Attribution

MOST = 4  # changes of a factor


@click.command(short_help="Say which of several changes moved the metric.")
@options.base("The branch that this one has left.", default="main")
@click.option("--metric", metavar="NAME", help="The metric to explain, instead of the first that is declared.")
@options.as_json("Print the result as JSON.")
@options.dry_run("List what would be run, and how long that may take; run nothing.")
@click.option("--verbose", is_flag=True, help="Print what DVC says, on stderr.")
def attribute(base: str, metric: str | None, as_json: bool, dry_run: bool, verbose: bool) -> None:
    """Say how much of the metric's move since the base is due to window, config, code and environment.

    The base is run, then the head, then the base with each of these changes alone, in temporary checkouts that share
    the project's DVC cache: what was computed before is not computed again. A share is the metric with one change
    alone, minus that of the base; what the shares leave of the whole move is the interaction.
    """
    from trunkline.core.params import Params
    from trunkline.review.attribution import measure, shares

    question = measure.ask(Path(), Params.read(), base, metric)
    if dry_run:
        _list(question, as_json)
        return
    attribution = _answer(question, verbose)
    if as_json:
        output.echo_json(shares.content(attribution))
    else:
        _show(attribution)


def _answer(question: "Question", verbose: bool) -> "Attribution":
    from trunkline.core.progress import Bar
    from trunkline.review.attribution import measure

    with durations.measured(Path(), "trunkline attribute"), Bar("", len(question.trees), "combinations") as bar:

        def began(name: str) -> None:
            bar.rename(_words(name))
            if verbose:
                click.echo(f"--- {_words(name)}", err=True)

        def ended(log: str) -> None:
            if verbose:
                click.echo(log, err=True)
            bar.advance()

        return measure.answer(Path(), question, began, ended)


def _words(name: str) -> str:
    from trunkline.review.attribution.shares import ALL, BASE

    return name if name in {BASE, ALL} else f"{name} alone"


def _list(question: "Question", as_json: bool) -> None:
    """Print what would be run; the time is that of all stages, as if the cache were empty."""
    from trunkline.review.attribution import measure
    from trunkline.show import terminal

    seconds = measure.seconds(Path())
    changes = {factor.name: factor.changes for factor in question.factors}
    rows = [{"name": name, "changes": list(changes.get(name, ())), "seconds": seconds} for name in question.trees]
    if as_json:
        whole = {"base": question.base, "head": question.head, "combinations": rows}
        output.echo_json(whole)
        return
    table = terminal.table("run", "changed", "at most", left=(0, 1))
    for name in question.trees:
        took = "" if seconds is None else f"{seconds:.0f} s"
        table.add_row(_words(name), _few(changes.get(name, ())), took)
    terminal.show(table)
    duration = (
        "not known, as not every stage has run here" if seconds is None else f"{seconds * len(rows):.0f} s at most"
    )
    click.echo(f"{len(rows)} runs; time: {duration}; what is in the cache is not run")


def _show(attribution: "Attribution") -> None:
    from trunkline.show import terminal

    if not attribution.shares:
        since = f"has changed since {attribution.base[:12]}; name another base with --base"
        click.echo(f"nothing of window, config, code and environment {since}")
    else:
        terminal.show(_table(attribution))
    if attribution.shares and attribution.better:
        click.echo(f"{attribution.metric}: {attribution.better} is better; against {attribution.base[:12]}")
    for share in attribution.shares:
        if share.value is None:
            click.echo(f"{share.factor} cannot run alone, so its effect is in the interaction: {share.error}")
    for note in attribution.notes:
        click.echo(f"note: {note}")


def _table(attribution: "Attribution") -> "RenderableType":
    from rich.text import Text

    from trunkline.show import terminal

    table = terminal.table("factor", "changed", f"{attribution.metric} with it alone", "share", left=(0, 1))
    for share in attribution.shares:
        alone = ("", "cannot run alone") if share.value is None else (f"{share.value:.6g}", _signed(share.share))
        table.add_row(Text(share.factor), Text(_few(share.changes)), *map(Text, alone))
    table.add_row("interaction", "what they do together only", "", _signed(attribution.interaction))
    table.add_row(
        "whole move",
        f"{attribution.before:.6g} → {attribution.after:.6g}",
        f"{attribution.after:.6g}",
        _signed(attribution.move),
    )
    return table


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.6f}" if value else "same"


def _few(changes: tuple[str, ...]) -> str:
    return "\n".join([*changes[:MOST], *([f"and {len(changes) - MOST} more"] if len(changes) > MOST else [])])
