"""What a model leans on: permutation importance and SHAP values over rows of the holdout."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from trunkline.core.dataset import Dataset
from trunkline.pipeline.bundle.explain.permutation import Permutation, permutation, sample
from trunkline.pipeline.bundle.explain.shap import attributions

SHAP_ROWS = 2_000


@dataclass(frozen=True)
class Shap:
    """Mean absolute SHAP value of each feature, on the scale that `output` names; rows add up from `base`.

    Of several classes, the values are summed over the classes, and there is a base for each.

    `method` says how the values were computed, and `exact` whether that is without sampling.
    """

    method: str
    exact: bool
    output: str
    rows: int
    base: float | list[float]
    mean_absolute: dict[str, float]


@dataclass(frozen=True)
class Explanations:
    """What the model leans on, over rows of the holdout."""

    permutation: Permutation
    shap: Shap

    def as_dict(self) -> dict[str, Any]:
        """Return the content of explanations.json."""
        return asdict(self)


def explain(pipeline: Pipeline, train: Dataset, holdout: Dataset, seed: int) -> Explanations:
    """Explain a fitted pipeline on a sample of the holdout; the same seed gives the same numbers."""
    return Explanations(permutation(pipeline, holdout, seed), _shap(pipeline, train, holdout, seed))


def _shap(pipeline: Pipeline, train: Dataset, holdout: Dataset, seed: int) -> Shap:
    rows = sample(holdout.features, SHAP_ROWS, seed)
    attributed = attributions(pipeline, train, rows, seed)
    means = (
        np.abs(attributed.values).mean(axis=0).reshape(len(holdout.schema.names), -1).sum(axis=1)
    )  # over the classes
    absolute = dict(zip(holdout.schema.names, means.tolist(), strict=True))
    return Shap(
        attributed.method, attributed.exact, attributed.output, len(attributed.values), attributed.base, absolute
    )
