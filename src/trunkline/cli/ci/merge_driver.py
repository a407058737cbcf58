"""`trunkline ci merge-driver`: what git calls to merge dvc.lock, params.yaml and reports."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from trunkline.adapters.git import repository
from trunkline.cli import options
from trunkline.core import files
from trunkline.core.errors import UserError
from trunkline.pipeline import merge


@click.command(short_help="Merge dvc.lock, params.yaml and reports for git.")
@click.argument("versions", nargs=-1, metavar="BASE OURS THEIRS PATH")
@click.option("--install", is_flag=True, help="Tell the git repository of this folder to use it; once per clone.")
@options.dry_run("Write nothing; print what would be written.")
@click.pass_context
def merge_driver(context: click.Context, versions: tuple[str, ...], install: bool, dry_run: bool) -> None:
    """Merge BASE, OURS and THEIRS, three versions of PATH, into OURS; git calls it with %O %A %B %P.

    dvc.lock is merged by stage, params.yaml by key, a report is taken as a whole. Exits with 1 if both sides
    changed the same stage or key; it is kept as ours then, so that the file can always be read.
    """
    if len(versions) != (0 if install else 4):
        raise click.UsageError("needs BASE OURS THEIRS PATH, or --install alone")
    if install:
        for key, value in merge.SETTINGS.items():
            if repository.setting(Path(), key) == value:
                click.echo(f"is set already: git config {key} '{value}'")
            elif dry_run:
                click.echo(f"would run: git config {key} '{value}'")
            elif repository.set_setting(Path(), key, value):
                click.echo(f"ran: git config {key} '{value}'")
            else:
                raise UserError(f"git config {key}: failed; run it inside a git repository that you may write to")
        return
    base, ours, theirs, path = versions
    merged = merge.merge(path, merge.Sides(*(_read(file, path) for file in (base, ours, theirs))), _render)
    if dry_run:
        click.echo(merged.text, nl=False)
    else:
        files.write_text(Path(ours), merged.text)
    for conflict in merged.conflicts:
        sides = f"ours {_listed(conflict.ours)}; theirs {_listed(conflict.theirs)}"
        click.echo(f"{path}: {conflict.name}: {sides}; resolve conf/, then run dvc repro and git add {path}", err=True)
    if merged.stale:
        click.echo(f"{path}: {', '.join(merged.stale)} must be made again; run: dvc repro", err=True)
    context.exit(1 if merged.conflicts else 0)


def _read(file: str, path: str) -> str:
    try:
        return Path(file).read_bytes().decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 on one side of the merge: {error}; run there: dvc repro") from None


def _render(content: Mapping[str, Any]) -> str:
    from trunkline.pipeline.compose import compose  # Hydra takes two seconds, and few merges write params.yaml

    return compose.render(content)


def _listed(changes: tuple[str, ...]) -> str:
    more = len(changes) - merge.SHOWN
    return ", ".join(changes[: merge.SHOWN]) + (f" and {more} more" if more > 0 else "")
