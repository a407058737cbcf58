"""`trunkline export`: a bundle for what runs no Python."""

from pathlib import Path

import click

from trunkline.cli import options


@click.command(short_help="Write a bundle for browsers and Node.")
@click.argument(
    "bundle", metavar="[BUNDLE]", type=click.Path(path_type=Path), required=False, default=Path("models/bundle")
)
@click.option("--to", type=click.Choice(["web"]), required=True, help="What runs it: a browser, or Node.")
@click.option("-o", "--output", "folder", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--runtime",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The unpacked npm package onnxruntime-web, of which two files are copied; without it, put them there.",
)
@options.dry_run("Write nothing; say what would be written.")
def export(bundle: Path, to: str, folder: Path, runtime: Path | None, dry_run: bool) -> None:
    """Write BUNDLE, models/bundle if none is given, as a folder that scores offline: docs/targets.md.

    It holds the graph, the contract, the golden rows, a loader and a page. The loader replays the golden rows first.
    """
    from trunkline.conf.bundle import Packaging
    from trunkline.core import files
    from trunkline.deploy.targets import web

    contents = web.export(bundle, runtime, Packaging.model_fields["tolerance"].default)
    for name, content in sorted(contents.items()):
        if not dry_run:
            with files.atomic_path(folder / name) as path:
                path.write_bytes(content)
        click.echo(f"{folder / name}: {'would be ' if dry_run else ''}written")
    if runtime is None:
        click.echo(f"still missing: {', '.join(web.RUNTIME)} of the npm package onnxruntime-web, from its dist/")
