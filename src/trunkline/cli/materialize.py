"""`trunkline materialize`: fills the store of online features from tables."""

from datetime import datetime
from pathlib import Path

import click

from trunkline.cli import options, output
from trunkline.cli.push import bundle, opened, project, store


@click.command(short_help="Fill the store of online features from tables, up to a moment.")
@bundle
@click.option(
    "--tables",
    type=click.Path(path_type=Path),
    default=Path("data/valid"),
    show_default=True,
    help="The folder of tables, as validate writes them.",
)
@click.option(
    "--until",
    metavar="TIME",
    type=options.TIME,
    help="Store what was known at this time (UTC); all if it is not given.",
)
@store
@project
@options.dry_run("Check the bundle and the tables; store nothing.")
@options.as_json("Print what was done as JSON.")
@click.pass_context
def materialize(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context,
    folder: Path,
    tables: Path,
    until: datetime | None,
    url: str | None,
    project: Path,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Store what the features of later requests are made of: the rows of tables, up to a moment, for BUNDLE's views.

    A run that was killed goes on after its last batch, and what is stored already is not stored twice. What happens
    later comes by `trunkline push`, or by POST /v1/events of the server. Exits 1 where a row contradicts what is
    stored.
    """
    from trunkline.core.progress import Bar
    from trunkline.serve import materialize as serve_materialize

    online = opened(folder, url, project)
    filled = {}
    expired = 0 if dry_run else online.expiry.run()  # first, so that what is dead is not stored
    for name in online.tables:
        path = tables / f"{name}.parquet"
        rows = serve_materialize.check(online, name, path)
        if dry_run:
            click.echo(f"would store {rows:,} rows of {path} for {', '.join(serve_materialize.views(online, name))}")
            continue
        with Bar(name, rows, "rows") as bar:
            filled[name] = serve_materialize.materialize(online, name, path, until, bar.advance)
    if dry_run:
        return
    if as_json:
        output.echo_json({"tables": {name: vars(each) for name, each in filled.items()}, "expired": expired})
    else:
        for name, each in filled.items():
            before = f", {each.before:,} were stored before" if each.before else ""
            click.echo(f"{name}: {each.rows:,} rows stored{before}{serve_materialize.contradicting(each)}")
    context.exit(1 if any(each.conflicts for each in filled.values()) else 0)
