"""`trunkline ci kind`: whether a commit changes what it declares only, or also what computes and judges that."""

from pathlib import Path

import click

from trunkline.cli import options
from trunkline.cli.ci import workflow
from trunkline.cli.ci.status import full_hash


@click.command(short_help="Tell whether a commit changes only what is declared.")
@click.option("--sha", metavar="SHA", required=True, callback=full_hash, help="The commit.")
@options.trunk
def kind(sha: str, trunk: str) -> None:
    """Print whether SHA differs from the trunk in what is declared only: then it runs the trunk's code, on its data.

    A branch that is behind code of the trunk differs in that until the trunk is merged into it. The registry file is
    named where production is to run a version that no signer of the trunk has signed. SHA is not checked out, and
    nothing of it is run. The answer is also written as `kind`, which is `declared` or `code`, into the file that
    GITHUB_OUTPUT names.
    """
    from trunkline.review import kind as review_kind

    code = review_kind.of_commit(Path(), trunk, sha)
    what = f"what computes or judges: {', '.join(code)}" if code else "what is declared only"
    click.echo(f"{sha[:10]} differs from the trunk in {what}")
    workflow.tell_steps("kind", "code" if code else "declared")
