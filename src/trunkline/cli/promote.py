"""`trunkline promote`: propose that an environment runs a version."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options, output

if TYPE_CHECKING:
    from trunkline.deploy.propose import Intent, Proposal


@click.command(short_help="Propose that an environment runs a version.")
@click.argument("version", metavar="VERSION")
@click.option(
    "--to", "environment", required=True, metavar="ENVIRONMENT", help="What is to run it, such as production."
)
@click.option("--at-once", is_flag=True, help="Replace what runs, though conf/deploy declares the steps of a rollout.")
@options.trunk
@click.option("--local", is_flag=True, help="Ask no forge: commit to a branch here, and say what to push.")
@options.dry_run("Print the change and the pull request's text; commit and push nothing.")
@options.as_json("Print what was done as JSON.")
@click.pass_context
def promote(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context,
    version: str,
    environment: str,
    at_once: bool,
    trunk: str,
    local: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Change models/registry.yaml at the tip of the trunk of origin to VERSION, v4 or latest, and open a pull request.

    The version must be a release whose gates passed. The pull request has the evidence: metrics beside those of the
    present version, the gates, what was merged in between. It waits for an approval, or merges by itself when its
    checks pass, as conf/deploy says. Where that declares the steps of a rollout, it begins one: the version is tried
    beside the present one first. The working tree is left alone; running it again finds what is there. Exits
    with 1 if the version is refused. GITHUB_REPOSITORY and GITHUB_TOKEN, or those of GitLab, name the forge.
    """
    from trunkline.deploy.propose import Intent

    context.exit(propose(Intent("promote", environment, version, at_once=at_once), trunk, local, dry_run, as_json))


def propose(intent: "Intent", trunk: str, local: bool, dry_run: bool, as_json: bool) -> int:
    """Make a proposal, print it, and return the exit code."""
    import os
    from dataclasses import asdict
    from functools import partial

    from trunkline.cli import forges, verdicts
    from trunkline.deploy import propose as deploy_propose
    from trunkline.release.verify import RefusedError

    forge = None if local or dry_run else forges.forge_or_local()
    tried = partial(verdicts.elsewhere, intent.environment) if intent.kind == "promote" else None
    try:
        proposal = deploy_propose.prepare(Path(), trunk, intent, os.environ, tried)
    except RefusedError as error:
        output.answer({"what": "refused", "reason": str(error)}, f"refused: {error}", as_json)
        return 1
    if isinstance(proposal, deploy_propose.NoChange):
        unchanged = {"what": "already", "environment": proposal.environment, "declared": proposal.declared}
        output.answer(unchanged, f"{proposal.environment} is declared to run {proposal.declared} already", as_json)
    elif dry_run:
        facts = _facts(proposal, "dry run") | {"diff": proposal.diff, "body": proposal.body}
        output.answer(facts, f"{proposal.diff}\n{proposal.title}\n\n{proposal.body}".rstrip(), as_json)
    elif forge is None:
        commit = deploy_propose.local(Path(), proposal)
        push = f"git push origin {proposal.branch}"
        text = f"{proposal.branch}: {commit[:10]} {proposal.title}\nrun: {push}, and open a pull request"
        output.answer(_facts(proposal, "local") | {"commit": commit}, text, as_json)
    else:
        opened = deploy_propose.publish(Path(), proposal, os.environ, forge, lambda line: click.echo(line, err=True))
        waits = "merges when its checks pass" if proposal.automatic else "waits for an approval"
        text = f"#{opened.number} {proposal.title}: {'merged' if opened.merged else waits}\n{opened.url}"
        output.answer(_facts(proposal, "opened") | asdict(opened), text, as_json)
    return 0


def _facts(proposal: "Proposal", what: str) -> dict[str, object]:
    return {"what": what, **proposal.facts, "branch": proposal.branch, "title": proposal.title}
