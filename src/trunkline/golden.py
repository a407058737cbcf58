"""Whether a bundle gives its golden rows their scores, as it is served: one request at a time."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from trunkline import manifest
from trunkline.bundle import Bundle, matrices, read_contract
from trunkline.core.errors import UserError
from trunkline.manifest import CONTRACT, GOLDEN

Score = Callable[[Mapping[str, Any]], float | dict[str, float]]


class _Row(msgspec.Struct, frozen=True):
    request: dict[str, Any]
    score: float | dict[str, float]


def check(folder: Path, tolerance: float) -> int:
    """Return how many golden rows a bundle of any runtime has scored as it should.

    Raises UserError for one that it scores otherwise, for a bundle without golden rows, and as `Bundle.load` does.
    """
    rows, score = _rows(folder), _scorer(folder)
    for row in rows:
        found = score(row.request)
        if not _near(found, row.score, tolerance):
            raise UserError(f"{GOLDEN}: a request scores {found!r}, not {row.score!r}: {row.request}")
    return len(rows)


def _rows(folder: Path) -> list[_Row]:
    try:
        rows = msgspec.json.decode((folder / GOLDEN).read_bytes(), type=list[_Row])
    except (FileNotFoundError, msgspec.DecodeError):
        rows = []
    if not rows:
        raise UserError(f"{GOLDEN}: the bundle has none that could show that it scores as it should")
    return rows


def _scorer(folder: Path) -> Score:
    found = manifest.read(folder, keep=frozenset({CONTRACT}))
    if found.manifest.runtime == "onnx":
        return Bundle.load(folder).score
    from trunkline import pipelinescorer  # noqa: PLC0415  scikit-learn takes seconds, and a graph needs none

    contract = read_contract(folder / CONTRACT, found.kept[CONTRACT])
    scores = pipelinescorer.scorer(folder / found.manifest.model, contract)

    def score(request: Mapping[str, Any]) -> float | dict[str, float]:
        made = scores(*matrices(contract, [request]))[0]
        return dict(zip(contract.classes, made.tolist(), strict=True)) if contract.classes else float(made)

    return score


def _near(found: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, dict):
        same = isinstance(found, dict) and found.keys() == expected.keys()
        return same and all(_near(found[name], expected[name], tolerance) for name in expected)
    return isinstance(found, float) and bool(abs(found - expected) <= tolerance * max(1.0, abs(expected)))
