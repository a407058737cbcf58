"""Columns that are made of outcomes and declared as known all the same: whether that is so, only a person can judge."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trunkline.core.params import dig


@dataclass(frozen=True)
class KnownBecause:
    """A derived column, `table.column`, by its expression, and why it is known when the prediction is made."""

    column: str
    expression: str
    reason: str


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[KnownBecause, ...]:
    """Return those of a params.yaml that an earlier one has not, or by another expression, or for another reason."""
    known = set(_all(before))
    return tuple(each for each in _all(now) if each not in known)


def _all(params: Mapping[str, Any]) -> Iterator[KnownBecause]:
    for table, columns in _items(dig(params, "data", "derive")):
        for column, expression in _items(columns):
            reason = dig(params, "contract", "tables", table, "columns", column, "known_because")
            if isinstance(reason, str):
                yield KnownBecause(f"{table}.{column}", str(expression), reason)


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a mapping, and nothing of anything else: an old commit may hold that."""
    yield from ((str(key), value[key]) for key in sorted(value, key=str)) if isinstance(value, Mapping) else ()
