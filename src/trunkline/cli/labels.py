"""`trunkline labels`: the outcomes of predictions, which arrive later."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options, output

if TYPE_CHECKING:
    import polars as pl

    from trunkline.core.params import Params
    from trunkline.serve.labelling.settle import Agreement, Rule
    from trunkline.serve.labels.declared import Declared
    from trunkline.serve.labels.importing import Imported
    from trunkline.serve.prediction_log.place import Place

_SHOWN = 10  # rows that are named

_log = click.option(
    "--log", metavar="FOLDER|URL", help="The prediction log, instead of what conf/serving says (serving.log.to)."
)
_project = options.project("The folder whose params.yaml declares the label, its key and the log.")


@click.group(short_help="Import outcomes as they arrive, and join them with the log of predictions.")
def labels() -> None:
    """Keep the outcomes of predictions beside their log, each with its arrival, and join them as of any moment."""


@labels.command("import", short_help="Add outcomes to those of a prediction log.")
@click.argument("source", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@_log
@click.option("--id", "by_id", metavar="COLUMN", help="The column of request ids; else rows are of the unique key.")
@click.option("--row", metavar="COLUMN", help="With --id: the column of rows' numbers in a request, from 0.")
@click.option("--at", metavar="COLUMN", help="The column that says when an outcome arrived.")
@click.option("--annotator", metavar="COLUMN", help="The column of who answered: FILE has a row for each answer.")
@click.option("--resolve", type=click.Choice(["majority", "median"]), help="What is taken where annotators disagree.")
@click.option(
    "--open", "into", metavar="SOURCE", help="Of annotators: store nothing, but propose it as a file of that source."
)
@click.option("--local", is_flag=True, help="With --open: ask no forge; commit to a branch here, and say what to push.")
@options.trunk
@_project
@options.dry_run("Check each row and say what would be joined, or proposed; store nothing.")
@options.as_json("Print what was done as JSON.")
@click.pass_context
def import_(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context,
    source: Path | None,
    log: str | None,
    by_id: str | None,
    row: str | None,
    at: str | None,
    annotator: str | None,
    resolve: "Rule | None",
    into: str | None,
    local: bool,
    trunk: str,
    project: Path,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Store the outcomes of FILE, a CSV or Parquet file, beside the log; those that are there are not stored again.

    The outcome is the column of the label (data.target.name), or is computed of the columns that training computes it
    of. Without FILE, it is the observations' table that conf/data declares, as validate has written it to data/valid.
    Without --at, an outcome arrives so long after its event as data.target.known_after says, if FILE has the event's
    columns, and else as it is imported. An outcome that was corrected is one more. Exits 1 where rows were refused.

    FILE may be what annotators made of the tasks of `trunkline sample`: Label Studio's JSON, CVAT's XML, or with
    --annotator a table. Their agreement is shown; where they disagree nothing is stored, unless --resolve says what,
    and the exit code is 1.

    With --open SOURCE nothing is stored beside a log: what they agree on becomes one more file of a source of conf/data
    that is a folder of the project, pinned by its sha256, on a branch and in one pull request, however often it is run.
    GITHUB_REPOSITORY and GITHUB_TOKEN, or those of GitLab, name the forge.
    """
    from trunkline.cli import labelled
    from trunkline.core.params import Params
    from trunkline.core.progress import Bar
    from trunkline.serve import tables
    from trunkline.serve.labelling import returned, settle
    from trunkline.serve.labels import importing
    from trunkline.serve.labels.file import Columns, OutcomesFile

    if row is not None and by_id is None:
        raise click.UsageError("--row: is of a request; name the column of its id too: --id")
    if resolve is not None and annotator is None and (source is None or source.suffix not in returned.SUFFIXES):
        raise click.UsageError("--resolve: is for answers of annotators; name the column of who answered: --annotator")
    params, path, by, agreement = Params.read(project), source, Columns(by_id, row, at), None
    if into is not None:
        if path is None or (annotator is None and path.suffix not in returned.SUFFIXES):
            raise click.UsageError("--open: is for answers of annotators; name FILE, and of a table --annotator")
        answers = settle.read(path, declared(params, log), by, annotator, resolve)
        context.exit(labelled.propose(project, into, *answers, trunk, local=local, dry_run=dry_run, as_json=as_json))
    place, path, of_log = log_place(project, log), path or _observations(params, project), declared(params, log)
    if annotator is not None or path.suffix in returned.SUFFIXES:
        file, agreement = settle.read(path, of_log, by, annotator, resolve)
    else:
        file = OutcomesFile(tables.open_table(path), of_log, by)
    with Bar(path.name, file.table.rows, "rows") as bar:
        done = importing.run(file, place, datetime.now(UTC), bar.advance, dry_run=dry_run)
    if as_json:
        output.echo_json(vars(done) | ({"agreement": vars(agreement)} if agreement else {}))
    else:
        _tell_import(path, done, dry_run, agreement)
    context.exit(1 if done.refused or (agreement and agreement.conflicts) else 0)


