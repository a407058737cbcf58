"""`trunkline doctor`: what of this machine's set-up works, what does not, and what to do."""

from pathlib import Path

import click

from trunkline.cli import options, output


@click.command(short_help="Say what of your set-up works, and what to do about the rest.")
@options.trunk
@options.as_json()
@click.pass_context
def doctor(context: click.Context, trunk: str, as_json: bool) -> None:
    """Look at git, Python, DVC, MLflow, the forge and signing as this machine and its environment have them.

    Each is asked itself: the remote is listed, MLflow and the forge that GITHUB_REPOSITORY and GITHUB_TOKEN, or
    CI_API_V4_URL, CI_PROJECT_ID and GITLAB_TOKEN name, are called. Changes nothing, and shows no secret. Exits with 1
    if something fails; what only some features need, and is not set up, does not fail.
    """
    import os

    from trunkline.doctor import examine, findings, screen
    from trunkline.show import terminal

    examined = examine.examine(findings.Setup(Path().resolve(), trunk, os.environ))
    if as_json:
        output.echo_json(findings.content(examined))
    else:
        terminal.show(screen.screen(examined))
    context.exit(1 if any(finding.state == "fails" for finding in examined) else 0)
