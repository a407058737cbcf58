"""`trunkline ci preview`: on a pull request, what its model would have answered to the last hours' requests."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options
from trunkline.cli.ci.status import full_hash
from trunkline.cli.reconcile import seconds

if TYPE_CHECKING:
    from trunkline.adapters.dvc.remote_files import RemoteFiles
    from trunkline.bundle.runtime import Bundle
    from trunkline.conf.previews import Previews
    from trunkline.core.params import Params
    from trunkline.release.recorded import Claim
    from trunkline.release.records import Signers

PAUSE = 10.0  # seconds between two looks for a record


@click.command(short_help="Show on a pull request what its model would have answered.")
@click.option("--sha", metavar="SHA", required=True, callback=full_hash, help="The pull request's head.")
@click.option("--wait", metavar="DURATION", callback=seconds, help="How long to wait for the record of its bundle.")
@click.option("--log", metavar="FOLDER|URL", help="The prediction log, instead of serving.log.to of conf/serving.")
@click.option("--post", is_flag=True, help="Put it into the comment of the commit, instead of printing it.")
@options.trunk
@options.dry_run("With --post: look everything up, and say what would be done.")
def preview(  # noqa: PLR0913, PLR0917  an argument per option
    sha: str, wait: float | None, log: str | None, post: bool, trunk: str, dry_run: bool
) -> None:
    """Answer the last hours' requests of an environment again, by the bundle of SHA, and say how much changes.

    Which environments, and how many requests, conf/deploy says, previews: that of the trunk, which has to be checked
    out. No code of SHA is run: its bundle is loaded if it is an ONNX graph, and a signed record of its stage, by one of
    the recorders of conf/deploy, has its hash. Nothing is put anywhere but the comment, and nothing waits for that.
    """
    from trunkline.conf.deploy import Deploy
    from trunkline.core.params import Params
    from trunkline.release.recorded import Claim
    from trunkline.review import preview as review_preview

    if dry_run and not post:
        raise click.UsageError("--dry-run needs --post.")
    params = Params.read()
    wanted = {name: each.previews for name, each in params.group(Deploy).environments.items() if each.previews}
    if not wanted:
        click.echo("conf/deploy declares no previews")
        return
    claim, own = Claim.of(Path(), sha), Claim.of(Path(), "HEAD")
    if claim is None or (own and claim.output == own.output):
        click.echo(f"{sha[:10]}: has no bundle but the trunk's: there is nothing to show")
        return
    section = review_preview.section(_bodies(params, wanted, claim, _patience(sha, trunk, wait), log))
    if post:
        _post(sha, section, dry_run)
    else:
        click.echo(section)


def _patience(sha: str, trunk: str, wait: float | None) -> float:
    """Return for how many seconds there may be a record yet: none where the commit changes code, which is not run."""
    from trunkline.review import kind

    return 0.0 if kind.of_commit(Path(), trunk, sha) else wait or 0.0


def _bodies(
    params: "Params", wanted: "Mapping[str, Previews]", claim: "Claim", patience: float, log: str | None
) -> list[str]:
    """Return what there is to say of each environment; why not, where nothing can be shown."""
    from tempfile import TemporaryDirectory

    from trunkline.core.errors import OutsideError, UserError
    from trunkline.review import preview as review_preview

    with TemporaryDirectory(prefix="trunkline-") as aside:
        try:
            bundle = _loaded(params, claim, patience, Path(aside) / "bundle")
            return [_body(params, name, previews, bundle, log) for name, previews in wanted.items()]
        except UserError as error:
            why = str(error)
        except (OutsideError, OSError) as error:  # pyarrow's; may name what only the run's log should
            why = "the log or the remote could not be read: see the log of the run"
            click.echo(str(error), err=True)
    return [review_preview.refused(name, why) for name in wanted]


def _loaded(params: "Params", claim: "Claim", patience: float, folder: Path) -> "Bundle":
    """Return the bundle of a commit, once a record of it is believed; raises UserError where none is."""
    from trunkline.adapters.dvc import remote_files
    from trunkline.bundle.runtime import Bundle
    from trunkline.conf.deploy import Deploy
    from trunkline.core.errors import UserError

    recorders = params.group(Deploy).recorders
    if not recorders:
        raise UserError("conf/deploy declares no recorders, so that nobody can say what has built its bundle")
    if claim.runtime != "onnx":
        raise UserError(f"its bundle runs on {claim.runtime}, and only graphs are loaded here")
    with remote_files.opened(Path()) as remote:
        if not _confirmed(claim, remote, recorders, patience):
            raise UserError("no recorder has signed what has built its bundle: its code is not the trunk's, or not yet")
        claim.fetch(remote, folder)
    return Bundle.load(folder)


def _confirmed(claim: "Claim", remote: "RemoteFiles", recorders: "Signers", patience: float) -> bool:
    """Look for the record until it is there, for so many seconds; tell whether it is."""
    end = time.monotonic() + patience
    while not claim.confirmed(remote, recorders, partial(click.echo, err=True)):
        if time.monotonic() >= end:
            return False
        time.sleep(PAUSE)
    return True


def _body(params: "Params", environment: str, previews: "Previews", bundle: "Bundle", log: str | None) -> str:
    from trunkline.cli.labels import log_place
    from trunkline.conf.data import Data
    from trunkline.deploy.rollout.preview import Reader
    from trunkline.deploy.rollout.preview import preview as of_log
    from trunkline.review import preview as review_preview

    reader = Reader(log_place(Path(), log), environment, previews, bundle, datetime.now(UTC))
    return review_preview.body(of_log(reader, params.group(Data).target.task))


def _post(sha: str, section: str, dry_run: bool) -> None:
    import os

    from trunkline.adapters.forge import api, connect
    from trunkline.review import post

    forge = connect.connect(os.environ)
    posted = api.retried(
        lambda: post.attach(forge, sha, section, write=not dry_run), lambda line: click.echo(line, err=True)
    )
    if posted.what == "stale":
        click.echo(f"{sha} is the head of no open pull request, or has no comment: nothing posted")
        return
    click.echo(f"{posted.url}: comment {posted.what}{' (dry run: not done)' if dry_run else ''}")
