"""What verbs print alike: JSON, and how long a slow one takes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from trunkline.core import durations, files


def echo_json(content: Any) -> None:
    """Print JSON in the form of the files that Trunkline writes, sorted and indented, but with every digit."""
    click.echo(files.canonical_json(content, digits=None), nl=False)


def answer(content: Any, text: str, as_json: bool) -> None:
    """Print an answer as JSON, or as text for people."""
    if as_json:
        echo_json(content)
    else:
        click.echo(text)


@contextmanager
def timed(verb: str) -> Iterator[None]:
    """Tell who waits at a terminal how long a verb last took here, and keep how long it takes now."""
    if sys.stderr.isatty() and (last := durations.last_run(Path(), verb)):
        click.echo(last, err=True)
    with durations.measured(Path(), verb):
        yield
