"""`trunkline log`: the history of the trunk as a model's history."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options, output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table
    from rich.text import Text

    from trunkline.review.history.entries import HistoryEntry, MeasuredMetric, Record


@click.command(short_help="Show the history of the trunk as a model's history.")
@click.argument("ref", default="HEAD", metavar="[REF]")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Most entries to show.")
@click.option("--metric", metavar="NAME", help="The metric to show, instead of the first that is declared.")
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw the metric into this file too.")
@click.option("--all", "unfolded", is_flag=True, help="Show also the entries at which nothing of the model changed.")
@options.as_json("Print the entries as JSON, with every field.")
def log(  # noqa: PLR0913  an option each
    ref: str, limit: int, metric: str | None, svg: Path | None, *, unfolded: bool, as_json: bool
) -> None:
    """Show what became of the model, commit by commit along the first parents of REF, newest first.

    An entry is a commit that changed params.yaml, dvc.lock, the metrics or the gates of reports/, or
    models/registry.yaml. It has the verdict of its gates, its metric on the holdout and the change to the entry
    before, the versions tagged on it, the config keys that changed, and what production runs where that changed.
    Entries at which neither the model nor what was measured or runs changed are folded into a line with their number.
    """
    from trunkline.review.history import entries

    records = _records(ref, limit)
    shown = entries.entries(records, limit, metric)
    if as_json:
        output.echo_json(entries.content(shown))
    else:
        _show(shown, more=len(records) > limit, unfolded=unfolded)
    if svg:
        from trunkline.core import files
        from trunkline.review.history import picture

        files.write_text(svg, picture.draw(entries.of_one_metric(records, limit, metric)))
        click.echo(f"{svg}: drawn", err=True)


def _records(ref: str, limit: int) -> "tuple[Record, ...]":
    from trunkline.adapters.git import ancestry, repository
    from trunkline.review.history import entries

    # One more than is shown: what the last one is compared with.
    commits = ancestry.first_parents(Path(), _start(ref), entries.CHANGED, limit=limit + 1)
    _refuse_half_a_history(ref, len(commits) <= limit, len(commits))
    texts = repository.files_at(Path(), [commit.hash for commit in commits], entries.READ)
    tagged = entries.versions(ancestry.annotated(Path()))
    return tuple(entries.Record(commit, tagged.get(commit.hash, ()), texts[commit.hash]) for commit in commits)


def _start(ref: str) -> str:
    from trunkline.adapters.git import repository
    from trunkline.core.errors import UserError
    from trunkline.show.text import clean

    commit = repository.resolve(Path(), ref)
    if commit:
        return commit
    if not repository.is_repository(Path()):
        raise UserError("this folder is in no repository that git can read; run trunkline log in a project's clone")
    if ref == "HEAD":
        raise UserError("HEAD: there is no commit yet; run: git commit")
    raise UserError(f"{clean(ref)}: no commit has this name; git branch --all and git tag list those that have one")


def _refuse_half_a_history(ref: str, complete: bool, count: int) -> None:
    """Raise UserError where the first commit of the clone would pass for the first of the trunk, or there is none."""
    from trunkline.adapters.git import repository
    from trunkline.core.errors import UserError
    from trunkline.review.history.entries import CHANGED
    from trunkline.show.text import clean

    if complete and repository.is_shallow(Path()):
        raise UserError(
            f"{clean(ref)}: the clone is shallow and its history ends after {count} of the entries; "
            "run: git fetch --unshallow"
        )
    if not count:
        names = ", ".join(path.as_posix() for path in CHANGED)
        raise UserError(f"{clean(ref)}: no commit changed any of {names} here; run trunkline log in a project's folder")


def _show(entries: "Sequence[HistoryEntry]", *, more: bool, unfolded: bool) -> None:
    from trunkline.pipeline.evaluate.metrics import registry
    from trunkline.show import terminal

    terminal.show(_table(entries, unfolded))
    for name in sorted({entry.measured.metric for entry in entries if entry.measured}):
        for metric in registry.all_named(name)[:1]:
            if metric.better:
                click.echo(f"{metric.name}: {metric.better} is better")
    if more:
        click.echo(f"the newest {len(entries)} entries; older ones: --limit {5 * len(entries)}")


def _table(entries: "Sequence[HistoryEntry]", unfolded: bool) -> "Table":
    from itertools import groupby

    from rich.text import Text

    from trunkline.show.terminal import table

    measured = [entry.measured for entry in entries if entry.measured]
    names = {item.metric for item in measured}
    levels = {item.confidence for item in measured}
    level = next(iter(levels)) if len(levels) == 1 else None
    name = next(iter(names)) if len(names) == 1 else ""
    interval = f"{level:.0%} interval" if level else "interval"
    rows = table("commit", "day", "gates", name or "metric", interval, "change", "", left=(0, 1, 2, 6))
    for column in rows.columns[:-1]:
        column.no_wrap = True
    for shown, group in groupby(entries, key=lambda entry: entry.notable or unfolded):
        together = list(group)
        if not shown:
            commits = "1 commit" if len(together) == 1 else f"{len(together)} commits"
            folded = Text(f"{commits} with the same model, measured values and versions that run", style="dim")
            rows.add_row("…", "", "", "", "", "", folded)
            continue
        for entry in together:
            cells = _cells(entry.measured, named=not name)
            rows.add_row(Text(entry.short, style="yellow"), entry.date, _mark(entry), *cells, _story(entry))
    return rows


def _mark(entry: "HistoryEntry") -> "Text":
    from rich.text import Text

    marks = {"pass": Text("pass", style="green"), "fail": Text("FAIL", style="bold red")}
    return marks.get(entry.verdict or "", Text())


def _cells(measured: "MeasuredMetric | None", named: bool) -> "tuple[Text, str, str]":
    from rich.text import Text

    if measured is None:
        return Text(), "", ""
    value = f"{measured.metric} {measured.value:.4f}" if named else f"{measured.value:.4f}"
    interval = "{:.4f} to {:.4f}".format(*measured.interval) if measured.interval else ""
    change = "" if measured.change is None else f"{measured.change:+.4f}" if measured.change else "same"
    return Text(value), interval, change


def _story(entry: "HistoryEntry") -> "Text":
    from rich.text import Text

    from trunkline.review.history.entries import changed_keys

    runs = [f"production runs {entry.production or 'nothing'}"] if entry.production_changed else []
    story = Text.assemble((" ".join((*entry.versions, "")), "bold cyan"), entry.subject)
    if entry.undefined:
        story.append(f"\n  {entry.undefined}", style="yellow")
    for line in [*runs, *changed_keys(entry)]:
        story.append(f"\n  {line}", style="bold" if line in runs else "dim")
    return story
