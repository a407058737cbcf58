"""Loads a bundle where MLflow loads a model; does not import MLflow.

A model that is logged to MLflow brings a copy of this module and of those that it needs, which `vendor` lists.
MLflow's own signature says less than the contract and converts what does not fit, so every row is held to the
contract here, as a request is, and all rows are scored at once, as `Bundle.scores` does it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trunkline.bundle import manifest
from trunkline.bundle.contract import Contract, matrices, read_contract
from trunkline.bundle.manifest import BundleError
from trunkline.bundle.runtime import Bundle

if TYPE_CHECKING:
    import pandas as pd


Scorer = Callable[[npt.NDArray[np.float64], npt.NDArray[np.object_]], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class BundleModel:
    """What MLflow wraps: a contract, and what scores the matrices of rows that fulfil it."""

    contract: Contract
    scores: Scorer

    def predict(self, model_input: "pd.DataFrame", params: dict[str, Any] | None = None) -> npt.NDArray[np.float64]:
        """Return one score per row, float64; null, NaN or no column is missing, and there are no parameters.

        Raises UserError with one line that names the first row, counted from 0, and the field that is not as the
        contract says.
        """
        given = model_input.astype(object).where(model_input.notna(), None)
        rows = ({str(name): value for name, value in row.items()} for row in given.to_dict("records"))
        return self.scores(*matrices(self.contract, rows))


def _load_pyfunc(path: str) -> BundleModel:
    """Load the bundle from the folder `<digest>`; MLflow calls it.

    Raises BundleError for a bundle that is not what its manifest says, or of another digest than its folder's name.
    """
    folder = Path(path)
    verified = manifest.read(folder, keep=frozenset({manifest.CONTRACT}))
    if verified.digest != folder.name:
        raise BundleError(f"{folder}: holds the bundle {verified.digest}; do not use it; register the version again")
    contract = read_contract(folder, verified.kept[manifest.CONTRACT])
    if verified.manifest.runtime == "onnx":
        return BundleModel(contract, Bundle.load(folder).scores)
    from trunkline.serve import pipeline_scorer  # noqa: PLC0415  a model with a graph brings neither it nor scikit-learn

    return BundleModel(contract, pipeline_scorer.scorer(folder / verified.manifest.model, contract))
