"""What verbs print alike: JSON, or text."""

from typing import Any

import click

from trunkline.core import files


def echo_json(content: Any) -> None:
    """Print JSON in the form of the files that Trunkline writes, sorted and indented, but with every digit."""
    click.echo(files.canonical_json(content, digits=None), nl=False)


def answer(content: Any, text: str, as_json: bool) -> None:
    """Print an answer as JSON, or as text for people."""
    if as_json:
        echo_json(content)
    else:
        click.echo(text)
