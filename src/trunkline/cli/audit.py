"""`trunkline audit`: what reached an environment, on whose word, and what should not have."""

from pathlib import Path

import click

from trunkline.cli import options, output


@click.command(short_help="List releases, promotions and rollbacks with their evidence, and violations.")
@click.option("--since", required=True, metavar="DATE", help="The first day, or moment, in ISO 8601; UTC if no zone.")
@click.option("--until", metavar="DATE", help="The last day, or the moment before which.")
@options.trunk
@click.option("--offline", is_flag=True, help="Neither fetch nor ask the forge.")
@click.option("--strict", is_flag=True, help="A guard that is missing, or cannot be seen, is a violation too.")
@options.as_json("Print the audit as JSON, with every field.")
@click.pass_context
def audit(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context, since: str, until: str | None, trunk: str, offline: bool, strict: bool, as_json: bool
) -> None:
    """List every release, promotion and rollback of a period: by whom, by which pull request, and on what evidence.

    Exits with 1 if one reached an environment without a pull request, or without an approval that conf/deploy asked
    for; if a version is refused, its verdict is not a pass, or its tag was moved; or if history was rewritten. What
    keeps such things from happening is listed under guards. Fetches the trunk and the tags, and asks the forge that
    GITHUB_REPOSITORY and GITHUB_TOKEN, or CI_API_V4_URL, CI_PROJECT_ID and GITLAB_TOKEN name; without one, who approved
    a promotion is not known. Exits with 3 if one of them was asked and did not answer.
    """
    import os

    from trunkline.adapters.forge import connect
    from trunkline.lineage.audit import gather, judge, screen
    from trunkline.show import terminal

    when = gather.period(since, until)
    forge = None if offline else connect.named(os.environ)
    if strict and forge is None:
        raise click.UsageError("--strict needs the forge: it says what is guarded.")
    asked = gather.Asked() if offline else gather.fetched(Path(), trunk, os.environ)
    events = gather.audited(Path(), when, trunk, asked, forge)
    events = judge.strict(events) if strict else events
    if as_json:
        output.echo_json(judge.content(events))
    else:
        terminal.show(screen.screen(events))
    context.exit(1 if events.violations else 3 if events.failed else 0)
