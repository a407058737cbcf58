"""In which arm a row is: a hash of the values of its key, so that the same key is in the same arm in every server.

A larger share holds the keys of a smaller one, and another candidate is given other keys.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

_BYTES = 8  # of a hash


@dataclass(frozen=True)
class Share:
    """The share of rows, in percent, that a candidate is given; `key` are columns of a request."""

    digest: str
    percent: float
    key: tuple[str, ...]

    def has(self, row: Any, otherwise: str | None = None) -> bool:
        """Tell whether a row is of the share, by its key; without all of one, by what is given otherwise, if anything.

        A value counts by its text, so that 7, 7.0 and "7" are the same: not every protocol can tell them apart.
        """
        values = self._key(row) or (None if otherwise is None else [otherwise])
        if values is None:
            return False
        hashed = self._begun.copy()
        hashed.update(f"[{', '.join(map(json.dumps, values))}]".encode())  # as of the list, in a fifth of the time
        least: float = self.percent / 100 * 2 ** (8 * _BYTES)  # of a hash that is not of the share
        return int.from_bytes(hashed.digest()) < least

    @cached_property
    def _begun(self) -> "blake2b":
        return blake2b(self.digest.encode(), digest_size=_BYTES)

    def _key(self, row: Any) -> list[str] | None:
        if not isinstance(row, Mapping):
            return None
        texts = [text for name in self.key if (text := _text(row.get(name))) is not None]
        return texts if texts and len(texts) == len(self.key) else None


def _text(value: Any) -> str | None:
    """Return a value's text; None for what is missing, or is no value of a column."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, float) or math.isnan(value):
        return None
    return str(int(value)) if value.is_integer() else repr(value)
