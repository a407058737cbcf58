"""Whether a bundle gives its golden rows their scores, as it is served: one request at a time."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from trunkline.bundle.manifest import GOLDEN
from trunkline.core.errors import UserError

Score = Callable[[Mapping[str, Any]], float | dict[str, float]]


class GoldenRow(msgspec.Struct, frozen=True):
    """A request and the score that it has."""

    request: dict[str, Any]
    score: float | dict[str, float]


def read(folder: Path) -> list[GoldenRow]:
    """Return the golden rows of a bundle; none if it has no file of them that can be read."""
    try:
        return msgspec.json.decode((folder / GOLDEN).read_bytes(), type=list[GoldenRow])
    except (FileNotFoundError, msgspec.DecodeError):
        return []


def check(folder: Path, score: Score, tolerance: float) -> int:
    """Return how many golden rows of a bundle get their score, which `score` gives a request of it.

    Raises UserError for a row that is scored otherwise, and for a bundle without golden rows.
    """
    rows = read(folder)
    if not rows:
        raise UserError(f"{GOLDEN}: the bundle has none that could show that it scores as it should")
    for row in rows:
        score_now = score(row.request)
        if not _near(score_now, row.score, tolerance):
            raise UserError(f"{GOLDEN}: a request scores {score_now!r}, not {row.score!r}: {row.request}")
    return len(rows)


def _near(score: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, dict):
        same = isinstance(score, dict) and score.keys() == expected.keys()
        return same and all(_near(score[name], expected[name], tolerance) for name in expected)
    return isinstance(score, float) and bool(abs(score - expected) <= tolerance * max(1.0, abs(expected)))
