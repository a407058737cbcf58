"""What scores requests with a bundle, one at a time, whichever runtime it has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkline.bundle import golden, manifest
from trunkline.bundle.contract import matrices, read_contract
from trunkline.bundle.golden import Score
from trunkline.bundle.manifest import CONTRACT
from trunkline.bundle.runtime import Bundle
from trunkline.serve.decode import request_check
from trunkline.serve.engine import choose


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


def fastest(folder: Path) -> Score:
    """Return what scores a request as `scorer` does, to the bit, in the least time; threads may share it.

    Where numba is installed, trees are compiled, unless they give one of the golden rows another bit than the graph.
    Raises UserError as `Bundle.load` does.
    """
    bundle = Bundle.load(folder)
    requests = [row.request for row in golden.read(folder)]
    trees = choose.apart(bundle, folder)
    in_code = trees.compiled() if trees and requests else None
    if in_code is None:
        return bundle.score
    check, score_of_one, classes = request_check(bundle.contract), in_code.score_of_one, bundle.contract.classes

    def score(request: Mapping[str, Any]) -> float | dict[str, float]:
        row = score_of_one(*check(request))
        return dict(zip(classes, row.tolist(), strict=True)) if classes else float(row)

    return score if all(score(request) == bundle.score(request) for request in requests) else bundle.score
