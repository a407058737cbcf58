"""`trunkline upgrade`: a project's files as the installed version writes them."""

from pathlib import Path

import click

from trunkline.cli import options, output


@click.command(short_help="Bring the project's files to the installed version, for a pull request.")
@click.option("--check", "checking", is_flag=True, help="Write nothing; exit 1 if something would change.")
@options.as_json()
@click.pass_context
def upgrade(context: click.Context, checking: bool, as_json: bool) -> None:
    """Change stages/, dvc.yaml, locks/, workflows and renamed groups of conf/ to those of the installed version.

    What you have edited in them stays: it is merged with what has changed, and a conflict is named and marked as git
    does. Nothing is committed: git diff shows it all. Exits with 1 if there are conflicts.
    """
    from trunkline.init import upgrade as upgrades

    changed = upgrades.changes(Path())
    if not checking:
        upgrades.write(Path(), changed)
    conflicts = [change for change in changed if change.conflict]
    if as_json:
        listed = [{"file": each.path.as_posix(), "what": each.what, "conflict": each.conflict} for each in changed]
        output.echo_json({"changes": listed, "written": not checking})
    else:
        for change in changed:
            click.echo(f"{'CONFLICT ' if change.conflict else ''}{change.path}: {change.what}")
        click.echo(_next_step(len(changed), len(conflicts), checking))
    context.exit(1 if conflicts or (checking and changed) else 0)


def _next_step(changed: int, conflicts: int, checking: bool) -> str:
    if not changed:
        return "everything is as the installed version writes it"
    if checking:
        return f"{changed} files would change, {conflicts} of them with a conflict; run: trunkline upgrade"
    first = f"resolve {conflicts} conflicts, then: " if conflicts else "next: "
    return f"{changed} files have changed; {first}git diff, locks/install ci, dvc repro"
