"""Counts the texts of rows to score that no training row has: a model takes them for unknown ones, and says nothing."""

import re
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from trunkline.bundle.columns import CheckedRows, Mask
from trunkline.bundle.contract import Input

SHOWN = 3  # of the texts of a column

_WHOLE = re.compile(r"^([+-]?\d+)\.0+$")


class UnseenTexts(msgspec.Struct, frozen=True):
    """How many rows have texts in a column that no training row has, and the first of these texts."""

    rows: int
    first: tuple[str, ...]


def count(rows: CheckedRows, scored: Mask) -> dict[str, UnseenTexts]:
    """Count, by column, the unseen texts of those rows of a chunk that are scored."""
    unseen = ((each.field, each.texts[each.rows & scored]) for each in rows.unseen)
    return {name: UnseenTexts(len(texts), _first(texts.tolist())) for name, texts in unseen if np.size(texts)}


def together(parts: Iterable[Mapping[str, UnseenTexts]]) -> dict[str, UnseenTexts]:
    """Add up the counts of parts that follow each other."""
    total: dict[str, UnseenTexts] = {}
    for part in parts:
        for name, more in part.items():
            before = total.get(name, UnseenTexts(0, ()))
            total[name] = UnseenTexts(before.rows + more.rows, _first([*before.first, *more.first]))
    return total


def described(field: Input, unseen: UnseenTexts) -> str:
    """Say in one line what of an input is unseen, and where a text is a known one that is written otherwise."""
    known = {_plain(level): level for level in field.levels or ()}
    alike = next(((text, known[_plain(text)]) for text in unseen.first if _plain(text) in known), None)
    declare = "write it alike, or declare the column integer in conf/contract and train again"
    advice = f"; {alike[0]!r} is {alike[1]!r} there: {declare}" if alike else ""
    rows = "1 row has" if unseen.rows == 1 else f"{unseen.rows:,} rows have"
    texts = ", ".join(map(repr, unseen.first))
    return f"column {field.name}: {rows} a text that no training row has, such as {texts}, scored as unknown{advice}"


def _first(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))[:SHOWN]


def _plain(text: str) -> str:
    return _WHOLE.sub(r"\1", text)
