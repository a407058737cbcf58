"""`trunkline predict`: scores a file of rows with a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options
from trunkline.cli.output import echo_json

if TYPE_CHECKING:
    from datetime import datetime

    from trunkline.serve.batch.job import Job, Policy, Runtime
    from trunkline.serve.batch.run import Summary
    from trunkline.serve.engine.choose import Engine
    from trunkline.serve.prediction_log.privacy import Privacy


@click.command(short_help="Score a CSV or Parquet file of rows with a bundle.")
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The file to write.")
@options.bundle()
@click.option("--runtime", type=click.Choice(["onnx", "sklearn"]), help="What scores; the bundle's own if not given.")
@click.option("--on-bad-row", type=click.Choice(["stop", "quarantine"]), help="Instead of what the contract says.")
@click.option(
    "--tables",
    type=click.Path(path_type=Path),
    help="A folder of tables, such as data/valid, that features of raw rows are joined from.",
)
@click.option("--traceable", is_flag=True, help="Add request_id and digest, by which trunkline trace finds a row.")
@click.option(
    "--log",
    "log",
    type=click.Path(path_type=Path),
    help="A folder that each row is logged to with its inputs, as the server does; implies --traceable.",
)
@click.option("--threads", type=click.IntRange(1, 9999), help="Parts scored at once; the usable CPUs if not given.")
@options.dry_run("Check the bundle, the paths and the columns; write nothing.")
@options.as_json("Print what was done as JSON.")
@click.pass_context
def predict(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context,
    source: Path,
    output: Path,
    folder: Path,
    runtime: "Runtime | None",
    on_bad_row: "Policy | None",
    tables: Path | None,
    traceable: bool,
    log: Path | None,
    threads: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Score the rows of INPUT, a CSV or Parquet file of any size, into a file of the format of OUTPUT's suffix.

    OUTPUT has INPUT's rows in their order: the columns that are no inputs of the model, and `score`. Rows against
    the bundle's contract stop the run or go, with their number and the reasons, to OUTPUT.rejected beside it.
    With --traceable, each row also has the digest of the bundle and, unless INPUT has one, a request id.
    Rows that have not the inputs but the columns of the request, as its source had them, are raw: where every input is
    an expression of these, it is computed, with what conf/data derives; with --tables, also what is joined from other
    tables, as it was known when the prediction of the row is made. Exits 1 where rows were refused.
    A text that no training row has is counted by its column, and scored as the model scores what it does not know.
    A run that was interrupted goes on from its finished parts when it is run again.
    Where conf/engine names a cluster, its machines score the parts of a Parquet file, which all of them can read.
    """
    from trunkline.serve.batch import job as batch_job
    from trunkline.serve.batch import spread
    from trunkline.serve.prediction_log.sealed import Keys

    job = batch_job.plan(source, output, folder, batch_job.Options(runtime, on_bad_row, tables))
    if log:
        job = batch_job.logged(job, log, _privacy(log), Keys.declared(reads=False))
    elif traceable:
        job = batch_job.traceable(job)
    if dry_run:
        rows = "?" if job.table.rows is None else f"{job.table.rows:,}"
        if as_json:
            _print_json(job, {"rows": job.table.rows, "columns": job.output_schema.names})
        else:
            click.echo(
                f"would score {rows} rows of {job.table.path} into {job.output} with bundle {job.digest[:12]} "
                f"({job.runtime}); columns: {', '.join(job.output_schema.names)}"
            )
        return
    known_until = _known_until(job)
    if not as_json:
        _tell_known(known_until)
    engine = spread.scorer(job)
    summary = _run(job, engine, threads)
    _warn(job, summary)
    scored = summary.rows - summary.rejected
    if as_json:
        unseen = {name: texts.rows for name, texts in summary.unseen.items()}
        counts = {"rows": summary.rows, "scored": scored, "rejected": summary.rejected, "unseen": unseen}
        known = {name: time and time.isoformat() for name, time in known_until.items()}
        _print_json(job, {"engine": engine.name, "known_until": known} | counts)
        context.exit(1 if summary.rejected else 0)
    kept = f"; {summary.reused} of {summary.parts} parts were already finished" if summary.reused else ""
    refused = f", {summary.rejected:,} refused: {job.rejected}" if summary.rejected else ""
    click.echo(f"{job.output}: {scored:,} rows scored by bundle {job.digest[:12]} ({engine.name}){refused}{kept}")
    if summary.rejected:
        click.echo(f"first of the {summary.rejected:,} refused: {summary.first}", err=True)
    context.exit(1 if summary.rejected else 0)


def _privacy(log: Path) -> "Privacy":
    """Return how columns are treated in a log: as the project declares of the server's, by its contract's classes."""
    from trunkline.conf.serving import Log, Serving
    from trunkline.core.params import Params
    from trunkline.core.paths import PARAMS
    from trunkline.serve.prediction_log import privacy

    if not PARAMS.exists():
        return privacy.Privacy.of(Log(to=str(log)), frozenset())
    params = Params.read()
    return privacy.Privacy.of(params.group(Serving).log or Log(to=str(log)), privacy.personal(params))


def _known_until(job: "Job") -> "dict[str, datetime | None]":
    raw = job.raw
    return raw.tables.known_until(raw.plan) if raw and raw.tables else {}


def _tell_known(known_until: "dict[str, datetime | None]") -> None:
    """Tell until when the events of each stream are known: a row of later sees what was known then."""
    times = (f"{name} until {f'{time:%Y-%m-%d %H:%M}' if time else 'never'}" for name, time in known_until.items())
    if known_until:
        click.echo(
            f"features are of what was known at the time of each row; known, in UTC: {', '.join(times)}", err=True
        )


def _run(job: "Job", engine: "Engine", threads: int | None) -> "Summary":
    import os

    from trunkline.cli import executing
    from trunkline.core import machine
    from trunkline.core.progress import Bar
    from trunkline.pipeline.features.executors.executor import connect
    from trunkline.serve.batch import run, spread

    declared = executing.declared()
    if declared.executor != "local":
        with connect(declared) as executor, Bar(job.table.path.name, job.table.rows, "rows") as bar:
            return spread.run(job, executor, bar.advance)
    threads = threads or int(machine.settings(os.environ, frozenset())["OMP_NUM_THREADS"])
    with Bar(job.table.path.name, job.table.rows, "rows") as bar:
        return run.run(job, engine.scores, threads, bar.advance)


def _warn(job: "Job", summary: "Summary") -> None:
    from trunkline.serve import unseen

    fields = {field.name: field for field in job.contract.inputs}
    for name, texts in summary.unseen.items():
        click.echo(f"warning: {job.table.path}: {unseen.described(fields[name], texts)}", err=True)


def _print_json(job: "Job", more: dict[str, object]) -> None:
    content = {"input": str(job.table.path), "output": str(job.output), "bundle": job.digest, "runtime": job.runtime}
    echo_json(content | more)
