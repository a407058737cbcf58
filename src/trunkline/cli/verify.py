"""trunkline verify: whether a bundle is what its manifest says."""

import json
from pathlib import Path

import click


@click.command(short_help="Check a bundle against its manifest, offline.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@click.pass_context
def verify(context: click.Context, bundle: Path, as_json: bool) -> None:
    """Check every file of a bundle's folder against its manifest; nothing is written, run or fetched.

    Exits with 1 if the bundle is not what its manifest says, and with 2 if the path is no bundle: nothing is
    there, or no manifest. The digest stands for all files: compare it with the one that was announced.
    """
    from trunkline import manifest

    try:
        found = manifest.read(bundle)
    except manifest.BundleError as error:
        click.echo(json.dumps({"reason": str(error), "verified": False}) if as_json else f"refused: {error}")
        context.exit(1)
    said = found.manifest
    facts = {"digest": found.digest, "files": len(said.files), "name": said.name, "runtime": said.runtime}
    if as_json:
        click.echo(json.dumps(facts | {"verified": True}, sort_keys=True))
        return
    click.echo(f"{bundle} is what its manifest says")
    for key, value in facts.items():
        click.echo(f"  {key:<7}  {value}")
