"""`trunkline serve`: answers requests with a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options
from trunkline.cli.reconcile import follow, seconds

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from trunkline.conf.serving import Serving
    from trunkline.release.delivered import Trust


environment = click.option(
    "--env", "environment", metavar="NAME", help="Follow what trunkline reconcile delivers to it."
)
store = click.option(
    "--store",
    type=click.Path(path_type=Path),
    envvar="TRUNKLINE_STORE",
    default=Path(".trunkline"),
    show_default=True,
    help="The folder that trunkline reconcile delivers to, for --env.",
)


@click.command(short_help="Answer requests with a bundle, over HTTP and gRPC.")
@click.argument("folder", metavar="[BUNDLE]", type=click.Path(path_type=Path), required=False)
@environment
@store
@click.option(
    "--only",
    metavar="VERSION",
    help="Of --env, serve this version alone, be it the candidate: something in front splits requests.",
)
@options.project("The folder whose params.yaml has conf/serving, and for --env the signers; without one, the defaults.")
@click.option(
    "--reconcile",
    "every",
    metavar="DURATION",
    callback=seconds,
    help="Run trunkline reconcile beside the server, such as every 30s, for --env; the project has to be a clone.",
)
@options.trunk
@click.option("--bind", metavar="HOST:PORT", help="Instead of what conf/serving says.")
@click.option("--workers", type=click.IntRange(1, 256), help="Instead of what conf/serving says.")
@click.option("--without-authentication", is_flag=True, help="Allow an address that other machines can reach.")
def serve(  # noqa: PLR0913, PLR0917  an argument per option
    folder: Path | None,
    environment: str | None,
    store: Path,
    only: str | None,
    project: Path,
    every: float | None,
    trunk: str,
    bind: str | None,
    workers: int | None,
    without_authentication: bool,
) -> None:
    """Answer requests with BUNDLE, models/bundle if none is given, or with what is delivered to an environment.

    Needs only what locks/serve.txt lists. SIGTERM ends it once the requests in work are answered.
    """
    import signal

    if folder and environment:
        raise click.UsageError("BUNDLE does not go with --env; leave one out")
    if only and not environment:
        raise click.UsageError("--only needs --env, of whose versions it is one")
    if every and not environment:
        raise click.UsageError("--reconcile needs --env, which says what to bring in line")
    try:
        from trunkline.serve import run
        from trunkline.serve.source import Delivery, Source
    except ModuleNotFoundError as error:
        raise click.UsageError(f"serve needs {error.name}: pip install 'trunkline[serve]'") from None
    serving, tolerance, personal = declared_serving(project, bind, workers)
    delivery = Delivery(environment, trust(project).check, only) if environment else None
    source = Source(store if environment else folder or Path("models/bundle"), delivery, tolerance, personal)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server drains, and then hands it on to this
    try:
        with _reconciling(project, trunk, store, environment, every):
            run.run(source, serving, open_to_others=without_authentication)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


def _reconciling(
    project: Path, trunk: str, store: Path, environment: str | None, every: float | None
) -> "AbstractContextManager[None]":
    from contextlib import nullcontext

    if not every or not environment:
        return nullcontext()
    from functools import partial

    from trunkline.deploy.reconcile import beside

    beside.installed()
    return beside.beside(partial(follow, project.absolute(), trunk, store.absolute(), environment, every))


def trust(project: Path) -> "Trust":
    """Return whom a project believes what is delivered."""
    from trunkline.release.delivered import Trust

    return Trust.read(project)


def declared_serving(project: Path, bind: str | None, workers: int | None) -> "tuple[Serving, float, frozenset[str]]":
    """Return what conf/serving declares, with what the command line says instead; the bundle's tolerance.

    And the columns that conf/contract marks as personal.
    """
    from pydantic import ValidationError

    from trunkline.conf.bundle import Packaging
    from trunkline.conf.serving import Serving
    from trunkline.core.params import Params
    from trunkline.core.paths import PARAMS
    from trunkline.serve.prediction_log import privacy

    tolerance = Packaging.model_fields["tolerance"].default
    declared, personal = Serving(), frozenset[str]()
    if (project / PARAMS).exists():
        params = Params.read(project)
        declared, tolerance = params.group(Serving), params.group(Packaging).tolerance
        personal = privacy.personal(params) if declared.log else personal
    given = {key: value for key, value in (("bind", bind), ("workers", workers)) if value is not None}
    try:
        return Serving.model_validate({**dict(declared), **given}).placed(project), tolerance, personal
    except ValidationError as error:
        raise click.UsageError(f"--{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from None
