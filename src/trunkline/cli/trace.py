"""`trunkline trace`: the chain behind a prediction, a bundle, a version or a commit."""

from pathlib import Path

import click

from trunkline.cli import options, output


@click.command(short_help="Show the whole chain behind a prediction, a version, a bundle or a commit.")
@click.argument("what", metavar="ID")
@click.option("--log", "logs", metavar="FILE|FOLDER|GLOB", multiple=True, help="A prediction log; may be repeated.")
@options.trunk
@click.option("--offline", is_flag=True, help="Do not ask the forge, even if the environment names one.")
@options.as_json("Print the chain as JSON, with every field.")
@click.pass_context
def trace(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context, what: str, logs: tuple[str, ...], trunk: str, offline: bool, as_json: bool
) -> None:
    """Say why a prediction happened: by which bundle, version, commit, pull request, verdict, data, and who signed.

    ID is a version (v4), a bundle's digest or at least 7 of its first digits, a commit, or a prediction's request id,
    and is tried in this order. Nothing is fetched. What is refused is shown, and the exit code is 1; so it is for a
    name that means nothing here. Where the tag does not tell who approved, the forge is asked, if GITHUB_REPOSITORY and
    GITHUB_TOKEN, or CI_API_V4_URL, CI_PROJECT_ID and GITLAB_TOKEN name one.
    """
    import os

    from trunkline.adapters.forge import connect
    from trunkline.lineage import chain, screen
    from trunkline.lineage import trace as lineage_trace
    from trunkline.show import terminal

    forge = None if offline else connect.named(os.environ)
    lineage = lineage_trace.trace(Path(), what, trunk, logs, forge)
    if as_json:
        output.echo_json(chain.content(lineage))
    else:
        terminal.show(screen.screen(lineage))
    context.exit(0 if lineage.holds else 1)
