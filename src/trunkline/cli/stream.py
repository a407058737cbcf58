"""`trunkline stream`: answers the requests of a broker's topic with a bundle."""

from pathlib import Path

import click

from trunkline.cli import options
from trunkline.cli.serve import declared_serving, environment, store, trust


@click.command(short_help="Answer requests of a topic of Kafka or NATS with a bundle.")
@click.argument("folder", metavar="[BUNDLE]", type=click.Path(path_type=Path), required=False)
@environment
@store
@options.project("The folder whose params.yaml declares serving.stream, and for --env the signers.")
@click.option(
    "--partitions",
    metavar="NUMBERS",
    callback=lambda *given: _numbers(given[-1]),
    help="Those of each topic of Kafka that this process reads, such as 0,1 or 4-7; without it, all.",
)
def stream(
    folder: Path | None, environment: str | None, store: Path, project: Path, partitions: frozenset[int] | None
) -> None:
    """Answer the requests of a topic with BUNDLE, models/bundle if none is given, or with what is delivered to --env.

    Each answer is written once, whatever is killed in between. SIGTERM ends it when the batch in work is done.
    """
    import logging.config
    import signal
    from threading import Event

    from trunkline.core.errors import UserError

    if folder and environment:
        raise click.UsageError("BUNDLE does not go with --env; leave one out")
    try:
        from trunkline.serve.run import logging_config
        from trunkline.serve.source import Delivery, Source
        from trunkline.serve.stream.run import run
    except ModuleNotFoundError as error:
        raise click.UsageError(f"stream needs {error.name}: pip install 'trunkline[serve]'") from None
    serving, tolerance, personal = declared_serving(project, None, None)
    if serving.stream is None:
        raise UserError(f"{project / 'params.yaml'}: serving.stream: is not declared; declare it in conf/serving")
    delivery = Delivery(environment, trust(project).check) if environment else None
    source = Source(store if environment else folder or Path("models/bundle"), delivery, tolerance, personal)
    logging.config.dictConfig(logging_config())
    stop = Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    run(source, serving, serving.stream, stop, partitions)
    click.echo("stopped", err=True)


def _numbers(text: str | None) -> frozenset[int] | None:
    """Return the numbers that a list such as 0,2-4 names."""
    if text is None:
        return None
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise click.BadParameter(f"'{text}' is no list of numbers such as 0,1 or 4-7")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)
