"""Says which features the model leans on: by the loss when one is shuffled, and by SHAP values.

A SHAP value is what a feature adds to one row's score. How it is computed depends on the estimator; a way that
should be exact is believed only where the values of every row add up to its score, else they are sampled.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from scipy import special
from sklearn import ensemble, tree
from sklearn.base import is_classifier
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import PolynomialFeatures

from trunkline.core.arrays import Floats
from trunkline.core.dataset import Dataset
from trunkline.pipeline.bundle import fitted
from trunkline.pipeline.bundle.explain import treeshap
from trunkline.pipeline.bundle.explain.permutation import sample
from trunkline.pipeline.train import fit, margins
from trunkline.pipeline.train.joint import Joint

# shap's time for a forest grows with the leaves times the squared depth: some 10 s on one core.
FOREST_WORK = 6e9
SAMPLED_ROWS, BACKGROUND_ROWS, PERMUTATIONS = 100, 25, 2
TOLERANCE = 1e-6
SINGLE = 1e-4  # of values that are made in single precision

_HISTOGRAM = (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor)
_FORESTS = (
    *(ensemble.RandomForestClassifier, ensemble.ExtraTreesClassifier, ensemble.GradientBoostingClassifier),
    *(ensemble.RandomForestRegressor, ensemble.ExtraTreesRegressor, ensemble.GradientBoostingRegressor),
    *(tree.DecisionTreeClassifier, tree.DecisionTreeRegressor),
)


@dataclass(frozen=True)
class Attributions:
    """SHAP values, and how they were made; each row's sum and the base make its score.

    Shape (rows, features); of several classes (rows, features, classes), with a base for each class.
    """

    method: str
    exact: bool
    output: str
    base: float | list[float]
    values: Floats


def attributions(pipeline: Pipeline, train: Dataset, rows: pl.DataFrame, seed: int) -> Attributions:
    """Return SHAP values of rows of features, exact where the estimator allows; perhaps of the first rows only."""
    steps, estimator = pipeline[:-1], pipeline[-1]
    if isinstance(estimator, Joint):  # whose rows are no matrix
        return _sampled(pipeline, train.features, rows, seed)
    matrix = _matrix(steps, rows)
    # Of these, a column is of several numbers.
    mixed = any(isinstance(step, PCA | PolynomialFeatures) for step in fitted.numeric_steps(pipeline))
    for exact in () if mixed else (_histogram, _lightgbm, _xgboost, _catboost, _forest, _linear):
        explained = exact(estimator, matrix, lambda: _matrix(steps, train.features))
        if explained is not None:
            method, values, base = explained
            raw = _raw(estimator, matrix[: len(values)])
            tolerance = SINGLE if margins.is_xgboost(estimator) else TOLERANCE
            if np.allclose(values.sum(axis=1) + base, raw, rtol=tolerance, atol=tolerance):
                output = _scale(pipeline, rows[: len(values)], raw)
                return Attributions(method, True, output, base, _by_feature(values, _owners(pipeline)))
    return _sampled(pipeline, train.features, rows, seed)


Explained = tuple[str, Floats, Any] | None  # method, values by column of the matrix (and class), base (of each class)
Background = Callable[[], Floats]


def _histogram(estimator: Any, matrix: Floats, _: Background) -> Explained:
    if not isinstance(estimator, _HISTOGRAM):
        return None
    values, base = treeshap.histogram_boosting(estimator, matrix)
    return "TreeSHAP, tree path dependent, by trunkline.treeshap", values, base


def _lightgbm(estimator: Any, matrix: Floats, _: Background) -> Explained:
    """Return LightGBM's own values, which know its categories; it has none for trees with linear leaves."""
    if not fitted.is_lightgbm(estimator) or estimator.get_params().get("linear_tree"):
        return None
    values = estimator.predict(matrix, pred_contrib=True)
    if _classes(estimator) > 2:
        values = np.swapaxes(values.reshape(len(values), -1, matrix.shape[1] + 1), 1, 2)
    base = values[0, -1].tolist()
    return "TreeSHAP, tree path dependent, by LightGBM", values[:, :-1], base


def _xgboost(estimator: Any, matrix: Floats, _: Background) -> Explained:
    """Return XGBoost's own values, which know its categories, in single precision."""
    if not margins.is_xgboost(estimator) or margins.link(estimator) is None:
        return None
    import xgboost  # noqa: PLC0415  an extra

    rows = xgboost.DMatrix(matrix, feature_types=estimator.feature_types, enable_categorical=True)
    limits = (0, margins.rounds(estimator) or 0)
    values = np.asarray(estimator.get_booster().predict(rows, pred_contribs=True, iteration_range=limits), np.float64)
    if _classes(estimator) > 2:
        values = np.swapaxes(values, 1, 2)
    return "TreeSHAP, tree path dependent, by XGBoost", values[:, :-1], values[0, -1].tolist()


def _catboost(estimator: Any, matrix: Floats, _: Background) -> Explained:
    """Return CatBoost's own values, which know its categories."""
    if not fitted.is_catboost(estimator):
        return None
    import catboost  # noqa: PLC0415  an extra

    rows = catboost.Pool(_table(estimator, matrix), cat_features=estimator.get_cat_feature_indices())
    values = np.asarray(estimator.get_feature_importance(rows, type="ShapValues"))
    if _classes(estimator) > 2:
        values = np.swapaxes(values, 1, 2)
    return "TreeSHAP, tree path dependent, by CatBoost", values[:, :-1], values[0, -1].tolist()


def _table(estimator: Any, matrix: Floats) -> pd.DataFrame:
    """Return rows as CatBoost takes them: categories are integers."""
    table = pd.DataFrame(matrix, columns=estimator.feature_names_)
    return table.astype({estimator.feature_names_[column]: np.int64 for column in estimator.get_cat_feature_indices()})


