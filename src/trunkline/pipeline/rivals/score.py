"""The models that the gates compare with, fitted, and their scores of the holdout."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import polars as pl
from sklearn.pipeline import Pipeline

from trunkline.conf.gates import BASELINE, POISONED, SEED, Gates
from trunkline.conf.model import Model
from trunkline.core.dataset import Dataset
from trunkline.pipeline.rivals import poison
from trunkline.pipeline.train import fit


class Rival(NamedTuple):
    """A model to compare with, its seed, and the share of the training labels that are flipped before it is fitted."""

    model: Model
    seed: int
    poisoned: float | None = None

    def fit(self, train: Dataset, threads: int) -> Pipeline:
        """Return the model, fitted on the training rows."""
        rows = train if self.poisoned is None else poison.flipped(train, self.poisoned, self.seed)
        return fit.fit(rows, self.model, self.seed, threads)


def rivals(gates: Gates, model: Model, seed: int) -> dict[str, Rival]:
    """Return the models to compare with, by name: the baseline, and `model` with other labels and with other seeds."""
    named = {BASELINE: Rival(gates.baseline, seed)} if gates.baseline else {}
    if gates.poisoned is not None:
        named[POISONED] = Rival(model, seed, gates.poisoned)
    return named | {f"{SEED}{number}": Rival(model, seed + number) for number in range(1, gates.seeds + 1)}


def fitted(
    models: Mapping[str, Rival],
    train: Dataset,
    threads: int,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> dict[str, Pipeline]:
    """Return each model, fitted on the training rows."""
    return {name: models[name].fit(train, threads) for name in progress(models)}


def scores(models: Mapping[str, Pipeline], rows: Dataset) -> pl.DataFrame:
    """Return a column of scores of the rows for each model."""
    return pl.DataFrame([pl.Series(name, fit.scores(model, rows.features)) for name, model in models.items()])


def of_members(models: Mapping[str, Pipeline], train: Dataset) -> pl.DataFrame:
    """Return the baseline's scores of the training rows; empty where none is declared."""
    return scores({name: model for name, model in models.items() if name == BASELINE}, train)
