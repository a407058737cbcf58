"""`trunkline release`: the merged commit as a version, if its gates pass."""

from pathlib import Path

import click

from trunkline.cli import options, output
from trunkline.core import durations


@click.command(short_help="Tag the merged commit as a signed version, if its gates pass.")
@options.trunk
@options.dry_run("Check everything, and say which version it would be.")
@options.as_json()
@click.pass_context
def release(context: click.Context, trunk: str, dry_run: bool, as_json: bool) -> None:
    """Make the checked-out commit of the trunk a version: its bundle is pushed to DVC's remote, and the tag to origin.

    Refused, with exit code 1, unless this very tree is committed, reproduced and passes its gates. The annotated tag
    <name>@v<N> holds the bundle's digest, the verdict's hash and the signed provenance. The same bundle twice is one
    version. TRUNKLINE_SIGNING_KEY holds the private key or its path; without it, in a workflow of GitHub that may write
    id-tokens, the workflow's own identity signs. GITHUB_TOKEN and GITHUB_REPOSITORY, or GITLAB_TOKEN, CI_API_V4_URL and
    CI_PROJECT_ID let it record the pull request and its approval.
    """
    import os
    from functools import partial

    from trunkline.adapters.forge import connect
    from trunkline.core.progress import Bar
    from trunkline.release import publish

    tell = partial(click.echo, err=True)
    with durations.measured(Path(), "trunkline release"), Bar("releasing"):
        released = publish.release(Path(), trunk, os.environ, connect.named(os.environ), tell, write=not dry_run)
    version = released.version and released.version.tag
    facts = {"digest": released.digest, "outcome": released.what, "version": version, "why": list(released.why)}
    bundle = f"bundle {released.digest[:12]}"
    text = {
        "refused": "\n".join([f"not released: {bundle}", *(f"  {why}" for why in released.why)]),
        "released": f"{released.version}: {bundle}",
        "would": f"would be {released.version}: {bundle} (dry run: not done)",
        "same": f"{released.version} is this bundle already, {released.digest[:12]}: nothing to do",
        "superseded": f"passed over: {''.join(released.why)}",
    }[released.what]
    output.answer(facts, text, as_json)
    context.exit(1 if released.what == "refused" else 0)
