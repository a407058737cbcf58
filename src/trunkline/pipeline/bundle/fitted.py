"""Facts on fitted estimators and encoders for which scikit-learn has no public attribute."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, PolynomialFeatures, TargetEncoder

from trunkline.core.arrays import Integers
from trunkline.pipeline.train import margins


def is_lightgbm(estimator: Any) -> bool:
    """Tell whether an estimator is one of LightGBM's, which need not be installed."""
    return type(estimator).__module__.partition(".")[0] == "lightgbm"


def is_catboost(estimator: Any) -> bool:
    """Tell whether an estimator is one of CatBoost's, which need not be installed."""
    return type(estimator).__module__.partition(".")[0] == "catboost"


def is_booster(estimator: Any) -> bool:
    """Tell whether an estimator is of a package of boosted trees beside scikit-learn."""
    return is_lightgbm(estimator) or is_catboost(estimator) or margins.is_xgboost(estimator)


def scoring(estimator: Any) -> Any:
    """Return the estimator whose scores these are: the one within a classifier that only moves the threshold."""
    while isinstance(estimator, FixedThresholdClassifier | TunedThresholdClassifierCV):
        estimator = estimator.estimator_
    return estimator


def transformer(pipeline: Pipeline, role: str) -> Any:
    """Return the fitted transformer of the columns of a role, or None."""
    return next((step for name, step, _ in pipeline[0].transformers_ if name == role), None)


def numeric_steps(pipeline: Pipeline) -> list[Any]:
    """Return the fitted transformers of the numbers, in the order in which they are applied."""
    step = transformer(pipeline, "numeric")
    return [part for _, part in step.steps] if isinstance(step, Pipeline) else []


def width(pipeline: Pipeline, role: str) -> int:
    """Return how many columns preprocessing makes of the features of a role."""
    place = pipeline[0].output_indices_.get(role, slice(0, 0))
    return int(place.stop - place.start)


def widths(encoder: OneHotEncoder | OrdinalEncoder | TargetEncoder) -> list[int]:
    """Return how many columns each feature becomes; infrequent categories share one, several classes have one each."""
    if isinstance(encoder, TargetEncoder):
        return [len(encoder.encodings_) // len(encoder.categories_)] * len(encoder.categories_)
    if isinstance(encoder, OrdinalEncoder):
        return [1] * len(encoder.categories_)
    none = [None] * len(encoder.categories_)
    rare = getattr(encoder, "infrequent_categories_", none)  # there is none unless it was asked for
    return [
        len(categories) - (0 if few is None else len(few) - 1)
        for categories, few in zip(encoder.categories_, rare, strict=True)
    ]


def selected(pipeline: Pipeline) -> Integers:
    """Return the columns of preprocessing that the estimator sees, ascending: all of them, or those selected."""
    columns = np.arange(max(place.stop for place in pipeline[0].output_indices_.values()))
    for _, selector in pipeline.steps[1:-1]:
        columns = columns[selector.get_support()]
    return columns


def selection(pipeline: Pipeline) -> dict[str, tuple[int, int]]:
    """Return, of each source of columns, how many are selected, and of how many; empty where nothing selects."""
    if len(pipeline.steps) < 3:
        return {}
    every = sources(pipeline)
    kept = Counter(every[column] for column in selected(pipeline))
    return {source: (kept[source], total) for source, total in Counter(every).items()}


def sources(pipeline: Pipeline) -> list[str]:
    """Return what each column of preprocessing comes from.

    It is a feature, `a * b` for the product of two, or `component 1` where components are of all numbers.
    """
    parts = (_sources(pipeline, role, step, names) for role, step, names in pipeline[0].transformers_)
    return [source for part in parts for source in part]


def _sources(pipeline: Pipeline, role: str, step: Any, names: Sequence[str]) -> Iterator[str]:
    total = width(pipeline, role)
    if role == "numeric":
        for part in numeric_steps(pipeline):
            if isinstance(part, PCA):
                names = [f"component {number}" for number in range(1, total + 1)]
            elif isinstance(part, PolynomialFeatures):
                names = [" * ".join(np.array(names)[powers > 0]) for powers in part.powers_]
    several = isinstance(step, OneHotEncoder | TargetEncoder)
    counts = widths(step) if several else [total // len(names)] * len(names)  # a spline has several for each number
    for name, count in zip(names, counts, strict=True):
        yield from [name] * count
