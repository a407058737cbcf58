"""`trunkline report`: what the last run found, and where to look next."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trunkline.core.errors import UserError

if TYPE_CHECKING:
    from trunkline.report import Reports, Subject


WIDTH = 100  # of what is piped


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The files of reports/ as one JSON object.")
def report(as_json: bool) -> None:
    """Show the metrics of the last run, its slices and its data."""
    from rich.console import Console

    from trunkline.core import files
    from trunkline.report import plain, summary

    found = read(Path())
    if as_json:
        click.echo(files.canonical_json(found), nl=False)
        return
    shown = summary(subject(), checked(found))
    console = Console()
    if console.is_terminal:
        console.print(shown)
    else:
        click.echo(plain(shown, WIDTH), nl=False)


def read(root: Path) -> dict[str, Any]:
    """Return the content of the report files by name; raises UserError for one that is missing or broken."""
    import json

    from trunkline.core import paths

    found = {}
    for path in (paths.METRICS, paths.SLICES, paths.DATASET, paths.VALIDATION):
        try:
            found[path.stem] = json.loads((root / path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path}: is missing; run: dvc repro") from None
        except ValueError as error:
            raise UserError(f"{path}: is not JSON ({error}); run: dvc repro") from None
    return found


def checked(found: dict[str, Any]) -> "Reports":
    """Return the reports as typed structures; raises UserError naming the file and the first wrong key."""
    from pydantic import ValidationError

    from trunkline.report import Reports

    try:
        return Reports.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        file, *keys = map(str, first["loc"])
        where = ": ".join([f"reports/{file}.json", *filter(None, [".".join(keys)])])
        raise UserError(f"{where}: {first['msg']}; run: dvc repro") from None


def subject() -> "Subject":
    """Return what params.yaml declares of the run."""
    import os

    from trunkline import metrics
    from trunkline.params.base import read_params
    from trunkline.params.data import Data
    from trunkline.params.evaluation import Evaluation
    from trunkline.params.model import Model
    from trunkline.params.tracking import Tracking, look
    from trunkline.report import Subject

    content = read_params()
    data, evaluation = Data.load(), Evaluation.load()
    return Subject(
        name=content["name"],
        estimator=Model.load().target,
        target=data.target.name,
        observations=data.observations,
        windows=content["data"]["window"],
        metrics=tuple(metrics.named(name) for name in evaluation.metrics),
        confidence=evaluation.interval.confidence,
        look=look(Tracking.load().address(os.environ)),
    )
