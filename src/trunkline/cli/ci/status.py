"""`trunkline ci status`: a status on a commit that a run has pushed itself, which starts no run that would set it."""

import re

import click

from trunkline.cli import options

STATES = ("success", "failure", "pending")


def full_hash(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Refuse what is no commit's full hash, such as a branch."""
    if value is not None and not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", value):
        raise click.BadParameter("is not a commit's full hash.")
    return value


@click.command(short_help="Set a status on a commit.")
@click.option("--sha", required=True, metavar="SHA", callback=full_hash, help="The commit.")
@click.option("--context", required=True, metavar="NAME", help="The name of the status, as branch protection has it.")
@click.option("--state", required=True, type=click.Choice(STATES), help="What the status says.")
@click.option("--description", default="", metavar="TEXT", help="A line for a person.")
@click.option("--url", help="The page with more.")
@options.dry_run("Set nothing.")
def status(  # noqa: PLR0913, PLR0917  an argument per option
    sha: str, context: str, state: str, description: str, url: str | None, dry_run: bool
) -> None:
    """Set a status on a commit of this repository's forge, which the environment names as for trunkline ci comment."""
    import os

    from trunkline.adapters.forge import api, connect
    from trunkline.show import text as show_text

    wanted = next(valid for valid in api.STATES if valid == state)
    page = url and show_text.address(url)
    forge = connect.connect(os.environ)
    if not dry_run:
        api.retried(
            lambda: forge.set_status(sha, context, wanted, description, page), lambda text: click.echo(text, err=True)
        )
    click.echo(f"{sha[:10]}: {context} {state}{' (dry run: not set)' if dry_run else ''}")
