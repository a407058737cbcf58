"""`trunkline replay`: recomputes what a prediction log says."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trunkline.cli import options, output

if TYPE_CHECKING:
    from trunkline.lineage.replay import Comparison, Example, Replay


@click.command(short_help="Recompute the scores, and the joined features, of a prediction log.")
@click.argument("logs", metavar="LOG...", nargs=-1, required=True)
@options.bundle("A bundle that may be the one of a row.")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    envvar="TRUNKLINE_STORE",
    default=Path(".trunkline"),
    show_default=True,
    help="The folder that trunkline reconcile delivers to.",
)
@click.option(
    "--tables",
    type=click.Path(path_type=Path),
    help="A folder of tables, such as data/valid, that joined features are recomputed from.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=1e-9,
    show_default=True,
    help="Largest difference of a feature that is a number, relative beyond 1; whole numbers and texts are exact.",
)
@options.as_json("Print what was compared as JSON.")
@click.pass_context
def replay(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context,
    logs: tuple[str, ...],
    folder: Path,
    store: Path,
    tables: Path | None,
    tolerance: float,
    as_json: bool,
) -> None:
    """Score each row of LOG (segments, folders, patterns) again with its own bundle, and compare, bit for bit.

    The bundle of a row is found by its digest: --bundle, the store, DVC's cache; nothing is fetched. Where a row has
    the columns of its request and a prediction time, its features are computed again from --tables, of what was known
    then. Exits 1 where something differs, or nothing could be compared.
    Where conf/engine names a cluster, its machines compare segments, which all of them can read.
    """
    from trunkline.cli import executing
    from trunkline.lineage import replay as lineage_replay
    from trunkline.lineage import spread
    from trunkline.pipeline.features.executors.executor import connect
    from trunkline.serve.prediction_log.sealed import Keys

    places, engine = spread.Places(Path(), folder, store, tables, Keys.declared()), executing.declared()
    if engine.executor == "local":
        compared = spread.compare(logs, places, tolerance)
    else:
        with connect(engine) as executor:
            compared = spread.run(logs, places, tolerance, executor)
    if as_json:
        output.echo_json(lineage_replay.content(compared))
    else:
        _tell(compared)
    context.exit(0 if compared.holds else 1)


def _tell(compared: "Replay") -> None:
    click.echo(f"{compared.rows:,} rows of {compared.segments:,} segments")
    for kind, comparisons in (("score", compared.scores), ("feature", compared.features)):
        same = [each for each in comparisons.values() if not each.different]
        if same:
            rows = max(each.rows for each in same)
            click.echo(f"{len(same)} {kind}{'s' if len(same) > 1 else ''} of {rows:,} rows: as logged")
        for each in comparisons.values():
            if each.first:
                click.echo(_difference(kind, each, each.first))
    for why, rows in compared.left.items():
        click.echo(f"{rows:,} rows: {why}", err=True)


def _difference(kind: str, compared: "Comparison", first: "Example") -> str:
    view = f" of view {compared.view}" if compared.view else ""
    largest = "" if compared.largest is None else f", by {compared.largest:.3g} at most"
    values = f"logged {_shown(first.logged)}, recomputed {_shown(first.recomputed)}"
    return (
        f"{kind} {compared.name}{view}: differs in {compared.different:,} of {compared.rows:,} rows{largest}; "
        f"the first is row {first.row} of request {first.request}: {values}"
    )


def _shown(value: Any) -> str:
    return "missing" if value is None else str(value).removesuffix(".0")
