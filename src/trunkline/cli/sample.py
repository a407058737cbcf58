"""`trunkline sample`: rows for people to label, in the formats of their tools."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options, output

if TYPE_CHECKING:
    from trunkline.core.params import Params
    from trunkline.serve.labelling.candidates import Slices
    from trunkline.serve.labelling.sampling import By
    from trunkline.serve.labelling.tasks import Format


@click.command(short_help="Choose rows for people to label, as tasks of Label Studio or CVAT, or as CSV.")
@click.argument("source", metavar="[TABLE]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--log", metavar="FOLDER|URL", help="The prediction log, instead of what conf/serving says (serving.log.to)."
)
@options.moment("--since", "Of the log: predictions that were made at this moment (UTC) or later.")
@click.option(
    "--by",
    type=click.Choice(["random", "uncertain", "disagreeing"]),
    default="random",
    show_default=True,
    help="Any rows; those the model is least sure of; those that the arms of a rollout score most unlike.",
)
@click.option("--per", metavar="NAME", help="Equally many of each value of a slice of conf/evaluation, or of a column.")
@click.option("--count", type=click.IntRange(1), default=100, show_default=True, help="How many rows.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed is another choice among equals.")
@click.option("--threshold", type=float, default=0.5, show_default=True, help="The score above which it is a yes.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["label-studio", "cvat", "csv"]),
    default="label-studio",
    show_default=True,
    help="The tool that imports the tasks.",
)
@click.option("--image", metavar="COLUMN", help="The column of the pictures' paths or addresses; CVAT needs one.")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), required=True, help="The file of tasks.")
@options.project("The folder whose params.yaml declares the label, its key and the log.")
@options.as_json("Print what was written as JSON.")
@click.pass_context
def sample(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context,
    source: Path | None,
    log: str | None,
    since: datetime | None,
    by: "By",
    per: str | None,
    count: int,
    seed: int,
    threshold: float,
    form: "Format",
    image: str | None,
    target: Path,
    project: Path,
    as_json: bool,
) -> None:
    """Write tasks of rows to be labelled: predictions of the log that have no outcome, or rows of TABLE.

    An annotator sees neither a score nor an outcome, nor personal columns. `trunkline labels import` reads what comes
    back. The same rows, options and seed give the same tasks. Exits 1 where no row is left.
    """
    from trunkline.cli.labels import declared, log_place
    from trunkline.core.params import Params
    from trunkline.serve import tables
    from trunkline.serve.labelling import sampling, tasks
    from trunkline.serve.labelling.candidates import Logged, Tabled
    from trunkline.serve.labels import store

    if source is not None and (log is not None or since is not None):
        raise click.UsageError("TABLE: is instead of the log; leave out --log and --since")
    params = Params.read(project)
    label, slices = declared(params, log), _slices(params, per)
    if source is not None:
        rows: Logged | Tabled = Tabled(tables.open_table(source), label)
    else:
        place = log_place(project, log)
        rows = Logged(place, store.read(place, label.label.task), label, since, datetime.now(UTC))
    how = sampling.Sampling(count, by, seed, threshold)
    chosen = sampling.choose(rows.rows(slices), rows.names, how, label.label.task)
    if chosen.is_empty():
        click.echo("no row is left to be labelled; nothing was written", err=True)
        context.exit(1)
    written = tasks.write(tasks.Tasks(rows.shown(chosen), rows.names, label.label, image), target, form)
    _tell(chosen.height, count, written, as_json)


def _slices(params: "Params", per: str | None) -> "Slices | None":
    """Return the slice that is named: of conf/evaluation, else a column."""
    from trunkline.conf.data import Data
    from trunkline.core.params import dig
    from trunkline.serve.labelling.candidates import Slices

    if per is None:
        return None
    declared = dig(params.content, "evaluation", "slices") or {}
    return Slices(per, declared.get(per, per), params.group(Data).timezone)


def _tell(tasks: int, count: int, written: list[Path], as_json: bool) -> None:
    fewer = f" of the {count:,} that were asked for; there are no more" if tasks < count else ""
    text = f"{written[0]}: {tasks:,} tasks{fewer}"
    beside = [f"{path}: what sets the tool up for them" for path in written[1:]]
    output.answer({"tasks": tasks, "files": [str(path) for path in written]}, "\n".join([text, *beside]), as_json)
