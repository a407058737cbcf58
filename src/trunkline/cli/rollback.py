"""`trunkline rollback`: propose that an environment runs an older version again."""

import click

from trunkline.cli import options
from trunkline.cli.promote import propose


@click.command(short_help="Propose that an environment runs an older version again.")
@click.option(
    "--to", "environment", required=True, metavar="ENVIRONMENT", help="What is rolled back, such as production."
)
@click.option(
    "--version",
    metavar="VERSION",
    help="The version; if none is given, the one that ran before; in a rollout, the present one.",
)
@click.option("--reason", default="", metavar="TEXT", help="Why; it stands in the commit and the pull request.")
@options.trunk
@click.option("--local", is_flag=True, help="Ask no forge: commit to a branch here, and say what to push.")
@options.dry_run("Print the change and the pull request's text; commit and push nothing.")
@options.as_json("Print what was done as JSON.")
@click.pass_context
def rollback(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context,
    environment: str,
    version: str | None,
    reason: str,
    trunk: str,
    local: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Change models/registry.yaml at the tip of the trunk of origin back to an older version, and open a pull request.

    Before that, the version is verified, and its bundle is fetched, loaded, and must give its golden rows their
    scores. A rollout ends with it: its candidate is held, so that nothing promotes it until a person lifts the hold.
    The check of the pull request does not wait for a verdict on the trunk's own model, since none is shipped.
    `git revert` of the merge of a promotion does the same, without looking at the bundle. Otherwise as promote.
    """
    from trunkline.deploy.propose import Intent

    context.exit(propose(Intent("rollback", environment, version, reason), trunk, local, dry_run, as_json))
