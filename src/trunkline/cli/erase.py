"""`trunkline erase`: where a person's rows are, what can be erased of them at once, and what remains elsewhere."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options, output
from trunkline.cli.push import store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline.adapters.forge.api import Forge, PullRequest
    from trunkline.core.params import Params
    from trunkline.erasure.erase import OnlineStore, Site
    from trunkline.erasure.place import Place
    from trunkline.erasure.sources import Branch
    from trunkline.serve.prediction_log.place import Place as Log


@click.command(
    short_help="Erase a person: from log, store and cache now, from the sources by a branch; or export them."
)
@click.option(
    "--subject",
    metavar="COLUMN=VALUE",
    required=True,
    help="Who: a value of a column of conf/contract, in every table that has it. COLUMN=- reads it from the input.",
)
@options.dry_run("Erase nothing; list what would be done.")
@click.option("--check", "checking", is_flag=True, help="Erase nothing; exit 1 while anything is left to be done.")
@click.option("--open", "opening", is_flag=True, help="Push the branch, and open its pull request on the forge.")
@click.option(
    "--export", "target", metavar="FILE", type=click.Path(path_type=Path), help="Write all rows of them: JSON."
)
@click.option("--log", metavar="FOLDER|URL", help="Instead of what conf/serving says (serving.log.to).")
@store
@options.bundle("The bundle whose views are looked for in the store.")
@options.trunk
@options.as_json("Print the places as JSON.")
@click.pass_context
def erase(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context,
    subject: str,
    dry_run: bool,
    checking: bool,
    opening: bool,
    target: Path | None,
    log: str | None,
    url: str | None,
    folder: Path,
    trunk: str,
    as_json: bool,
) -> None:
    """List every place that holds a person, and erase them from those that can be: a run that was killed is run again.

    The log and its outcomes are rewritten without them, the online store and the cache lose them, and a branch filters
    the files of the project that conf/data names, or repins sources whose owner has erased them. What stays is listed
    with until when: git, DVC's remote, and versions that were trained on them, by conf/deploy. No output names the
    value; a digest by the key of serving.log stands for it.

    With --open the branch is that of origin, with one pull request, however often it is run. GITHUB_REPOSITORY and
    GITHUB_TOKEN, or those of GitLab, name the forge.
    """
    from trunkline.core import files
    from trunkline.erasure import erase as erasing

    if checking and dry_run:
        raise click.UsageError("--check: erases nothing by itself; leave out --dry-run")
    if opening and (checking or dry_run):
        raise click.UsageError("--open: is of an erasure; leave out --check and --dry-run")
    column, value = _subject(subject)
    branch, pull = None, None
    forge = _forge() if opening else None
    with _site(column, value, trunk, fetch=opening) as bare:
        site = replace(bare, log=_log(bare.params, log), store=_store(bare.params, url, folder))
        if target is not None:
            files.write_text(target, json.dumps(erasing.export(site), default=str, ensure_ascii=False, indent=1) + "\n")
        if checking or dry_run:
            places = erasing.search(site)
        else:
            places, branch = erasing.erase(site)
        if forge is not None and branch is not None and branch.commit is not None:
            pull = _opened(site, places, branch, trunk, forge)
    written = branch if branch is not None and branch.commit is not None else None
    left = [place for place in places if place.is_open]
    if as_json:
        listed = [vars(place) for place in places]
        content = {"subject": site.subject.name, "places": listed, "branch": written and vars(written)}
        output.echo_json(content | ({"pull_request": pull and vars(pull)} if opening else {}))
    else:
        _tell(site.subject.name, places)
        _tell_branch(branch, pull)
    context.exit(1 if checking and left else 0)


def _subject(text: str) -> tuple[str, str]:
    column, separator, value = text.partition("=")
    if not separator or not column:
        raise click.UsageError("--subject: write COLUMN=VALUE, or COLUMN=- and the value on the input")
    if value == "-":
        value = sys.stdin.readline().rstrip("\r\n")
    if not value:
        raise click.UsageError(f"--subject: the value of {column} is missing")
    return column, value


def _forge() -> "Forge":
    from trunkline.adapters.forge import connect

    return connect.connect(os.environ)


def _opened(site: "Site", places: "Sequence[Place]", branch: "Branch", trunk: str, forge: "Forge") -> "PullRequest":
    from functools import partial

    from trunkline.adapters import pulls
    from trunkline.erasure import pull

    assert branch.commit is not None  # noqa: S101  there is nothing to open else
    wanted = pulls.Wanted(branch.name, trunk, pull.title(site.subject), pull.body(site.subject, places))
    origin = pulls.Origin(site.root, os.environ, forge, partial(click.echo, err=True))
    return pulls.publish(origin, branch.commit, wanted, site.theirs or "")


def _tell_branch(branch: "Branch | None", pull: "PullRequest | None") -> None:
    if branch is None or branch.commit is None:
        return
    then = f"#{pull.number} {pull.url}" if pull else "next: dvc repro on it, and a pull request"
    click.echo(f"branch {branch.name} has the sources without them; {then}")


@contextmanager
def _site(column: str, value: str, trunk: str, *, fetch: bool) -> "Iterator[Site]":
    from contextlib import ExitStack
    from datetime import UTC, datetime

    from trunkline.adapters.dvc import project, remote_files
    from trunkline.adapters.git import ancestry, remote
    from trunkline.core.params import Params
    from trunkline.erasure import sources
    from trunkline.erasure.erase import Site
    from trunkline.erasure.held import History
    from trunkline.erasure.subject import Subject

    root, params = Path.cwd(), Params.read()
    subject = Subject.of(column, value, params)
    if fetch:
        remote.fetch(root, trunk, os.environ)
    theirs = remote.fetch_branch(root, sources.branch_of(subject), os.environ) if fetch else None
    tip = ancestry.trunk(root, trunk).tip
    with ExitStack() as stack:
        with project.opened(root) as repo:
            has_remote = project.has_remote(repo)
        store = stack.enter_context(remote_files.opened(root)) if has_remote else None
        yield Site(root, params, tip, subject, History(root, subject, store), datetime.now(UTC), theirs=theirs)


def _log(params: "Params", log: str | None) -> "tuple[str, Log] | None":
    from trunkline.cli.labels import log_place
    from trunkline.conf.serving import Serving, is_url

    declared = params.group(Serving).log
    to = log or (declared and declared.to)
    if not to or (log is None and not is_url(to) and not Path(to).is_dir()):
        return None
    return to, log_place(Path(), to)


def _store(params: "Params", url: str | None, folder: Path) -> "OnlineStore | None":
    from trunkline.conf.serving import Serving
    from trunkline.core.addresses import shown
    from trunkline.erasure.erase import OnlineStore
    from trunkline.serve import materialize as serve_materialize

    declared = params.group(Serving).placed(Path()).online
    if declared is None:
        return None
    address = url or declared.store
    return OnlineStore(shown(address), serve_materialize.opened(folder, declared, address, os.environ))


def _tell(name: str, places: "list[Place]") -> None:
    from trunkline.show import terminal

    if not places:
        click.echo(f"{name}: nowhere")
        return
    table = terminal.table("where", "name", "rows", "what becomes of it", left=(0, 1, 3))
    for place in places:
        rows = "" if place.rows is None else f"{place.rows:,}"
        table.add_row(place.kind, place.name, rows, f"{place.state}: {place.then}")
    click.echo(name)
    terminal.show(table)
