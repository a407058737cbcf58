"""`trunkline review`: what the comment on a pull request says, before there is one."""

from functools import partial
from pathlib import Path

import click

from trunkline.cli import options

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(short_help="Say whether this branch may be merged, and why.")
@options.base("Compare with the commit where this branch left REF.", default="main")
@click.option("--html", metavar="FILE", type=FILE, help="Write it all, with pictures, as a page that needs no network.")
@click.option("--data", metavar="FILE", type=FILE, help="Write what trunkline ci comment makes the comment from.")
@click.option("--markdown", metavar="FILE", type=FILE, help="Write the comment into FILE, instead of printing it.")
@click.option("--attribute", "attributing", is_flag=True, help="Also run what tells several changes apart.")
def review(base: str, html: Path | None, data: Path | None, markdown: Path | None, attributing: bool) -> None:
    """Print what the pull request's comment says, in Markdown: whether this may be merged, and why.

    Nothing is run or fetched, but for --attribute, within review.attribution of conf/.
    """
    from trunkline.core.params import Params
    from trunkline.review import comment, gather

    params = Params.read()
    gathered = gather.gather(Path(), params, base)
    if attributing:
        gathered = gather.attributed(Path(), params, gathered, partial(click.echo, err=True))
    if html is not None:
        from trunkline.review import page

        _write(html, page.render(gathered))
    if data is not None:
        from trunkline.review import file

        _write(data, file.encode(gathered).decode())
    text = comment.render(gathered, html.name if html else None)
    if markdown is not None:
        _write(markdown, text)
    else:
        click.echo(text, nl=False)


def _write(path: Path, text: str) -> None:
    from trunkline.core import files

    files.write_text(path, text)
    click.echo(f"{path}: written", err=True)
