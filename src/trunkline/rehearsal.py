"""Whether an old version can be run today: its bundle is fetched, loaded, and gives its golden rows their scores."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from trunkline import fetching, manifest
from trunkline.bundle import MISSING, Bundle, Contract
from trunkline.core.errors import UserError
from trunkline.versions import Version

GOLDEN = "golden.json"

Score = Callable[[Mapping[str, Any]], float]


class _Row(msgspec.Struct, frozen=True):
    request: dict[str, Any]
    score: float


def rehearse(home: Path, version: Version, tolerance: float) -> int:
    """Return how many golden rows a version's bundle scored rightly, fetched into a folder that is then deleted.

    Raises OutsideError for a bundle that cannot be had, UserError for one that is not what its tag says, cannot be
    loaded, has no golden rows, or scores one of them otherwise.
    """
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside, "bundle")
        fetching.fetch(home, version, folder)
        rows, score = _rows(version, folder), _scorer(folder)
        for row in rows:
            found = score(row.request)
            if not abs(found - row.score) <= tolerance:
                raise UserError(f"{version}: {GOLDEN}: a request scores {found!r}, not {row.score!r}: {row.request}")
    return len(rows)


def _rows(version: Version, folder: Path) -> list[_Row]:
    try:
        rows = msgspec.json.decode((folder / GOLDEN).read_bytes(), type=list[_Row])
    except (FileNotFoundError, msgspec.DecodeError):
        rows = []
    if not rows:
        raise UserError(f"{version}: its bundle has no {GOLDEN} that could show that it still scores as it did")
    return rows


def _scorer(folder: Path) -> Score:
    found = manifest.read(folder, keep=frozenset({manifest.CONTRACT}))
    if found.manifest.runtime == "onnx":
        return Bundle.load(folder).score
    return _by_pipeline(folder, msgspec.json.decode(found.kept[manifest.CONTRACT], type=Contract))


def _by_pipeline(folder: Path, contract: Contract) -> Score:
    from trunkline.pipelinescorer import scorer  # noqa: PLC0415  scikit-learn takes seconds, and a graph needs none

    scores = scorer(folder / manifest.MODELS["sklearn"], contract)
    numeric = [field.name for field in contract.inputs if field.role == "numeric"]
    categorical = [field.name for field in contract.inputs if field.role == "categorical"]

    def score(request: Mapping[str, Any]) -> float:
        texts = [MISSING if request.get(name) is None else request[name] for name in categorical]
        numbers = np.array([[request.get(name) for name in numeric]], np.float64)
        return float(scores(numbers, np.array([texts], object).reshape(1, len(categorical)))[0])

    return score
