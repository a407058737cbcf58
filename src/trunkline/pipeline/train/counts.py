"""Which regressors predict a count: those that never predict less than 0. What is not known to be one is none."""

from collections.abc import Iterator

from sklearn.base import BaseEstimator

_AVERAGES = ("sklearn.tree.", "sklearn.ensemble._forest", "sklearn.neighbors.", "sklearn.dummy")  # of labels
_LINEAR = ("PoissonRegressor", "GammaRegressor")  # by an exponential
_LOSSES = {
    "loss": ("poisson", "gamma"),
    "objective": ("poisson", "gamma", "tweedie", "count:poisson", "reg:gamma", "reg:tweedie"),
    "loss_function": ("Poisson",),
}
_ENSEMBLES = ("BaggingRegressor", "AdaBoostRegressor", "VotingRegressor")  # predict what lies between their members'


def is_never_negative(estimator: BaseEstimator) -> bool:
    """Tell whether a regressor, fitted to labels of at least 0, predicts nothing below 0."""
    name, module = type(estimator).__name__, type(estimator).__module__
    if name in _ENSEMBLES:
        return all(is_never_negative(member) for member in _members(estimator))
    parameters = estimator.get_params(deep=False)
    by_loss = any(parameters.get(key) in losses for key, losses in _LOSSES.items())
    return by_loss or name in _LINEAR or f"{module}.".startswith(_AVERAGES)


def _members(estimator: BaseEstimator) -> Iterator[BaseEstimator]:
    """Yield the regressors of an ensemble; one that declares none has trees."""
    parameters = estimator.get_params(deep=False)
    declared = [parameters.get("estimator"), *(each for _, each in parameters.get("estimators") or ())]
    yield from (each for each in declared if each is not None and each != "drop")
