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
    from trunkline.pipeline import reports
    from trunkline.review.summary import summary
    from trunkline.show import terminal

    content = reports.read(Path())
    if as_json:
        output.echo_json(content)
    else:
        terminal.show(summary(subject(), reports.Reports.parse(content)), WIDTH)


def subject() -> "Subject":
    """Return what params.yaml declares of the run."""
    import os

    from trunkline.conf.data import Data
    from trunkline.conf.evaluation import Evaluation
    from trunkline.conf.tracking import Tracking, look
    from trunkline.core.params import read_params
    from trunkline.pipeline.evaluate.metrics import registry
    from trunkline.pipeline.search import summary as search_summary
    from trunkline.pipeline.train import choice
    from trunkline.review.summary import Subject

    content = read_params()
    data, evaluation = Data.load(), Evaluation.load()
    return Subject(
        name=content["name"],
        estimator=choice.trained().target,
        target=data.target.name,
        observations=data.observations,
        windows=content["data"].get("window") or data.parts,
        task=data.target.task,
        metrics=tuple(registry.named(name, data.target.task) for name in evaluation.metrics),
        confidence=evaluation.interval.confidence,
        search=search_summary.told(choice.Choice.read()),
        look=look(Tracking.load().address(os.environ)),
    )
