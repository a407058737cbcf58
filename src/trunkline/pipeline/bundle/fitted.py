"""Facts on fitted estimators and encoders for which scikit-learn has no public attribute."""

from typing import Any

from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

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
    """Return how many columns the estimator sees of the features of a role."""
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
