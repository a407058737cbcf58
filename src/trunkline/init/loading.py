"""Reads a table that a person has named, and looks at its columns, so that conf/ can name it and them."""

from dataclasses import replace
from pathlib import Path

import polars as pl
from pydantic import TypeAdapter, ValidationError

from trunkline.conf.contract import REASONS
from trunkline.core.errors import UserError
from trunkline.core.features import EVENT_TIME
from trunkline.core.values import Column
from trunkline.init import profile, sources
from trunkline.init.profile import Table
from trunkline.init.sources import Named

RESERVED = (EVENT_TIME, REASONS)


def load(text: str, root: Path) -> tuple[Named, Table]:
    """Return the pinned source and the profile of a table; raises as its reader does, and for a column of no use."""
    named = sources.pinned(sources.named(text, root))
    named, raw = kept(named, sources.rows(named))
    is_csv = named.declared["kind"] == "files" and named.declared.get("format", "csv") == "csv"
    table = profile.profile(named.name, raw, texts=is_csv)
    if table.nulls[1:]:
        named = replace(named, declared={**named.declared, "nulls": list(table.nulls)})
    return named, table


def kept(named: Named, raw: pl.DataFrame) -> tuple[Named, pl.DataFrame]:
    """Return the table without the columns that no contract can hold, and with other names for those that are taken.

    The source says so.
    """
    for name in raw.columns:
        _verify(name)
    left_out = {series.name: why for series in raw if (why := profile.unusable(series))}
    if not left_out and not any(name in RESERVED for name in raw.columns):
        return named, raw
    columns = [name for name in raw.columns if name not in left_out]
    new = {name: _free(name, raw.columns) if name in RESERVED else name for name in columns}
    keep = {ours: theirs for theirs, ours in new.items()}
    return replace(named, declared={**named.declared, "keep": keep}, left_out=left_out), raw.select(columns).rename(new)


def _verify(name: str) -> None:
    """Refuse a name that conf/ could not hold; raises UserError."""
    try:
        TypeAdapter(Column).validate_python(name)
    except ValidationError as error:
        message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"column '{name[:60]}': {message}") from None
    if not name.strip() or "${" in name or not name.isprintable():
        raise UserError(f"column {name[:60]!r}: conf/ cannot hold such a name; rename the column")


def _free(name: str, taken: list[str]) -> str:
    return next(free for free in (f"{name}_{number}" for number in range(1, len(taken) + 2)) if free not in taken)
