"""`trunkline push`: adds rows of a table to the store of online features, as they become known."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trunkline.cli import options, output

if TYPE_CHECKING:
    from trunkline.serve.online.features import OnlineFeatures

_Command = Callable[..., Any]


def bundle(command: _Command) -> _Command:
    """Add the argument BUNDLE, as `folder`."""
    return click.argument(
        "folder", metavar="[BUNDLE]", type=click.Path(path_type=Path), default=Path("models/bundle"), required=False
    )(command)


def store(command: _Command) -> _Command:
    """Add --store, as `url`."""
    return click.option(
        "--store", "url", metavar="URL", help="Instead of what conf/serving says (serving.online.store)."
    )(command)


project = options.project("The folder whose params.yaml has conf/serving.")


@click.command(short_help="Add rows of a table to the store of online features.")
@click.argument("table")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@options.bundle()
@store
@project
@options.as_json("Print what was done as JSON.")
@click.pass_context
def push(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context, table: str, source: Path, folder: Path, url: str | None, project: Path, as_json: bool
) -> None:
    """Store the rows of FILE, a CSV or Parquet file of TABLE, from which features of later requests are made.

    Rows are held to the contract; the first that breaks it stops the run, and those before it are stored. A row may
    come again, with more of its columns as they become known: what is stored already is not stored twice. Exits 1 where
    a row contradicts what is stored, which then stays.
    """
    from trunkline.core.errors import UserError, nearest
    from trunkline.core.progress import Bar
    from trunkline.serve import materialize as serve_materialize

    online = opened(folder, url, project)
    if table not in online.tables:
        raise UserError(f"{table}: no feature of {folder} is made of it{nearest(table, online.tables)}")
    expired = online.expiry.run()  # first, so that what is dead is not stored
    with Bar(source.name, None, "rows") as bar:
        filled = serve_materialize.push(online, table, source, bar.advance)
    if as_json:
        output.echo_json(vars(filled) | {"expired": expired})
    else:
        click.echo(f"{table}: {filled.rows:,} rows stored{serve_materialize.contradicting(filled)}")
    context.exit(1 if filled.conflicts else 0)


def opened(folder: Path, url: str | None, project: Path) -> "OnlineFeatures":
    """Return a bundle's online features, in the store that is declared or given."""
    import os

    from trunkline.conf.serving import Online, Serving
    from trunkline.core.errors import UserError
    from trunkline.core.params import Params
    from trunkline.core.paths import PARAMS
    from trunkline.serve import materialize as serve_materialize

    declared = Params.read(project).group(Serving).placed(project).online if (project / PARAMS).exists() else None
    online = declared or (Online(store=url) if url else None)
    if online is None:
        raise UserError(
            f"{project / PARAMS}: serving.online: is not declared; declare it in conf/serving, or give --store"
        )
    return serve_materialize.opened(folder, online, url or online.store, os.environ)
