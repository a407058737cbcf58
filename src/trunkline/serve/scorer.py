"""What scores requests with a bundle, one at a time, whichever runtime it has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkline.bundle import manifest
from trunkline.bundle.contract import matrices, read_contract
from trunkline.bundle.golden import Score
from trunkline.bundle.manifest import CONTRACT
from trunkline.bundle.runtime import Bundle


def scorer(folder: Path) -> Score:
    """Return what scores a request with the bundle in a folder; raises UserError as `Bundle.load` does."""
    verified = manifest.read(folder, keep=frozenset({CONTRACT}))
    if verified.manifest.runtime == "onnx":
        return Bundle.load(folder).score
    from trunkline.serve import pipeline_scorer  # noqa: PLC0415  scikit-learn takes seconds, and a graph needs none

    contract = read_contract(folder / CONTRACT, verified.kept[CONTRACT])
    scores = pipeline_scorer.scorer(folder / verified.manifest.model, contract)

    def score(request: Mapping[str, Any]) -> float | dict[str, float]:
        row = scores(*matrices(contract, [request]))[0]
        return dict(zip(contract.classes, row.tolist(), strict=True)) if contract.classes else float(row)

    return score
