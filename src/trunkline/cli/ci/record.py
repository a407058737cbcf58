"""`trunkline ci record`: signed records of what stages gave, so that no machine runs them again to prove it."""

from functools import partial
from pathlib import Path

import click

from trunkline.cli import options
from trunkline.cli.ci import workflow
from trunkline.cli.ci.status import full_hash

ARTIFACT, FILE, LIMIT = "computed", "computed.json", 10_000_000


@click.command(short_help="Sign what the stages of a run gave, so that they need not run again.")
@click.option(
    "--computed", "path", metavar="FILE", type=click.Path(path_type=Path), help="What reproduce run --computed wrote."
)
@click.option("--run", metavar="ID", type=click.IntRange(min=1), help=f"Or: the run whose artifact {ARTIFACT} has it.")
@click.option("--sha", metavar="SHA", required=True, callback=full_hash, help="The commit that ran, as the forge says.")
@options.trunk
@options.dry_run("Sign and write nothing; say what would be recorded.")
def record(path: Path | None, run: int | None, sha: str, trunk: str, dry_run: bool) -> None:
    """Sign what the stages of SHA gave when they ran, and put the records beside the objects of DVC's remote.

    Only where SHA differs from the trunk in nothing that computes: then what ran was the trunk's code, and nobody can
    have made up what it gave. Call it where no pull request's code can reach the key, with the trunk checked out. It
    signs as trunkline release does; who may is declared in conf/deploy, recorders.
    """
    import os

    from trunkline.adapters.dvc import remote_files
    from trunkline.conf.deploy import Deploy
    from trunkline.core.params import Params
    from trunkline.release import provenance, records
    from trunkline.review import kind

    if (path is None) == (run is None):
        raise click.UsageError("name what was computed: --computed FILE, or --run ID.")
    recorders = Params.read().group(Deploy).recorders
    if not recorders:
        click.echo("nothing is recorded: conf/deploy declares no recorders")
        return
    if code := kind.of_commit(Path(), trunk, sha):
        click.echo(
            f"nothing is recorded: {sha[:10]} differs from the trunk in what computes or judges: {', '.join(code)}"
        )
        return
    entries = records.parse(workflow.left(path, run, ARTIFACT, FILE, LIMIT))
    where = provenance.run_of(os.environ).invocation or provenance.LOCAL
    with remote_files.opened(Path()) as remote:
        for stage, entry in entries.items():
            new = records.StageRecord(stage, entry, where)
            if dry_run:
                click.echo(f"{stage}: would be recorded as {new.path}")
            elif records.put(new, remote, recorders, os.environ, partial(click.echo, err=True)):
                click.echo(f"{stage}: recorded as {new.path}")
            else:
                click.echo(f"{stage}: was recorded before")
