"""Which columns tell the rows of a table apart. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from trunkline.init.profile import Column, Table

_TRIED = 10  # columns of which combinations are tried
_WIDEST = 3


@dataclass(frozen=True)
class Key:
    """Columns that identify a row, and the share of the rows that repeat another one's."""

    columns: tuple[str, ...]
    repeated: float


def key(table: Table, allowed: Sequence[str]) -> Key:
    """Return the fewest of the allowed columns whose values are all different; all of them where no few are.

    More than three are those without which rows would be alike, left of all that are no measured numbers.
    """
    columns = [table.column(name) for name in allowed]
    plain = [column for column in columns if column.type != "number" and not column.unreadable and column.present]
    ranked = sorted(plain, key=lambda column: (-column.distinct, allowed.index(column.name)))[:_TRIED]
    for width in range(1, _WIDEST + 1):
        for chosen in combinations(ranked, width):
            if _may_identify(chosen, table.frame.height) and not repeated(table, [column.name for column in chosen]):
                return Key(tuple(column.name for column in chosen), 0.0)
    if plain and not repeated(table, [column.name for column in plain]):
        return Key(_without_spare(table, plain), 0.0)
    return Key(tuple(allowed), repeated(table, allowed))


def _without_spare(table: Table, columns: Sequence[Column]) -> tuple[str, ...]:
    """Return columns that tell the rows apart together, without those that are not needed, of few values first."""
    needed = [column.name for column in columns]
    for column in sorted(columns, key=lambda column: column.distinct):
        others = [name for name in needed if name != column.name]
        if others and not repeated(table, others):
            needed = others
    return tuple(needed)


def _may_identify(columns: Sequence[Column], rows: int) -> bool:
    product = 1
    for column in columns:
        product *= column.distinct + bool(column.missing)
    return product >= rows


def repeated(table: Table, columns: Sequence[str]) -> float:
    """Return the share of the rows that repeat an earlier one's values in some columns."""
    frame = table.frame.select(columns)
    return 1 - frame.n_unique() / max(1, frame.height)
