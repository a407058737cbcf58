"""`trunkline lineage`: a history as events that catalogs of data ingest."""

from pathlib import Path

import click


@click.command(short_help="Write a history as events of OpenLineage, for DataHub, OpenMetadata or Marquez.")
@click.argument("history", default="HEAD", metavar="[RANGE]")
@click.option(
    "--openlineage", is_flag=True, required=True, help="The form: RunEvents of OpenLineage 2-0-2, a line each."
)
@click.option("-o", "--output", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write them to a file.")
def lineage(history: str, *, openlineage: bool, target: Path | None) -> None:
    """Write what each commit of RANGE ran of the pipeline, on which data, with which verdict, and what was released.

    RANGE is a commit, for all of its first-parent line, or A..B, for what came to that line after A. An event follows
    from dvc.lock, params.yaml, reports and signed tags alone: the same range gives the same bytes in every clone. A
    version is in it if its tag is verified by the signers that its own commit declares; `trunkline verify` says whether
    they are trusted today.
    """
    from trunkline.core import files
    from trunkline.lineage import history as lineage_history
    from trunkline.lineage import openlineage as events

    since, _, tip = history.rpartition("..")
    past = lineage_history.read(Path(), tip or "HEAD", since or None)
    text = events.lines(past.steps, past.released)
    if target is None:
        click.echo(text, nl=False)
    else:
        files.write_text(target, text)
        click.echo(f"{target}: {len(text.splitlines()):,} events")
