"""`trunkline ci reproduce`: dvc repro with what the remote has, and the results back to the remote and the branch."""

from functools import partial
from pathlib import Path

import click

from trunkline.cli import options


@click.group(short_help="Run the pipeline with what the remote has; check or push what it made.")
def reproduce() -> None:
    """Run the pipeline in a workflow; on a laptop, dvc repro, dvc push and git do the same."""


@reproduce.command()
@options.base("Believe the results of the commit where this one left REF, and no others; fetch what a review reads.")
@click.option("--released", is_flag=True, help="Believe the results of the newest signed version, and no others.")
@click.option("--all", "everything", is_flag=True, help="Bring every output here, as a cache for later runs.")
def run(base: str | None, released: bool, everything: bool) -> None:
    """Run `dvc repro`, pulling from the remote only what a stage that runs, the gates or a review reads.

    Without a remote that can be read, what is not here is made again. With --base or --released, every stage whose
    entry of dvc.lock is not the one of that commit runs again, whoever wrote it; the run cache is not asked.
    """
    from trunkline.adapters.dvc import reproduce as dvc_reproduce
    from trunkline.adapters.git import repository
    from trunkline.adapters.git.snapshot import Snapshot
    from trunkline.core import paths
    from trunkline.core.params import Params
    from trunkline.pipeline import claims
    from trunkline.release import releases

    if released and base is not None:
        raise click.UsageError("--base and --released exclude each other.")
    tell = partial(click.echo, err=True)
    before = None if base is None else repository.merge_base(Path(), base)
    doubted = None
    if released or before is not None:
        trusted = before or releases.newest_proven(Path(), Params.read())
        known = Snapshot(Path(), trusted).mapping(paths.LOCK) if trusted else {}
        doubted = claims.unproven(claims.read(Path()), known)
        if doubted:
            tell(f"computed again, since nobody trusted has: {', '.join(doubted)}")
    dvc_reproduce.reproduce(Path(), before, tell, everything=everything, doubted=doubted)


@reproduce.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Run nothing; exit 1 if results that belong into git are not committed, or not those that the run gave."""
    if _list_uncommitted():
        click.echo("run: dvc repro, and commit these files; then: dvc push", err=True)
        context.exit(1)


@reproduce.command()
@click.argument("branch")
@click.option("--create", is_flag=True, help="Make the branch if it is not there.")
@options.dry_run("Push nothing; say what would be committed.")
def push(branch: str, create: bool, dry_run: bool) -> None:
    """Run nothing; push and commit the results to BRANCH of origin.

    Outputs and the run cache go to the remote first, and then dvc.lock, params.yaml and reports as one commit to the
    branch; where nothing has changed there is none. The commit is also written as `commit` into the file that
    GITHUB_OUTPUT names. GITHUB_TOKEN or GITLAB_TOKEN, if set, is what git pushes with to the server of
    GITHUB_SERVER_URL or CI_SERVER_URL.
    """
    import os

    from trunkline.adapters.dvc import reproduce as dvc_reproduce

    if dry_run:
        _list_uncommitted()
        return
    pushed = dvc_reproduce.push(Path(), branch, os.environ, create=create)
    if pushed.branch == "moved":
        click.echo(f"{branch} has moved on, or is gone: nothing pushed to it; a new commit of it has a run of its own")
    elif pushed.branch == "same":
        click.echo(f"{branch}: every result is committed and pushed")
    else:
        click.echo(f"{branch}: {pushed.commit[:10]}, {', '.join(pushed.files) or 'committed before'}")
    output = os.environ.get("GITHUB_OUTPUT")
    if output and pushed.branch == "pushed":
        with Path(output).open("a", encoding="utf-8") as opened:
            opened.write(f"commit={pushed.commit}\n")


def _list_uncommitted() -> bool:
    """Print the results that differ from git, and tell whether there are any."""
    from trunkline.adapters.dvc import reproduce as dvc_reproduce
    from trunkline.pipeline import claims

    files = dvc_reproduce.uncommitted(Path())
    lines = [f"not committed: {file}" for file in files]
    if files:
        lines += [f"not what its inputs give: {claim}" for claim in claims.refuted_here(Path(), "HEAD")]
    click.echo("\n".join(lines or ["every result is committed"]))
    return bool(files)
