"""Loads a bundle as it is served: by its graph, or by its scikit-learn pipeline, which scores requests in batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.bundle import golden, manifest
from trunkline.bundle.contract import Contract, matrices, read_contract
from trunkline.bundle.manifest import CONTRACT, Manifest
from trunkline.bundle.runtime import Bundle
from trunkline.core.arrays import Floats
from trunkline.core.errors import UserError
from trunkline.serve.engine.batching import Batches
from trunkline.serve.engine.masks import Texts

INSTALL = "pip install 'trunkline[serve-sklearn]', or what locks/serve-sklearn.txt lists"


@dataclass(frozen=True)
class PipelineBundle:
    """A verified bundle with `runtime: sklearn`: calls of `scores` that wait for each other are scored together."""

    manifest: Manifest
    contract: Contract
    digest: str
    _batches: Batches

    def scores(self, numeric: Floats, categorical: Texts) -> Floats:
        """Return scores as `Bundle.scores` does; each has the bits that it has alone."""
        return self._batches.scores(numeric, categorical)

    async def scores_in_turn(self, numeric: Floats, categorical: Texts) -> Floats:
        """Return what `scores` does, while the event loop goes on."""
        return await self._batches.scores_in_turn(numeric, categorical)

    def score(self, request: Mapping[str, object]) -> float | dict[str, float]:
        """Return the score of one request; raises UserError as `matrices` does."""
        row: Any = self.scores(*matrices(self.contract, [request]))[0]
        return dict(zip(self.contract.classes, row.tolist(), strict=True)) if self.contract.classes else float(row)


Served = Bundle | PipelineBundle


def load(folder: Path, rows: int) -> Served:
    """Verify a bundle and make it ready to score, at most so many rows at once.

    Raises UserError as `Bundle.load` does, and for a pipeline that cannot be loaded or lacks its libraries.
    """
    verified = manifest.read(folder, keep=frozenset({CONTRACT}))
    if verified.manifest.runtime == "onnx":
        return Bundle.load(folder)
    try:
        from trunkline.serve.engine import pipeline  # noqa: PLC0415  takes seconds, and a graph needs no scikit-learn
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise UserError(f"{folder}: its runtime is sklearn, which needs {package}: {INSTALL}") from None
    contract = read_contract(folder, verified.kept[CONTRACT])
    examples = matrices(contract, [row.request for row in golden.read(folder)])
    if not len(examples[0]):
        raise UserError(
            f"{folder}: has no golden rows, which a pipeline is tried on before it is served; build it again"
        )
    scores = pipeline.scorer(folder / verified.manifest.model, contract, *examples)
    return PipelineBundle(verified.manifest, contract, verified.digest, Batches(scores, rows))
