"""Tables for the terminal, and as text for what is piped."""

from io import StringIO

import click
from rich.console import Console, RenderableType
from rich.table import Table

WIDTH = 140  # of what is piped


def show(shown: RenderableType, width: int = WIDTH) -> None:
    """Print to the terminal, or as plain text of a fixed width to a pipe or file."""
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(shown)
    else:
        click.echo(plain(shown, width), nl=False)


def plain(report: RenderableType, width: int) -> str:
    """Return a report as text without colours, for a file or a pipe."""
    console = Console(file=StringIO(), width=width, color_system=None)
    with console.capture() as captured:
        console.print(report)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def table(*headings: str, left: tuple[int, ...] = ()) -> Table:
    """Return an empty table without lines; `left` are the columns that are not numbers."""
    lines = Table(box=None, show_header=bool(headings), header_style="dim", pad_edge=False, padding=(0, 3, 0, 0))
    for number, heading in enumerate(headings):
        lines.add_column(heading, justify="left" if number in left else "right", no_wrap=number == 0)
    return lines
