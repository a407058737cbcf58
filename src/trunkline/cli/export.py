"""`trunkline export`: a bundle for what runs no Python."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options

if TYPE_CHECKING:
    from trunkline.deploy.targets.web import Single


@click.command(short_help="Write a bundle for browsers and Node, or for a function in a cloud.")
@click.argument(
    "bundle", metavar="[BUNDLE]", type=click.Path(path_type=Path), required=False, default=Path("models/bundle")
)
@click.option(
    "--to",
    type=click.Choice(["web", "lambda", "google-function"]),
    required=True,
    help="What runs it: a browser or Node; AWS Lambda; a function of Google Cloud.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder; of a function the archive, a .zip.",
)
@click.option(
    "--runtime",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="For web: the unpacked npm package onnxruntime-web, of which three files are copied.",
)
@click.option(
    "--packages",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="For functions: where pip has installed locks/serve.txt and trunkline to, by --target.",
)
@options.project(
    "The folder whose params.yaml has conf/serving, for functions; and for web deploy.targets.web, if it is declared."
)
@options.dry_run("Write nothing; say what would be written.")
def export(  # noqa: PLR0913, PLR0917  an argument per option
    bundle: Path, to: str, output: Path, runtime: Path | None, packages: Path | None, project: Path, dry_run: bool
) -> None:
    """Write BUNDLE, models/bundle if none is given, for what runs it without a server of its own: docs/targets.md.

    For web it is a folder that scores offline: the graph, the contract, the golden rows, a loader, which replays them
    first, and a page; in single precision only where conf/deploy declares targets.web, and the holdout's scores stay
    within its limits. For functions it is an archive with its packages, the same bytes for the same content.
    """
    if to == "web":
        if packages:
            raise click.UsageError("--packages is for functions; leave it out")
        _web(bundle, output, runtime, project, dry_run)
        return
    if runtime or packages is None:
        raise click.UsageError(f"--to {to} needs --packages, and no --runtime")
    from trunkline.deploy.targets import aws_lambda, google_function

    target = aws_lambda if to == "lambda" else google_function
    listed = target.content(bundle, packages, project)
    if not dry_run:
        aws_lambda.write(listed, output)
    size = sum(path.stat().st_size for path in listed.values())
    click.echo(f"{output}: {'would be ' if dry_run else ''}written: {len(listed)} files, {size:,} bytes unpacked")
    click.echo(f"its handler is {target.HANDLER}")


def _web(bundle: Path, folder: Path, runtime: Path | None, project: Path, dry_run: bool) -> None:
    import json

    from trunkline.conf.bundle import Packaging
    from trunkline.core import files
    from trunkline.deploy.targets import web

    contents = web.export(bundle, runtime, Packaging.model_fields["tolerance"].default, _single(project))
    for name, content in sorted(contents.items()):
        if not dry_run:
            with files.atomic_path(folder / name) as path:
                path.write_bytes(content)
        click.echo(f"{folder / name}: {'would be ' if dry_run else ''}written")
    if parity := json.loads(contents["export.json"]).get("parity"):
        measured, limits = parity["measured"], parity["limits"]
        click.echo(
            f"single precision: of {measured['rows']:,} rows of the holdout {measured['share']:.3%} score otherwise by "
            f"more than {limits['tolerance']:g}, and none by more than {measured['difference']:.2g}"
        )
    if runtime is None:
        click.echo(f"still missing: {', '.join(web.RUNTIME)} of the npm package onnxruntime-web, from its dist/")


def _single(project: Path) -> "Single | None":
    """Return the single precision that a project declares for browsers, with its holdout; None if it declares none."""
    from trunkline.conf.deploy import Deploy
    from trunkline.core.dataset import Dataset
    from trunkline.core.errors import UserError
    from trunkline.core.params import Params
    from trunkline.core.paths import FEATURES, PARAMS
    from trunkline.deploy.targets.web import Single

    declared = Params.read(project).group(Deploy).targets.web if (project / PARAMS).exists() else None
    if declared is None:
        return None
    try:
        holdout = Dataset.read("holdout", project / FEATURES)
    except FileNotFoundError:
        raise UserError(
            f"{project / FEATURES}: has no holdout, on which deploy.targets.web is measured; run: dvc pull"
        ) from None
    return Single(declared, holdout.features)