def _forest(estimator: Any, matrix: Floats, _: Background) -> Explained:
    """Return values of as many rows as the size of the forest allows."""
    if not isinstance(estimator, _FORESTS) or (
        isinstance(estimator, ensemble.GradientBoostingClassifier)
        and _classes(estimator) > 2  # which shap does not know
    ):
        return None
    trees = [part.tree_ for part in np.ravel(getattr(estimator, "estimators_", estimator))]
    work = sum(tree.n_leaves * max(1, tree.max_depth) ** 2 for tree in trees)  # that shap's time per row grows with
    most = max(1, int(FOREST_WORK / float(work)))
    with _shap_package() as shap:
        explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
        values = np.asarray(explainer.shap_values(matrix[:most], check_additivity=False))
    method, base = "TreeSHAP, tree path dependent, by shap", np.ravel(explainer.expected_value)
    if _classes(estimator) > 2:
        return method, values, base.tolist()
    values = values[..., -1] if values.ndim == 3 else values  # of both classes: of the positive one
    return method, values, float(base[-1])


def _linear(estimator: Any, matrix: Floats, background: Background) -> Explained:
    """Return coefficient times distance from the training mean (Lundberg and Lee, NeurIPS 2017, corollary 1)."""
    coefficients = np.atleast_2d(getattr(estimator, "coef_", ()))
    if coefficients.shape != (_classes(estimator) if _classes(estimator) > 2 else 1, matrix.shape[1]):
        return None
    method = "coefficient times distance from the training mean"
    mean = background().mean(axis=0)
    # einsum, not BLAS: its sums depend on the number of threads.
    base = np.einsum("c,kc->k", mean, coefficients) + np.ravel(estimator.intercept_)
    if len(coefficients) > 1:
        return method, (matrix - mean)[:, :, None] * coefficients.T, base.tolist()
    return method, (matrix - mean) * coefficients[0], float(base[0])


def _sampled(pipeline: Pipeline, background: pl.DataFrame, rows: pl.DataFrame, seed: int) -> Attributions:
    """Return values of few rows by shap's sampling of feature orders, through the pipeline as it is.

    shap mixes rows as numbers; here a cell is the number of a row in one table, so that it may hold text.
    """
    trained, rows = sample(background, BACKGROUND_ROWS, seed), rows[:SAMPLED_ROWS]
    table = pl.concat([trained, rows])
    places = np.repeat(np.arange(table.height, dtype=np.float64)[:, None], table.width, axis=1)

    def scores(mixed: Floats) -> Floats:
        columns = mixed.astype(np.int64).T
        return fit.scores(pipeline, table.select(c.gather(at) for c, at in zip(table, columns, strict=True)))

    with _shap_package() as shap:
        masker = shap.maskers.Independent(places[: trained.height], max_samples=trained.height)
        explainer = shap.PermutationExplainer(scores, masker, seed=seed)
        explanation = explainer(places[trained.height :], max_evals=PERMUTATIONS * (2 * table.width + 1), silent=True)
    output = "probability" if is_classifier(pipeline) else "prediction"
    return Attributions(
        "permutation sampling by shap", False, output, explanation.base_values[0].tolist(), explanation.values
    )


@contextmanager
def _shap_package() -> Iterator[Any]:
    """Import shap where it is needed, which takes seconds; its warnings are about its own plots and formats."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap  # noqa: PLC0415

        yield shap


def _matrix(steps: Any, features: pl.DataFrame) -> Floats:
    """Return the columns that the estimator sees, dense."""
    matrix = steps.transform(fit.inputs(features))
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=np.float64)


def _by_feature(values: Floats, owners: Floats) -> Floats:
    """Add up the columns of each feature."""
    if values.ndim == 2:
        return np.asarray(values @ owners)
    return np.stack([values[..., number] @ owners for number in range(values.shape[2])], axis=2)


def _owners(pipeline: Pipeline) -> Floats:
    """Return 1 where a column of the estimator (down) comes from a feature (across), else 0."""
    owners = np.array(fitted.sources(pipeline))[fitted.selected(pipeline)]
    owned: Floats = (owners[:, None] == np.array(pipeline.feature_names_in_)[None, :]).astype(np.float64)
    return owned


def _classes(estimator: Any) -> int:
    """Return how many classes an estimator has; 0 if it predicts a number."""
    return len(getattr(estimator, "classes_", ()))


def _raw(estimator: Any, matrix: Floats) -> Floats:
    """Return an estimator's scores before they become probabilities."""
    if fitted.is_lightgbm(estimator):
        return np.asarray(estimator.predict(matrix, raw_score=True))
    if margins.is_xgboost(estimator):
        return np.asarray(estimator.predict(matrix, output_margin=True), dtype=np.float64)
    if fitted.is_catboost(estimator):
        return np.asarray(estimator.predict(_table(estimator, matrix), prediction_type="RawFormulaVal"))
    if hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(matrix))
    if is_classifier(estimator):
        chances = np.asarray(estimator.predict_proba(matrix))
        return chances if _classes(estimator) > 2 else chances[:, 1]
    return np.asarray(estimator.predict(matrix))


def _scale(pipeline: Pipeline, rows: pl.DataFrame, raw: Floats) -> str:
    """Return the name of the raw scores' scale, by their relation to the scores."""
    if not is_classifier(pipeline):
        return "prediction"
    scores = fit.scores(pipeline, rows)
    if np.allclose(raw, scores):
        return "probability"
    chances = 1 / (1 + np.exp(-raw)) if raw.ndim == 1 else special.softmax(raw, axis=1)
    return "log-odds" if np.allclose(chances, scores) else "decision function"
