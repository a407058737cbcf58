"""`trunkline sbom`: the bill of materials of a version."""

from pathlib import Path

import click


@click.command(short_help="Write a version's bill of materials: CycloneDX, with the model's card.")
@click.argument("what", metavar="VERSION")
@click.option("-o", "--output", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write it to a file.")
def sbom(what: str, target: Path | None) -> None:
    """Write the bill of materials of a version such as v3 as JSON of CycloneDX 1.6, from its commit alone.

    It has the bundle as a model with its card, metrics and hash, the data, and every library of the environment's lock.
    The version's chain is verified first, as `trunkline verify --chain-only` does; what is refused has no bill.
    """
    from trunkline.adapters.git import repository
    from trunkline.conf import versions
    from trunkline.conf.deploy import Deploy
    from trunkline.core import files
    from trunkline.core.params import Params
    from trunkline.release import provenance, verify
    from trunkline.release import sbom as bill

    params = Params.read()
    version = versions.named(what, params.name)
    commit = verify.chain(Path(), version, params.group(Deploy).signers).tag.commit
    committed = repository.files_at(Path(), [commit], bill.FILES)[commit]
    text = bill.encode(provenance.facts_of(committed, commit, version), committed)
    if target is None:
        click.echo(text, nl=False)
    else:
        files.write_text(target, text)
        click.echo(f"{target}: the bill of materials of {version}")
