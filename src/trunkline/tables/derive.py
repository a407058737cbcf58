"""Adds to a raw table the columns that are derived from those that it has."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import polars as pl

from trunkline.core.expressions import Expression, columns
from trunkline.tables import convert, rows
from trunkline.tables.convert import ColumnType


class Declared(Protocol):
    """What a column of a raw table holds, by its declaration."""

    @property
    def type(self) -> ColumnType:
        """Type of its values."""

    @property
    def formats(self) -> Sequence[str]:
        """Their notations."""


def add_derived(
    raw: pl.DataFrame, declared: Mapping[str, Declared], derived: Mapping[str, Expression], zone: str
) -> pl.DataFrame:
    """Return a raw table with derived columns added, in their own types; a value that cannot be read is missing.

    Raises UnfitError for a value that does not fit its type, TypeError for a column of a wrong stored type.
    """
    if not derived:
        return raw
    read = dict.fromkeys(name for expression in derived.values() for name in columns(expression))
    parsed = {name: convert.parse(raw[name], declared[name].type, declared[name].formats).values for name in read}
    return raw.with_columns(rows.compute(pl.DataFrame(parsed), derived, zone))
