"""`trunkline privacy`: every place where each column appears, from its source to the log."""

from typing import TYPE_CHECKING

import click

from trunkline.cli import options, output

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.pipeline.compose.privacy import Appearance


@click.command(short_help="Every place where each column appears, from its source to the log.")
@click.argument("columns", nargs=-1, metavar="[COLUMN]...")
@click.option("--all", "every", is_flag=True, help="Public and internal columns too, which are left out of the text.")
@options.as_json("Print all places of the columns as JSON.")
def privacy(columns: tuple[str, ...], *, every: bool, as_json: bool) -> None:
    """List every place where each column of conf/contract appears, and what becomes of its values there.

    It follows from params.yaml alone. Without COLUMN, a column or table.column, those that are personal, sensitive or
    identifiers are listed.
    """
    from dataclasses import asdict

    from trunkline.conf.privacy import PERSONAL
    from trunkline.core import paths
    from trunkline.core.errors import UserError, nearest
    from trunkline.core.params import Params
    from trunkline.pipeline.compose import judge
    from trunkline.pipeline.compose import privacy as places
    from trunkline.pipeline.compose.files import Composed

    project = judge.check(Composed(dict(Params.read().content), merged=()), paths.PARAMS)
    listed = places.appearances(project)
    names = {each.column for each in listed} | {f"{each.table}.{each.column}" for each in listed}
    for name in columns:
        if name not in names:
            raise UserError(f"no column '{name}' in conf/contract{nearest(name, names)}")
    if columns:
        listed = tuple(each for each in listed if {each.column, f"{each.table}.{each.column}"} & {*columns})
    elif not (every or as_json):
        listed = tuple(each for each in listed if each.privacy in PERSONAL)
    output.answer([asdict(each) for each in listed], _text(listed), as_json)


def _text(listed: "Iterable[Appearance]") -> str:
    from trunkline.pipeline.compose.privacy import PLACES

    lines: list[str] = []
    shown = None
    for each in listed:
        if (each.table, each.column) != shown:
            shown = each.table, each.column
            lines += [*([""] if lines else []), f"{each.table}.{each.column} is {each.privacy}"]
        because = f" ({each.because})" if each.because else ""
        lines.append(f"  {each.place:<14} {each.treatment:<21} {each.name}: {PLACES[each.place]}{because}")
    return "\n".join(lines) or "no column is personal, sensitive or an identifier; --all lists the others"
