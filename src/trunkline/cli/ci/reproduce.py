"""`trunkline ci reproduce`: dvc repro with what the remote has, and the results back to the remote and the branch."""

from functools import partial
from pathlib import Path

import click

from trunkline.cli import options
from trunkline.cli.ci import workflow


@click.group(short_help="Run the pipeline with what the remote has; check or push what it made.")
def reproduce() -> None:
    """Run the pipeline in a workflow; on a laptop, dvc repro, dvc push and git do the same."""


@reproduce.command()
@options.base("Believe the results of the commit where this one left REF, and no others; fetch what a review reads.")
@click.option("--released", is_flag=True, help="Believe the results of the newest signed version, and no others.")
@click.option("--all", "everything", is_flag=True, help="Bring every output here, as a cache for later runs.")
@click.option(
    "--computed", metavar="FILE", type=click.Path(path_type=Path), help="Write what trunkline ci record signs."
)
def run(base: str | None, released: bool, everything: bool, computed: Path | None) -> None:
    """Run `dvc repro`, pulling from the remote only what a stage that runs, the gates or a review reads.

    Without a remote that can be read, what is not here is made again. With --base or --released, every stage whose
    entry of dvc.lock is not the one of that commit runs again, whoever wrote it, unless a record that is believed says
    the same; the run cache is not asked. --computed writes the entries of the stages that were not believed.
    """
    from trunkline.adapters.dvc import reproduce as dvc_reproduce
    from trunkline.adapters.git import repository
    from trunkline.adapters.git.snapshot import Snapshot
    from trunkline.core.files import write_json
    from trunkline.core.params import Params
    from trunkline.release import records, releases

    if released and base is not None:
        raise click.UsageError("--base and --released exclude each other.")
    if computed and not released and base is None:
        raise click.UsageError("--computed needs --base or --released: what is believed is not computed.")
    tell = partial(click.echo, err=True)
    before = None if base is None else repository.merge_base(Path(), base)
    if before is None and not released:
        dvc_reproduce.reproduce(Path(), None, tell, everything=everything)
        return
    trusted = before or releases.newest_proven(Path(), Params.read())
    trust = records.Trust.of(Path(), Snapshot(Path(), trusted) if trusted else None, tell)
    if trust.doubted:
        tell(f"computed again, since nobody trusted has: {', '.join(trust.doubted)}")
    dvc_reproduce.reproduce(Path(), before, tell, everything=everything, doubted=trust.doubted)
    if computed:
        entries = trust.computed(Path())
        write_json(computed, entries, digits=None)
        workflow.tell_steps("computed", "some" if entries else "none")


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
    if pushed.branch == "pushed":
        workflow.tell_steps("commit", pushed.commit)


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
