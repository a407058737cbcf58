"""How much each training row counts, as conf/model declares it: no feature, and nothing that a metric looks at."""

from datetime import timedelta

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator
from sklearn.utils.validation import has_fit_parameter

from trunkline.conf.model import Weight
from trunkline.core.arrays import Floats
from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError, nearest
from trunkline.core.features import EVENT_TIME

DIGITS = 12  # after the point: what is beyond depends on the machine's own power function


def verify(weight: Weight, estimator: BaseEstimator, key: str) -> None:
    """Raise UserError for an estimator that cannot weigh its rows."""
    if weight != Weight() and not has_fit_parameter(estimator, "sample_weight"):
        raise UserError(f"{key}.weight: {type(estimator).__name__} takes no weights of rows; remove it")


def of(dataset: Dataset, weight: Weight) -> Floats | None:
    """Return the weight of each training row, finite and at least 0, shape (n); None if none is declared.

    Raises UserError for a weight that is missing, infinite or negative in some row, and for weights that are all 0.
    """
    if weight == Weight():
        return None
    weights = np.ones(dataset.frame.height)
    if weight.column is not None:
        weights = weights * _declared(dataset, weight.column)
    if weight.half_life is not None:
        weights = weights * _recency(dataset.frame, weight.half_life)
    if not weights.any():
        raise UserError("model.weight: is 0 for every training row, so that nothing can be learnt")
    return weights


def _declared(dataset: Dataset, column: str) -> Floats:
    request = dataset.frame.drop(dataset.schema.label)
    if column not in request.columns:
        raise UserError(f"model.weight.column: no column '{column}'{nearest(column, request.columns)}")
    if not (request.schema[column].is_numeric() or request.schema[column] == pl.Boolean):
        raise UserError(f"model.weight.column: '{column}' is no number; name one, or derive one in data.derive")
    weights = request[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        row = int(wrong.argmax())
        raise UserError(
            f"data/features/train.parquet: '{column}' is {weights[row]:g} in row {row}; "
            "as model.weight.column it must be a finite number of at least 0"
        )
    return weights


def _recency(frame: pl.DataFrame, half_life: timedelta) -> Floats:
    if EVENT_TIME not in frame.columns:
        raise UserError("model.weight.half_life: the rows have no time; declare data.event_time, or remove it")
    time = pl.col(EVENT_TIME)
    age = frame.select((time.max() - time).dt.total_microseconds().cast(pl.Float64)).to_series().to_numpy()
    halvings = age / (half_life / timedelta(microseconds=1))
    return np.asarray(np.power(0.5, halvings), dtype=np.float64).round(DIGITS)
