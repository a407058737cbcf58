"""Quantiles of a number: a fit for each by an estimator with a quantile loss, or one fit of any regressor.

What they miss on later rows, which were not trained on, is added to them: split conformal prediction, by which an
interval between two quantiles holds the declared share of labels of rows like these, whatever the estimator (Romano,
Patterson and Candes, "Conformalized quantile regression", NeurIPS 2019, theorem 2; Lei et al., "Distribution-free
predictive inference for regression", 2018, for one fit). It is one order statistic for each quantile, so no library
is needed for it: those that there are return objects that neither a graph nor a file without pickle can hold.
"""

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin, clone

from trunkline.core.arrays import Floats
from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError
from trunkline.core.features import EVENT_TIME


class Quantiles(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Predicts the quantiles at ascending `levels`: by a clone of `estimator` for each, or by one for all.

    `parameter` is the estimator's own for the level of its loss; None for a loss that has none.
    """

    def __init__(self, estimator: Any, levels: Sequence[float], parameter: str | None = None) -> None:
        self.estimator = estimator
        self.levels = levels
        self.parameter = parameter

    def fit(self, rows: Any, labels: NDArray[Any], **arguments: Any) -> Self:
        """Fit each clone on the same rows."""
        levels = self.levels if self.parameter else [None]
        self.estimators_ = [self._at(level).fit(rows, labels, **arguments) for level in levels]
        self.offsets_ = np.zeros(len(self.levels))
        return self

    def calibrate(self, rows: Any, labels: Floats) -> None:
        """Add to each quantile what it misses on rows that were not trained on."""
        residuals = np.sort(labels[:, None] - self._members(rows), axis=0)
        pairs = zip(self.levels, np.broadcast_to(residuals, (len(labels), len(self.levels))).T, strict=True)
        self.offsets_ = np.array([missed(of, level) for level, of in pairs])

    def predict(self, rows: Any) -> Floats:
        """Return the quantiles, shape (rows, levels), ascending: those that cross are put in order.

        Chernozhukov, Fernandez-Val and Galichon, "Quantile and probability curves without crossing", 2010.
        """
        return np.asarray(np.sort(self._members(rows) + self.offsets_, axis=1), dtype=np.float64)

    def _at(self, level: float | None) -> Any:
        estimator = clone(self.estimator)
        return estimator if level is None else estimator.set_params(**{str(self.parameter): level})

    def _members(self, rows: Any) -> Floats:
        return np.column_stack([np.asarray(each.predict(rows), dtype=np.float64) for each in self.estimators_])


def missed(residuals: Floats, level: float) -> float:
    """Return the residual at a level, of ascending ones, such that at least that share of new ones is not above it.

    Below one half, at most that share is below it. Raises UserError for too few residuals to say so.
    """
    count = len(residuals)
    place = round((count + 1) * level, 6)
    rank = math.ceil(place) if level >= 0.5 else math.floor(place)
    if not 1 <= rank <= count:
        raise UserError(
            f"model.calibrate: {count} rows are too few for the quantile {level:g}, which needs "
            f"{fewest(level)}; declare a larger share, or a quantile nearer to one half"
        )
    return float(residuals[rank - 1])


def fewest(level: float) -> int:
    """Return how many rows it takes to calibrate a quantile."""
    return math.ceil(round(1 / min(level, 1 - level), 6)) - 1


def parted(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Return the rows to train on and those to calibrate on: the last share of them, or any of rows without a time."""
    rows = dataset.frame.height
    order = np.arange(rows)
    if EVENT_TIME not in dataset.frame.columns:
        order = np.random.default_rng(seed).permutation(rows)
    last = np.zeros(rows, dtype=np.bool_)
    last[order[rows - round(rows * share) :]] = True
    mask = pl.Series(last)
    return Dataset(dataset.frame.filter(~mask), dataset.schema), Dataset(dataset.frame.filter(mask), dataset.schema)
