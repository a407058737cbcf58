"""Preprocessing by column role, of scikit-learn's own transformers: numbers first, then categories, then texts."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.utils import get_tags

from trunkline.conf.model import CategoricalSteps, NumericSteps, Preprocess, TextSteps
from trunkline.core.dataset import Schema
from trunkline.core.errors import UserError, nearest
from trunkline.pipeline.train import estimators, selection

UNKNOWN, MISSING = -1, -2
SCALERS: Mapping[str, Callable[[], Any]] = {
    "standard": StandardScaler,
    "min_max": MinMaxScaler,
    "robust": RobustScaler,
    "quantile": partial(QuantileTransformer, n_quantiles=100, subsample=None),  # no row is left to chance
}


def transformer(estimator: BaseEstimator, steps: Preprocess, schema: Schema, seed: int) -> ColumnTransformer:
    """Return the unfitted transformer: numeric columns first, then categorical ones and words of texts.

    Each is in the schema's order. Raises UserError for a text that is no categorical feature.
    """
    sparse, texts = _sparse(estimator, steps), _texts(steps.text, schema)
    categorical = [name for name in schema.of_role("categorical") if name not in texts]
    parts = [
        ("numeric", _numeric(steps.numeric), schema.of_role("numeric")),
        ("categorical", _categorical(steps.categorical, estimator, sparse, seed), categorical),
        *((f"text {name}", _words(steps.text), [name]) for name in texts if steps.text),
    ]
    threshold = 0.0 if texts and not sparse else 0.3  # the share of numbers from which on a matrix is dense
    used = [part for part in parts if part[2]]
    result = ColumnTransformer(used, verbose_feature_names_out=False, sparse_threshold=threshold)
    if estimators.native_support(estimator) in ("table", "texts"):
        result.set_output(transform="pandas")
    return result


def _texts(steps: TextSteps | None, schema: Schema) -> list[str]:
    """Return the features that are texts, in the schema's order."""
    declared, known = (() if steps is None else steps.features), schema.of_role("categorical")
    for name in declared:
        if name not in known:
            raise UserError(f"model.preprocess.text.features: no feature with texts '{name}'{nearest(name, known)}")
    return [name for name in known if name in declared]


def _words(steps: TextSteps) -> Pipeline:
    """Return what makes columns of one text; vectorizers take a list of texts, none of them missing."""
    span = (1, steps.words)
    if steps.vectorize == "hashing":
        vectorizer = HashingVectorizer(n_features=steps.columns, ngram_range=span)
    else:
        vectorizer = TfidfVectorizer(max_features=steps.columns, ngram_range=span)
    fill = SimpleImputer(strategy="constant", fill_value="")
    return Pipeline([("fill", fill), ("list", FunctionTransformer(np.ravel)), ("words", vectorizer)])


def _sparse(estimator: BaseEstimator, steps: Preprocess) -> bool:
    """Whether an estimator may be given a sparse matrix.

    scikit-learn's estimators take none that holds a missing number, to XGBoost what is absent from one is missing, and
    CatBoost is given a table.
    """
    if not selection.takes_sparse(steps.select, estimators.weighing(steps, 0)):
        return False
    package = type(estimator).__module__.partition(".")[0]
    refused = {"sklearn": steps.numeric.impute == "none", "xgboost": True, "catboost": True}
    return bool(get_tags(estimator).input_tags.sparse) and not refused.get(package, False)


def _numeric(steps: NumericSteps) -> Any:
    parts: list[tuple[str, Any]] = []
    if steps.impute == "zero":
        parts.append(("impute", SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True)))
    elif steps.impute != "none":
        parts.append(("impute", SimpleImputer(strategy=steps.impute, keep_empty_features=True)))
    if steps.scale != "none":
        parts.append(("scale", SCALERS[steps.scale]()))
    if steps.interactions is not None:
        parts.append(("interactions", PolynomialFeatures(2, interaction_only=True, include_bias=False)))
    if (curve := steps.spline) is not None:  # the last column of each number is what the others lack to 1
        parts.append(("spline", SplineTransformer(curve.knots, curve.degree, knots=curve.at, include_bias=False)))
    if steps.pca is not None:
        parts.append(("pca", PCA(steps.pca.components, svd_solver="full")))
    return Pipeline(parts) if parts else "passthrough"


def _categorical(steps: CategoricalSteps, estimator: BaseEstimator, sparse: bool, seed: int) -> Any:
    """Return the encoder; a missing value is a category of its own, and one never seen in training is no category."""
    if steps.encode == "target":
        folds = StratifiedKFold if is_classifier(estimator) else KFold
        return TargetEncoder(cv=folds(5, shuffle=True, random_state=seed))
    if steps.encode == "onehot":
        return OneHotEncoder(handle_unknown="ignore", min_frequency=steps.min_frequency, sparse_output=sparse)
    native, support = steps.encode == "native", estimators.native_support(estimator)
    if native and support == "texts":
        return "passthrough"
    integers = native and support == "table"
    missing = native and not integers
    return OrdinalEncoder(
        dtype=np.int64 if integers else np.float64,
        handle_unknown="use_encoded_value",
        unknown_value=np.nan if missing else UNKNOWN,
        encoded_missing_value=np.nan if missing else MISSING,
        min_frequency=steps.min_frequency,
        # Histogram boosting has a bin per category: beyond its bins, the rarest categories become one.
        max_categories=getattr(estimator, "max_bins", None) if native else None,
    )
