"""`trunkline reconcile`: what runs, brought in line with what the trunk declares."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options, output

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.deploy.reconcile.once import Round, Site
    from trunkline.deploy.reconcile.watch import Attempt

STORE = "TRUNKLINE_STORE"


def seconds(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of a duration that an option was given."""
    from trunkline.core.values import parse_duration

    try:
        given = None if value is None else parse_duration(value).total_seconds()
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if given == 0:
        raise click.BadParameter("must be at least 1s")
    return given


@click.command(short_help="Bring what runs in line with the trunk.")
@click.option("--once", is_flag=True, help="Compare once, and end with the exit code; so it is without --watch too.")
@click.option("--watch", metavar="DURATION", callback=seconds, help="Compare again and again, such as every 30s.")
@options.dry_run("Print what would be done; change nothing.")
@options.trunk
@click.option("--store", envvar=STORE, default=".trunkline", show_default=True, help="The folder that servers watch.")
@click.option("--environment", "only", multiple=True, metavar="NAME", help="Look after this one only; repeatable.")
@click.option("--keep", type=click.IntRange(min=1), default=5, show_default=True, help="Bundles to keep.")
@click.option("--metrics", metavar="PORT|FILE", help="Serve gauges for Prometheus, or write them to a .prom file.")
@options.as_json()
@click.pass_context
def reconcile(  # noqa: PLR0913, PLR0917  one per option
    context: click.Context,
    once: bool,
    watch: float | None,
    dry_run: bool,
    trunk: str,
    store: str,
    only: tuple[str, ...],
    keep: int,
    metrics: str | None,
    as_json: bool,
) -> None:
    """Make MLflow's registry, the servers' folder and the manifests what models/registry.yaml on the trunk says.

    Runs in any clone, also a bare one with a key that may only read: all is read at the tip of origin's trunk. Nothing
    is done for a version whose chain does not hold, nor for anybody where the registry file is wrong.

    Exits with 0 if all is in sync (after this), 1 if something differs, is only reported, is refused or is not served
    yet, 2 if the trunk's declaration is wrong, 3 if something outside failed, so that a part is not done.
    """
    from functools import partial

    from trunkline.deploy.reconcile import once as reconcile_once
    from trunkline.deploy.reconcile import watch as reconcile_watch

    if (once and watch) or (dry_run and watch):
        raise click.UsageError("--watch does not go with --once or --dry-run; leave one out")
    here = site(trunk, store, only, keep)
    keep_gauges = _gauges(metrics, watch is not None)
    compare = partial(reconcile_once.reconcile, here, partial(click.echo, err=True), write=not dry_run)
    if watch:
        _forever(partial(reconcile_watch.watch, compare, watch, click.echo, keep_gauges))
        return
    attempt = reconcile_watch.attempt(compare)
    keep_gauges(attempt)
    if attempt.round is None:
        raise attempt.error or AssertionError(attempt)
    output.answer(_content(attempt.round), "\n".join(attempt.lines()), as_json)
    context.exit(attempt.code)


def site(trunk: str, store: str, only: tuple[str, ...] = (), keep: int = 5) -> "Site":
    """Return this folder, which is a clone, and the store."""
    import os

    from trunkline.deploy.reconcile.once import Site
    from trunkline.deploy.reconcile.store import BundleStore

    return Site(Path(), trunk, BundleStore(Path(store)), os.environ, only, keep)


def follow(project: Path, trunk: str, store: Path, environment: str, every: float) -> None:
    """Bring one environment in line again and again, in the folder of a clone, telling what is done on stderr."""
    import os
    from functools import partial

    from trunkline.deploy.reconcile import once as reconcile_once
    from trunkline.deploy.reconcile import watch as reconcile_watch

    os.chdir(project)
    tell = partial(click.echo, err=True)
    compare = partial(reconcile_once.reconcile, site(trunk, str(store), (environment,)), tell)
    reconcile_watch.watch(compare, every, tell, reconcile_watch.gauged(None, None))


def _forever(run: "Callable[[], None]") -> None:
    """Run until SIGTERM or Ctrl-C, at any point of which it may end: nothing is ever half done."""
    import signal

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run()
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


def _gauges(metrics: str | None, stays: bool) -> "Callable[[Attempt], None]":
    from trunkline.deploy.reconcile import watch as reconcile_watch

    if metrics is None:
        return reconcile_watch.gauged(None, None)
    try:
        from trunkline.deploy.reconcile.gauges import Gauges
    except ModuleNotFoundError:
        raise click.UsageError("--metrics needs the extra metrics: pip install 'trunkline[metrics]'") from None
    gauges = Gauges()
    if not metrics.isdecimal():
        return reconcile_watch.gauged(gauges, Path(metrics))
    if not stays:
        raise click.UsageError("--metrics PORT needs --watch: nobody could ask it in time; name a file")
    gauges.serve(int(metrics))
    return reconcile_watch.gauged(gauges, None)


def _content(comparison: "Round") -> dict[str, object]:
    outcomes = {
        outcome.environment: {
            "declared": outcome.declared,
            "delivered": outcome.actual,
            "state": outcome.state,
            "version": outcome.version,
            "why": list(outcome.why),
        }
        for outcome in comparison.outcomes
    }
    actions = [
        {"environment": action.environment, "kind": type(action).__name__.lower(), "what": str(action)}
        for action in (comparison.applied or comparison.undone)
    ]
    return {
        "actions": actions,
        "applied": bool(comparison.applied),
        "environments": outcomes,
        "trunk": comparison.declared.tip,
    }
