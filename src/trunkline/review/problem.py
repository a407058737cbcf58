"""Whether two commits solve the same problem: else none of their measured values can be compared."""

from collections.abc import Mapping
from typing import Any

from trunkline.core.params import dig

# What a problem is, in params.yaml: whose versions, and of what label.
RENAMED = "name"
_TARGET = ("name", "task", "expression", "classes", "group", "labels")
KEYS = (RENAMED, *(f"data.target.{key}" for key in _TARGET))


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys by which a params.yaml declares another problem; none where there was none before."""
    if not before:
        return ()
    return tuple(key for key in KEYS if dig(before, *key.split(".")) != dig(now, *key.split(".")))
