"""Fits the declared model: preprocessing by column role, then the estimator; equal for any number of threads.

Only scikit-learn's own transformers are used, so that the pipeline can be audited, saved without pickle and
exported. The estimator sees the numeric columns first, then the categorical ones, each in the schema's order.
"""

from collections.abc import Sequence
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
from sklearn.base import BaseEstimator, is_classifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from trunkline.conf.model import Model
from trunkline.core import tasks
from trunkline.core.arrays import happened
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError, one_line
from trunkline.core.tasks import MOST_RELEVANT, NUMERIC, Task
from trunkline.pipeline.train import (
    constraints,
    estimators,
    labels,
    margins,
    preprocess,
    quantiles,
    rankers,
    selection,
    stopping,
    traces,
    weights,
)


def fit(dataset: Dataset, model: Model, seed: int, threads: int = 1) -> Pipeline:
    """Return the fitted pipeline `preprocess` -> selectors -> `estimator`; its result does not depend on `threads`.

    Raises UserError for rows that nothing can be learnt from, and with the estimator's own words for a
    combination of parameters, or of parameters and data, that it refuses.
    """
    _check(dataset)
    with joblib.parallel_config("threading", n_jobs=threads), threadpool_limits(threads, user_api="openmp"):
        try:
            with selection.checked():
                pipeline = _fitted(rankers.ordered(dataset), model, seed, threads)
        except estimators.refusals() as error:
            message = f"{one_line(error)}{_emptiest(dataset, model)}"
            name = model.target.rpartition(".")[2]
            raise UserError(f"model: {name} refuses to be fitted: {message}") from error
    traces.erase(pipeline)
    return pipeline


def _fitted(dataset: Dataset, model: Model, seed: int, threads: int) -> Pipeline:
    if model.calibrate is None:
        return _trained(dataset, model, seed, threads)
    earlier, later = quantiles.parted(dataset, model.calibrate, seed)
    pipeline = _trained(earlier, model, seed, threads)
    pipeline[-1].calibrate(pipeline[:-1].transform(inputs(later.features)), later.label.to_numpy())
    return pipeline


def _trained(dataset: Dataset, model: Model, seed: int, threads: int) -> Pipeline:
    pipeline, arguments = _unfitted(dataset, model, seed, threads)
    if model.stop_early is not None:
        earlier, later = stopping.parts(dataset, model.stop_early.last)
        learnt, judged = ((inputs(part.features), part.label.to_numpy()) for part in (earlier, later))
        tried, own = _unfitted(earlier, model, seed, threads)
        stopping.resize(pipeline[-1], stopping.rounds(tried, own, learnt, judged, model.stop_early.rounds))
    return pipeline.fit(inputs(dataset.features), dataset.label.to_numpy(), **arguments)


def _unfitted(dataset: Dataset, model: Model, seed: int, threads: int) -> tuple[Pipeline, dict[str, Any]]:
    """Return the pipeline and the arguments of its fit to these rows."""
    estimator = estimators.build(model, seed)
    pipeline, arguments = assemble(estimator, model, dataset.schema, seed)
    arguments |= rankers.arguments(dataset, estimator)
    if (counted := weights.of(dataset, model.weight)) is not None:
        arguments["estimator__sample_weight"] = counted
    traces.set_threads(estimator, threads)
    return pipeline, arguments


