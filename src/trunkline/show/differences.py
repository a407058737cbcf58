"""What differs between two trees of values, leaf by leaf, or two texts of a file, and how a person reads it."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MISSING = "(none)"
LONGEST = 60  # characters of a value

_PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s\\;]+)", re.MULTILINE)


@dataclass(frozen=True)
class Difference:
    """A key with two values; MISSING where there is none."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        """Write it as `key before → after`, and a window by how far it has moved."""
        moved = _moved(self.before, self.after) if "window" in self.key.split(".") else ""
        return f"{self.key}{moved} {shown(self.before)} → {shown(self.after)}"


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Compare leaf by leaf, in order of the key."""
    return tuple(_compare(before, after, ()))


def of_file(path: Path, before: str | None, after: str) -> str:
    """Return how a file's text differs, as git would show it; `before` is None for a new file."""
    name, (old, new) = path.as_posix(), (text.splitlines(keepends=True) for text in (before or "", after))
    return "".join(difflib.unified_diff(old, new, "/dev/null" if before is None else f"a/{name}", f"b/{name}"))


def versions(before: str, after: str) -> tuple[Difference, ...]:
    """Compare the texts of two locks by the version of each distribution."""
    return differences(*(dict(_PINNED.findall(text)) for text in (before, after)))


def shown(value: Any, most: int = LONGEST) -> str:
    """Write a value as JSON, cut in its middle where it is long; one word without quotes, a group as its size."""
    if isinstance(value, Mapping) and value:
        return _counted(leaves(value), "value")
    if isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value):
        return _counted(len(value), "entry", "entries")
    if value == MISSING or (isinstance(value, str) and value and not set(value) & set(" \t\n\"'")):
        text = str(value)
    else:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 4 :]}"


def leaves(value: Any) -> int:
    """Return how many values a group has, at any depth; an empty one is a value itself."""
    return sum(map(leaves, value.values())) if isinstance(value, Mapping) and value else 1


def _counted(count: int, one: str, many: str = "") -> str:
    return f"({count:,} {one if count == 1 else many or f'{one}s'})"


def _compare(before: Any, after: Any, key: tuple[str, ...]) -> Iterator[Difference]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted({*before, *after}):
            yield from _compare(before.get(name, MISSING), after.get(name, MISSING), (*key, str(name)))
    elif before != after or type(before) is not type(after):
        yield Difference(".".join(key), before, after)


def _moved(before: Any, after: Any) -> str:
    """Say by how many whole months a window has grown, shrunk or moved; nothing where it is no whole number."""
    from trunkline.core.values import Window  # noqa: PLC0415  slow to import, and seldom needed

    try:
        old, new = Window.from_text(before), Window.from_text(after)
    except (ValueError, AttributeError):
        return ""
    start, end = _months(old.start, new.start), _months(old.end, new.end)
    if start is None or end is None:
        return ""
    if start == end:
        return f" moved by {_count(end)}"
    return f" {_count(end)}" if start == 0 else f" {_count(-start)}" if end == 0 else ""


def _months(before: Any, after: Any) -> int | None:
    whole = (after.year - before.year) * 12 + after.month - before.month
    return whole if before.day == after.day else None


def _count(months: int) -> str:
    return f"{months:+d} month{'' if abs(months) == 1 else 's'}"
