"""`trunkline pin`: which version of each source is meant, looked up and written into conf/."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options, output
from trunkline.core import files, paths
from trunkline.core.errors import UserError, nearest

if TYPE_CHECKING:
    from trunkline.pipeline.ingest.pins import PinMove

GONE, NONE = "gone", "not pinned"


@click.command(short_help="Write what the sources are now into conf/, for a pull request.")
@click.argument("names", nargs=-1, metavar="[SOURCE]...")
@click.option("--check", "checking", is_flag=True, help="Write nothing; exit 1 if a source is not what is pinned.")
@options.dry_run("Write nothing; print what would be written.")
@options.as_json()
@click.option("--experiment", metavar="NAME", help="Of this option of conf/experiment, not of conf/config.yaml's.")
@click.pass_context
def pin(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context,
    names: tuple[str, ...],
    checking: bool,
    dry_run: bool,
    as_json: bool,
    experiment: str | None,
) -> None:
    """Look at the sources, all or the named ones, and move their pins in conf/ to what is there now.

    A pin is the sha256 of a file, the version of a Delta table, the snapshot of an Iceberg table or the fingerprint of
    a database. What follows is a diff for a pull request, and dvc repro. Comments and layout of the files stay.
    """
    from trunkline.pipeline.compose import compose, judge, rewrite
    from trunkline.pipeline.ingest import pins

    composed = compose.compose(paths.CONF, [f"experiment={experiment}"] if experiment else [])
    sources = judge.data_of(composed, paths.CONF).sources
    for name in names:
        if name not in sources:
            raise UserError(f"data.sources: no source '{name}'{nearest(name, sources)}")
    chosen = {name: source for name, source in sources.items() if not names or name in names}
    moves = [move for name, source in chosen.items() for move in pins.moves(name, source)]
    edited = rewrite.rewritten(composed, ((("data", "sources", *move.key), move.now) for move in moves))
    if not (checking or dry_run):
        for path, text in edited.items():
            files.write_text(path, text)
    _tell(moves, edited, as_json, written=not (checking or dry_run))
    context.exit(1 if checking and moves else 0)


def _tell(moves: "list[PinMove]", edited: Mapping[Path, str], as_json: bool, *, written: bool) -> None:
    if as_json:
        moved = [{"key": _key(move), "before": move.before, "now": move.now} for move in moves]
        output.echo_json({"moved": moved, "files": sorted(map(str, edited)), "written": written})
        return
    for move in moves:
        before, now = (NONE if move.before is None else move.before), (GONE if move.now is None else move.now)
        click.echo(f"{_key(move)}: {before} → {now}")
    if not moves:
        click.echo("every source is what conf/ has pinned")
    elif written:
        click.echo(f"written to {', '.join(sorted(map(str, edited)))}; next: dvc repro")


def _key(move: "PinMove") -> str:
    return ".".join(("data", "sources", *move.key))
