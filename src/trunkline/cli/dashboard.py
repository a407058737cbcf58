"""`trunkline dashboard`: a page of what is in production, whether it is well, and what changed, without Grafana."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options
from trunkline.cli.reconcile import STORE, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.cli import overview

PORT = 8686


@click.command(short_help="Serve a page: what runs, whether it is well, what changed.")
@options.trunk
@click.option("--store", envvar=STORE, default=".trunkline", show_default=True, help="The folder that servers watch.")
@click.option("--log", metavar="FOLDER|URL", help="The prediction log, instead of serving.log.to of conf/serving.")
@click.option("--back", metavar="DURATION", default="90d", show_default=True, callback=seconds, help="Changes since.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0: any that is free.")
@click.option("--host", metavar="ADDRESS", help="Listen there, not only for this machine; nobody has to log in.")
@click.option(
    "--refresh", metavar="DURATION", default="1min", show_default=True, callback=seconds, help="Read again after this."
)
@click.option("--open", "opens", is_flag=True, help="Open it in a browser.")
@click.option(
    "--html", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write the page once instead."
)
def dashboard(  # noqa: PLR0913, PLR0917  an argument per option
    trunk: str,
    store: str,
    log: str | None,
    back: float,
    port: int,
    host: str | None,
    refresh: float,
    opens: bool,
    html: Path | None,
) -> None:
    """Show, on a page, what each environment runs, whether it is well and in sync, and what changed on whose word.

    It joins what trunkline status, rollout, monitor and audit say, and changes nothing. The page is read again, in the
    background, when somebody asks for it and it is older than --refresh. What cannot be read is said in its place.

    With --html the page is written once, for a browser without a network. Exits with 0 once it is written, whatever it
    says: the exit codes of status and monitor are the answers.
    """
    import os
    import tempfile
    from functools import partial

    from trunkline.cli import overview
    from trunkline.core import files

    with tempfile.TemporaryDirectory(prefix="trunkline-", ignore_cleanup_errors=True) as aside:
        make = partial(_page, overview.Asked(trunk, store, log, timedelta(seconds=back), Path(aside)))
        if html is not None:
            files.write_text(html, make())
            click.echo(f"{html}: written", err=True)
            return
        _serve(make, host, port, refresh, opens)
    os._exit(0)  # at once: what is being read in the background, such as an endpoint that hangs, is not waited for


def _page(asked: "overview.Asked") -> str:
    from trunkline.cli import overview
    from trunkline.review.dashboard import page

    return page.render(overview.look(asked))


def _serve(make: "Callable[[], str]", host: str | None, port: int, refresh: float, opens: bool) -> None:
    """Serve until SIGTERM or Ctrl-C, at any point of which it may end: nothing is written."""
    import signal

    from trunkline.core.errors import OutsideError, one_line
    from trunkline.review.dashboard import server

    latest = server.Latest(make, refresh)
    try:
        listening = server.Server(host or server.LOCAL, port, latest, local=host is None)
    except OSError as error:
        raise OutsideError(f"--port {port}: cannot listen there: {one_line(error)}; name another one") from None
    address = f"http://{f'[{host}]' if host and ':' in host else host or server.LOCAL}:{listening.server_port}/"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with listening:
            latest.ask()  # so that the first page is on its way
            click.echo(address)
            if opens:
                click.launch(address)
            listening.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