def scores(pipeline: Pipeline, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
    """Return the probability of the positive class per row, those of several classes, or a regressor's prediction.

    Those of several classes, shape (rows, classes), labels and quantiles are in the order of the schema.
    `frame` has at least the feature columns. The sum over a forest's trees is made in one thread, in order.
    """
    return predictions(pipeline, inputs(frame.select(pipeline.feature_names_in_)))


def predictions(model: Any, rows: Any) -> npt.NDArray[np.float64]:
    """Return what `scores` does, of a pipeline and rows of features, or of its estimator and rows preprocessed."""
    by_margin = margins.scores(model, rows)
    if by_margin is not None:
        return by_margin
    if isinstance(model[-1] if isinstance(model, Pipeline) else model, labels.Labels):
        return np.asarray(model.predict_proba(rows), dtype=np.float64)
    if is_classifier(model):
        chances = model.predict_proba(rows)
        chosen = chances if len(model.classes_) > 2 else chances[:, list(model.classes_).index(1)]
        return np.ascontiguousarray(chosen, dtype=np.float64)
    return np.asarray(model.predict(rows), dtype=np.float64)


def inputs(features: pl.DataFrame) -> pd.DataFrame:
    """Return feature columns as the pipeline takes them: missing values, of text too, are NaN.

    In polars' own frames missing text is None, which scikit-learn's encoders take for an ordinary category. Truth
    values are numbers, since a column of them that may be missing would be one of objects.
    """
    return features.with_columns(pl.selectors.boolean().cast(pl.Float64)).to_pandas()


def assemble(estimator: BaseEstimator, model: Model, schema: Schema, seed: int = 0) -> tuple[Pipeline, dict[str, Any]]:
    """Return the unfitted pipeline, and the arguments that its fit needs besides rows and labels."""
    numeric, categorical = schema.of_role("numeric"), schema.of_role("categorical")
    steps, native = model.preprocess, estimators.native_support(estimator)
    transformer = preprocess.transformer(estimator, steps, schema, seed)
    selectors = selection.selectors(steps.select, estimators.weighing(steps, seed), seed)
    constraints.set_by_name(estimator, schema, steps)
    arguments: dict[str, Any] = {}
    if steps.categorical.encode == "native" and categorical:
        positions = list(range(len(numeric), len(numeric) + len(categorical)))
        match native:
            case "parameter":
                estimator.set_params(categorical_features=positions)
            case "types":
                estimator.set_params(
                    enable_categorical=True, feature_types=["q"] * len(numeric) + ["c"] * len(categorical)
                )
            case "table":
                estimator.set_params(cat_features=positions)
            case "fit":
                arguments["estimator__categorical_feature"] = positions
    if levels := tasks.levels(schema.task, schema.classes):
        estimator = quantiles.Quantiles(estimator, list(levels), estimators.level_parameter(estimator))
    if schema.task == "multilabel":
        estimator = labels.Labels(estimator, len(schema.classes))
    return Pipeline([("preprocess", transformer), *selectors, ("estimator", estimator)]), arguments


def _emptiest(dataset: Dataset, model: Model) -> str:
    """Name the number with the fewest values, if some are left missing: no estimator says which column it refuses."""
    numbers = dataset.features.select(dataset.schema.of_role("numeric")).fill_nan(None)
    emptiest = min(numbers, key=pl.Series.count, default=None)
    if emptiest is None or not emptiest.null_count() or model.preprocess.numeric.impute != "none":
        return ""
    return (
        f"; '{emptiest.name}' has a value in {emptiest.count()} of {len(emptiest)} rows: if that is why, "
        "hide it in conf/features, or set model.preprocess.numeric.impute"
    )


def _check(dataset: Dataset) -> None:
    if not dataset.schema.features:
        raise UserError("conf/features: no feature is left for the model; declare one or hide fewer")
    if dataset.frame.is_empty():
        raise UserError("data/features/train.parquet: no rows; move data.window.train to where the label is known")
    _check_label(dataset)
    dataset.check_finite("train")


def _check_label(dataset: Dataset) -> None:
    """Raise UserError for labels that nothing, or not every class, can be learnt from."""
    schema, label = dataset.schema, dataset.label
    seen = label.unique().sort().to_list()
    where, rows = f"data/features/train.parquet: '{schema.label}'", dataset.frame.height
    remedy = "widen data.window.train or fix data.target"
    if schema.task in NUMERIC:
        if len(seen) < 2 or not label.is_finite().all():
            shown = ", ".join(map(str, seen[:3]))
            raise UserError(f"{where} must be finite numbers, not all equal, but is {shown} in {rows} rows; {remedy}")
        _check_whole(seen, schema.task, where, remedy)
        return
    if schema.task == "multilabel":
        rates = happened(label.to_numpy(), len(schema.classes), schema.task).mean(axis=0).tolist()
        alike = {name: rate for name, rate in zip(schema.classes, rates, strict=True) if rate in (0, 1)}
        for name, rate in alike.items():
            raise UserError(f"{where}: {'all' if rate else 'none'} of {rows} rows have the label '{name}'; {remedy}")
    elif schema.classes:
        absent = [name for number, name in enumerate(schema.classes) if number not in seen]
        if absent:
            raise UserError(f"{where}: the class '{absent[0]}' is in none of {rows} rows; {remedy}")
    elif seen != [0, 1]:
        shown = ", ".join("missing" if value is None else str(value) for value in seen)
        raise UserError(f"{where} must be 0 and 1, but is {shown} in all {rows} rows; {remedy}")


def _check_whole(seen: Sequence[float], task: Task, where: str, remedy: str) -> None:
    """Raise UserError for a count, or a relevance, that is none."""
    most = {"count": float("inf"), "ranking": MOST_RELEVANT}.get(task)
    odd = [] if most is None else [value for value in seen if not 0 <= value <= most or value % 1]
    if odd:
        range_of = f"from 0 to {most}" if task == "ranking" else "of at least 0"
        raise UserError(f"{where} must be whole numbers {range_of}, but is {odd[0]:g} in some row; {remedy}")
