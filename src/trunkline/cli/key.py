"""`trunkline key`: the keys by which clients of `trunkline serve` are known."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trunkline.cli import options

if TYPE_CHECKING:
    from trunkline.serve.auth.keys import Key

_project = options.project("The folder whose params.yaml names the file: serving.authentication.keys.")
_file = click.option("--file", type=click.Path(path_type=Path), help="The file of keys, instead of what is declared.")


@click.group(short_help="Add or revoke a key of a client of the server.")
def key() -> None:
    """Add or revoke a key of a client of `trunkline serve`; servers follow the file, and need no restart."""


@key.command(short_help="Make a key, and show it once.")
@click.argument("name")
@click.option(
    "--scope", "scopes", type=click.Choice(["predict", "explain", "push", "admin"]), multiple=True, default=["predict"]
)
@_file
@_project
@options.dry_run("Make no key; say which file would hold it.")
def add(name: str, scopes: Any, file: Path | None, project: Path, dry_run: bool) -> None:
    """Make a key for the client NAME, and print it; the file holds its hash alone, so it cannot be shown again.

    A client may have several keys: give it a new one, and revoke the old one once it is used no more.
    """
    from trunkline.serve.auth import keys

    path = file or _declared(project)
    entry, secret = keys.new_key(name, list(scopes))
    if dry_run:
        count = len(keys.entries(path))
        click.echo(f"{path}: holds {count} keys, and would hold one of {name}, for {', '.join(entry.scopes)}", err=True)
        return
    keys.edit(path, lambda entries: [*entries, entry])
    click.echo(secret)
    click.echo(f"{path}: holds the key {entry.id} of {name}, for {', '.join(entry.scopes)}", err=True)


@key.command(short_help="Refuse a key from now on.")
@click.argument("identifier", metavar="ID")
@_file
@_project
@options.dry_run("Revoke no key; say whose it is.")
def revoke(identifier: str, file: Path | None, project: Path, dry_run: bool) -> None:
    """Remove a key from the file; ID is what stands before its dot."""
    from trunkline.core.errors import UserError
    from trunkline.serve.auth import keys

    path = file or _declared(project)

    def without(entries: "list[Key]") -> "list[Key]":
        left = [entry for entry in entries if entry.id != identifier]
        if len(left) == len(entries):
            others = ", ".join(entry.id for entry in entries) or "none"
            raise UserError(f"{path}: has no key {identifier}; it has {others}")
        return left

    if dry_run:
        entries = keys.entries(path)
        without(entries)
        name = next(entry.name for entry in entries if entry.id == identifier)
        click.echo(f"{path}: would hold the key {identifier} of {name} no more", err=True)
        return
    keys.edit(path, without)
    click.echo(f"{path}: holds the key {identifier} no more", err=True)


def _declared(project: Path) -> Path:
    from trunkline.conf.serving import Serving
    from trunkline.core.params import Params
    from trunkline.core.paths import PARAMS

    serving = Params.read(project).group(Serving).placed(project) if (project / PARAMS).exists() else Serving()
    if serving.authentication is None or serving.authentication.keys is None:
        raise click.UsageError(
            "no file of keys is declared: give --file, or serving.authentication.keys in conf/serving"
        )
    return Path(serving.authentication.keys)
