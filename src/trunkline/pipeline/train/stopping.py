"""How many rounds of boosting are enough, judged on the latest of the training rows and never on random ones.

Rows of one day resemble each other, so that random rows ask for too many rounds; later ones are what a model will meet.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from trunkline.conf.model import StopEarly
from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError
from trunkline.core.features import EVENT_TIME

# Names of the number of rounds, the first of which is set where none is declared.
_SIZES = {
    "catboost": ("iterations", "n_estimators", "num_boost_round", "num_trees"),
    "lightgbm": ("n_estimators",),
    "xgboost": ("n_estimators",),
}

Rows = tuple[Any, Any]  # features and labels


@dataclass(frozen=True)
class _Trial:
    """Rows as the estimator sees them, and what its fit needs besides."""

    earlier: Rows
    later: Rows
    patience: int
    arguments: Mapping[str, Any]


def verify(declared: StopEarly | None, estimator: BaseEstimator, key: str) -> None:
    """Raise UserError for an estimator that has no rounds to choose here."""
    if declared is not None and _package(estimator) not in _SIZES:
        raise UserError(
            f"{key}.stop_early: {type(estimator).__name__} cannot be judged on later rows; remove it, or use LightGBM, "
            "XGBoost or CatBoost"
        )


def parts(dataset: Dataset, last: timedelta) -> tuple[Dataset, Dataset]:
    """Return the earlier training rows and the later ones; raises UserError where one has no rows."""
    if EVENT_TIME not in dataset.frame.columns:
        raise UserError("model.stop_early: the rows have no time; declare data.event_time, or remove it")
    late = pl.col(EVENT_TIME) > pl.col(EVENT_TIME).max() - last
    earlier, later = (Dataset(dataset.frame.filter(rows), dataset.schema) for rows in (~late, late))
    if earlier.frame.is_empty():
        raise UserError(f"model.stop_early.last: all {later.frame.height} training rows are within it; shorten it")
    return earlier, later


def rounds(pipeline: Pipeline, arguments: Mapping[str, Any], earlier: Rows, later: Rows, patience: int) -> int:
    """Fit an assembled pipeline to the earlier rows, judge it on the later ones, return the best number of rounds."""
    steps, estimator = pipeline[:-1], pipeline[-1]
    learnt = (steps.fit_transform(*earlier), earlier[1])
    own = {name.removeprefix("estimator__"): value for name, value in arguments.items()}
    trial = _Trial(learnt, (steps.transform(later[0]), later[1]), patience, own)
    return _FITS[_package(estimator)](estimator, trial)


def resize(estimator: BaseEstimator, count: int) -> None:
    """Give an unfitted estimator so many rounds."""
    names, declared = _SIZES[_package(estimator)], estimator.get_params(deep=False)
    estimator.set_params(**{next((name for name in names if name in declared), names[0]): count})


def _package(estimator: BaseEstimator) -> str:
    return type(estimator).__module__.partition(".")[0]


def _lightgbm(estimator: Any, trial: _Trial) -> int:
    import lightgbm  # noqa: PLC0415  an extra

    stop = lightgbm.early_stopping(trial.patience, verbose=False)
    features, labels = trial.later
    estimator.fit(*trial.earlier, eval_X=features, eval_y=labels, callbacks=[stop], **trial.arguments)
    return max(1, int(estimator.best_iteration_))


def _xgboost(estimator: Any, trial: _Trial) -> int:
    estimator.set_params(early_stopping_rounds=trial.patience)
    estimator.fit(*trial.earlier, eval_set=[trial.later], verbose=False, **trial.arguments)
    return int(estimator.best_iteration) + 1


def _catboost(estimator: Any, trial: _Trial) -> int:
    stop = {"early_stopping_rounds": trial.patience, "use_best_model": True}
    estimator.fit(*trial.earlier, eval_set=trial.later, **stop, **trial.arguments)
    return max(1, int(estimator.tree_count_))


_FITS: Mapping[str, Callable[[Any, _Trial], int]] = {"catboost": _catboost, "lightgbm": _lightgbm, "xgboost": _xgboost}
