"""`trunkline report`: what the last run found, and where to look next."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options, output

if TYPE_CHECKING:
    from trunkline.review.summary import Subject

WIDTH = 100  # of what is piped


@click.command(short_help="Show what the last run found.")
@options.as_json("Print the files of reports/ as one JSON object.")
def report(as_json: bool) -> None:
    """Show the metrics of the last run, its gates, its slices, its data and its bundle."""
    from trunkline.conf.data import Data
    from trunkline.core.params import Params
    from trunkline.pipeline import reports
    from trunkline.pipeline.plan import sources
    from trunkline.review.summary import summary
    from trunkline.show import terminal

    content = reports.read(Path())
    if as_json:
        output.echo_json(content)
    else:
        terminal.show(summary(subject(), reports.Reports.parse(content)), WIDTH)
        for line in sources.unpinned(Params.read().group(Data).sources):
            click.echo(f"source: {line}")


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
        search=search_summary.outcome(choice.Choice.read()),
        look=look(params.group(Tracking).address(os.environ)),
    )
