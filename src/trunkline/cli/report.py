"""`trunkline report`: what the last run found, and where to look next."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from trunkline.review.summary import Subject

WIDTH = 100  # of what is piped


@click.command()
@click.option(
    "--base", metavar="REF", help="Print a comment for reviewers, in Markdown: this beside REF, such as main."
)
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --base: write all of it into this file too, with pictures, as a page that needs no network.",
)
@click.option(
    "--review",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --base: write it into this file too, as data from which trunkline comment makes the comment.",
)
@click.option(
    "--attribute", "attributing", is_flag=True, help="With --base: also run what tells several changes apart."
)
@click.option("--json", "as_json", is_flag=True, help="The files of reports/ as one JSON object.")
def report(base: str | None, html: Path | None, review: Path | None, attributing: bool, as_json: bool) -> None:
    """Show the metrics of the last run, its gates, its slices, its data and its bundle.

    With --base, print what the pull request's comment says: whether this may be merged, and why, beside the commit
    where the branch left REF. Nothing is run or fetched, but for --attribute, within review.attribution of conf/.
    """
    if base is not None:
        _review(base, html, review, attributing)
        return
    if html is not None or review is not None or attributing:
        raise click.UsageError("--html, --review and --attribute need --base, such as --base main.")
    from trunkline.core import files
    from trunkline.pipeline import reports
    from trunkline.review.summary import summary
    from trunkline.show import terminal

    found = reports.read(Path())
    if as_json:
        click.echo(files.canonical_json(found), nl=False)
        return
    terminal.show(summary(subject(), reports.Reports.parse(found)), WIDTH)


def _review(base: str, html: Path | None, review: Path | None, attributing: bool) -> None:
    from functools import partial

    from trunkline.core.params import Params
    from trunkline.review import comment, gather

    params = Params.read()
    found = gather.gather(Path(), params, base)
    if attributing:
        found = gather.attributed(Path(), params, found, partial(click.echo, err=True))
    if html is not None:
        from trunkline.review import page

        _write(html, page.render(found))
    if review is not None:
        from trunkline.review import file

        _write(review, file.encode(found).decode())
    click.echo(comment.render(found, html.name if html else None), nl=False)


def _write(path: Path, text: str) -> None:
    from trunkline.core import files

    files.write_text(path, text)
    click.echo(f"{path}: written", err=True)


def subject() -> "Subject":
    """Return what params.yaml declares of the run."""
    import os

    from trunkline.conf.data import Data
    from trunkline.conf.evaluation import Evaluation
    from trunkline.conf.model import Model
    from trunkline.conf.tracking import Tracking, look
    from trunkline.core.params import Params
    from trunkline.pipeline.evaluate.metrics import registry
    from trunkline.pipeline.search import summary as search_summary
    from trunkline.pipeline.train import choice
    from trunkline.review.summary import Subject

    params = Params.read()
    data, evaluation = params.group(Data), params.group(Evaluation)
    return Subject(
        name=params.name,
        estimator=choice.trained(params.group(Model)).target,
        target=data.target.name,
        observations=data.observations,
        windows=params.content["data"].get("window") or data.parts,
        task=data.target.task,
        metrics=tuple(registry.named(name, data.target.task) for name in evaluation.metrics),
        confidence=evaluation.interval.confidence,
        search=search_summary.told(choice.Choice.read()),
        look=look(params.group(Tracking).address(os.environ)),
    )
