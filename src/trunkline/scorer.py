"""What scores requests with a bundle, one at a time, whichever runtime it has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkline import manifest
from trunkline.bundle import Bundle, matrices, read_contract
from trunkline.golden import Score
from trunkline.manifest import CONTRACT


def scorer(folder: Path) -> Score:
    """Return what scores a request with the bundle in a folder; raises UserError as `Bundle.load` does."""
    verified = manifest.read(folder, keep=frozenset({CONTRACT}))
    if verified.manifest.runtime == "onnx":
        return Bundle.load(folder).score
    from trunkline import pipelinescorer  # noqa: PLC0415  scikit-learn takes seconds, and a graph needs none

    contract = read_contract(folder / CONTRACT, verified.kept[CONTRACT])
    scores = pipelinescorer.scorer(folder / verified.manifest.model, contract)

    def score(request: Mapping[str, Any]) -> float | dict[str, float]:
        row = scores(*matrices(contract, [request]))[0]
        return dict(zip(contract.classes, row.tolist(), strict=True)) if contract.classes else float(row)

    return score