@labels.command(short_help="Join predictions with the outcomes that had arrived by a moment.")
@_log
@options.moment("--as-of", "The moment (UTC); now if it is not given.")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="The table to write: .parquet or .csv.")
@_project
@options.as_json("Print the counts as JSON.")
def join(log: str | None, as_of: datetime | None, target: Path | None, project: Path, as_json: bool) -> None:
    """Count the predictions that were made by a moment, and those whose outcome had arrived by then.

    Each version of each environment is counted apart.

    With --output, write them all, with their scores, their outcome and when it arrived; their inputs are in the log.
    """
    from trunkline.serve.labels import join as labels_join
    from trunkline.serve.labels import store
    from trunkline.serve.tables import format_of

    if target is not None:
        format_of(target)
    place = log_place(project, log)
    moment = as_of or datetime.now(UTC)
    rows = labels_join.table(place, store.read(place), moment)
    if target is not None:
        labels_join.write(rows, target)
    counts = labels_join.counts(rows)
    if as_json:
        output.echo_json({"as_of": moment.isoformat(), "versions": counts.to_dicts()})
    else:
        _tell_join(counts, moment)


def declared(params: "Params", log: str | None) -> "Declared":
    """Return what a project declares of its outcomes; raises UserError where the environment lacks the log's key."""
    from trunkline.conf.serving import Log, Serving
    from trunkline.serve.labels.declared import Declared
    from trunkline.serve.prediction_log import privacy

    treated = params.group(Serving).log or Log(to=log or "log")
    return Declared.of(params, privacy.Privacy.of(treated, privacy.personal(params)))


def log_place(project: Path, log: str | None) -> "Place":
    """Return where the log is; raises UserError where there is none."""
    from trunkline.conf.serving import Serving
    from trunkline.core.errors import UserError, one_line
    from trunkline.core.params import Params
    from trunkline.serve.prediction_log.place import Place
    from trunkline.serve.prediction_log.sealed import Keys

    keys = Keys.declared(project)
    declared = None if log is not None else Params.read(project).group(Serving).placed(project).log
    to = log or (declared and declared.to)
    if not to:
        raise UserError("no prediction log is declared: give --log, or serving.log in conf/serving")
    try:
        place = Place(to, keys)
        if not place.is_log():
            raise UserError(
                f"{to}: no prediction log is there; name what trunkline serve logs to: --log, or serving.log in "
                "conf/serving"
            )
    except (ValueError, OSError) as error:  # pyarrow's
        raise UserError(f"{to}: cannot be read: {one_line(error)}") from None
    return place


def _observations(params: "Params", project: Path) -> Path:
    """Return the table of observations as validate has written it."""
    from trunkline.conf.data import Data
    from trunkline.core.errors import UserError
    from trunkline.core.paths import VALID

    path = project / VALID / f"{params.group(Data).observations}.parquet"
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; run: dvc repro validate, or name a FILE of outcomes")
    return path


def _tell_import(path: Path, done: "Imported", dry_run: bool, agreement: "Agreement | None" = None) -> None:
    what = "row" if agreement is None else "task"
    parts = {
        "would be stored" if dry_run else "stored": done.stored,
        "stored before": done.before,
        "without an outcome": done.missing,
        "not known yet": done.later,
        "refused": len(done.refused),
    }
    listed = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count) or "none stored"
    click.echo(f"{path}: {done.rows:,} {what}s: {listed}")
    if agreement is not None:
        click.echo(agreement.text)
    early = f", {len(done.early):,} of which arrived before it was made" if done.early else ""
    click.echo(
        f"of the outcomes, {done.matched:,} have a prediction in the log{early}; without one: {done.unmatched:,}"
    )
    for rows in (done.refused, done.early, agreement.conflicts if agreement else {}):
        for number, why in list(rows.items())[:_SHOWN]:
            click.echo(f"{path}: {what} {number}: {why}", err=True)
        if len(rows) > _SHOWN:
            click.echo(f"and {len(rows) - _SHOWN:,} {what}s more; --json has all", err=True)


def _tell_join(counts: "pl.DataFrame", moment: datetime) -> None:
    from trunkline.show import terminal

    columns = ("version", "environment", "predictions", "with outcome", "share", "arrived before")
    table = terminal.table(*columns, left=(0, 1))
    for version, environment, predictions, known, early in counts.iter_rows():
        share = f"{known / predictions:.1%}"
        table.add_row(version, environment or "", f"{predictions:,}", f"{known:,}", share, f"{early:,}")
    click.echo(f"as of {moment:%Y-%m-%d %H:%M:%S} UTC")
    terminal.show(table)
