"""`trunkline ci comment`: the review as the one comment of a pull request."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options
from trunkline.cli.ci import workflow
from trunkline.cli.ci.status import full_hash

if TYPE_CHECKING:
    from trunkline.review.data import Review
    from trunkline.review.post import Posted

ARTIFACT, FILE = "review", "review.json"


@click.command(short_help="Post a review as the one comment of its pull request.")
@click.option("--review", "path", metavar="FILE", type=click.Path(path_type=Path), help="What review --data wrote.")
@click.option("--run", metavar="ID", type=click.IntRange(min=1), help=f"Or: the run whose artifact {ARTIFACT} has it.")
@click.option(
    "--sha", metavar="SHA", callback=full_hash, help="The pull request's head, as the forge says; for --post."
)
@click.option("--url", help="The run's page, for the foot of the comment.")
@click.option("--post", is_flag=True, help="Create or update the comment, instead of printing it.")
@options.dry_run("With --post: look everything up, and say what would be done.")
def comment(  # noqa: PLR0913, PLR0917  an argument per option
    path: Path | None, run: int | None, sha: str | None, url: str | None, post: bool, dry_run: bool
) -> None:
    """Render a review with this code, whatever made it, and post it on the pull request whose head is SHA.

    A review is untrusted: it was made by the code of the pull request. One that cannot be read, or is of another
    commit, is not posted; a notice is, and the exit code is 2. A SHA that is no pull request's head any more is left
    alone. GITHUB_REPOSITORY and GITHUB_TOKEN, or CI_API_V4_URL, CI_PROJECT_ID and GITLAB_TOKEN name the forge.
    """
    from trunkline.core.errors import UserError
    from trunkline.review import comment as review_comment
    from trunkline.review import post as review_post
    from trunkline.show import text as show_text

    if (path is None) == (run is None):
        raise click.UsageError("name one review: --review FILE, or --run ID.")
    if dry_run and not post:
        raise click.UsageError("--dry-run needs --post.")
    if post and sha is None:
        raise click.UsageError("--post needs --sha: which commit this is, is not believed of the review.")
    url = url and show_text.address(url)
    try:
        review = _review(path, run, sha)
    except UserError:
        if post and sha:
            _post(sha, partial(review_post.post_notice, sha=sha, url=url), dry_run)
        raise
    body = review_post.signed(review_comment.render(review), review.head, url)
    if post:
        _post(review.head, partial(review_post.post, sha=review.head, body=body), dry_run)
    else:
        click.echo(body, nl=False)


def _review(path: Path | None, run: int | None, sha: str | None) -> "Review":
    from trunkline.core.errors import UserError
    from trunkline.review import file

    review = file.decode(workflow.left(path, run, ARTIFACT, FILE, file.LIMIT))
    if sha is not None and review.head != sha:
        raise UserError(f"review: is of commit {review.head}, not of {sha}; nothing of it is posted")
    return review


def _post(sha: str, posting: "Callable[..., Posted]", dry_run: bool) -> None:
    import os

    from trunkline.adapters.forge import api, connect

    forge = connect.connect(os.environ)
    outcome = api.retried(lambda: posting(forge, write=not dry_run), partial(click.echo, err=True))
    if outcome.what == "stale":
        click.echo(f"{sha} is the head of no open pull request, or not any more: nothing posted")
        return
    click.echo(f"{outcome.url}: comment {outcome.what}{' (dry run: not done)' if dry_run else ''}")
    if outcome.more:
        click.echo(f"{outcome.url}: {outcome.more} more of our comments are there; delete them by hand", err=True)
