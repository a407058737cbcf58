"""trunkline reproduce: dvc repro with what the remote has, and the results back to the remote and the branch."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from trunkline.adapters.dvc.reproduce import Pushed


@click.command(short_help="Run the pipeline with what the remote has; check or push what it made.")
@click.option("--base", metavar="REF", help="Also fetch what a report with this --base compares with.")
@click.option("--all", "everything", is_flag=True, help="Bring every output here, as a cache for later runs.")
@click.option("--check", is_flag=True, help="Run nothing; exit 1 if results that belong into git are not committed.")
@click.option(
    "--push", "branch", metavar="BRANCH", help="Run nothing; push and commit the results to BRANCH of origin."
)
@click.option("--create", is_flag=True, help="With --push: make the branch if it is not there.")
@click.option("--dry-run", is_flag=True, help="With --push: say what would be committed.")
@click.pass_context
def reproduce(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context,
    base: str | None,
    everything: bool,
    check: bool,
    branch: str | None,
    create: bool,
    dry_run: bool,
) -> None:
    """Run `dvc repro`, pulling from the remote only what a stage that runs, the gates or a review reads.

    Without a remote that can be read, what is not here is made again. --push brings outputs and the run cache to the
    remote first, and then dvc.lock, params.yaml and reports as one commit to the branch; where nothing has changed
    there is none. It is what a workflow calls: on a laptop, dvc repro, dvc push and git do the same. The commit is also
    written as `commit` into the file that GITHUB_OUTPUT names. GITHUB_TOKEN or GITLAB_TOKEN, if set, is what git pushes
    with to the server of GITHUB_SERVER_URL or CI_SERVER_URL.
    """
    from functools import partial

    from trunkline.adapters.dvc import reproduce as dvc_reproduce
    from trunkline.adapters.git import repository

    if sum([check, branch is not None, base is not None or everything]) > 1 or ((dry_run or create) and branch is None):
        raise click.UsageError(
            "--check, --push, and --base or --all exclude each other; --create and --dry-run need --push."
        )
    if check or dry_run:
        files = dvc_reproduce.uncommitted(Path())
        click.echo("".join(f"not committed: {file}\n" for file in files) or "every result is committed\n", nl=False)
        if files and check:
            click.echo("run: dvc repro, and commit these files; then: dvc push", err=True)
        context.exit(1 if files and check else 0)
    if branch is None:
        commit = None if base is None else repository.merge_base(Path(), base)
        dvc_reproduce.reproduce(Path(), commit, partial(click.echo, err=True), everything=everything)
    else:
        _push(branch, create)


def _push(branch: str, create: bool) -> None:
    import os

    from trunkline.adapters.dvc import reproduce as dvc_reproduce

    pushed = dvc_reproduce.push(Path(), branch, os.environ, create=create)
    click.echo(_told(pushed, branch))
    output = os.environ.get("GITHUB_OUTPUT")
    if output and pushed.branch == "pushed":
        with Path(output).open("a", encoding="utf-8") as opened:
            opened.write(f"commit={pushed.commit}\n")


def _told(pushed: "Pushed", branch: str) -> str:
    if pushed.branch == "moved":
        return f"{branch} has moved on, or is gone: nothing pushed to it; a new commit of it has a run of its own"
    if pushed.branch == "same":
        return f"{branch}: every result is committed and pushed"
    return f"{branch}: {pushed.commit[:10]}, {', '.join(pushed.files) or 'committed before'}"
