"""The models that the gates compare with, fitted, and their scores of the holdout."""

from collections.abc import Callable, Iterable, Mapping

import polars as pl
from sklearn.pipeline import Pipeline

from trunkline.conf.gates import BASELINE, SEED, Gates
from trunkline.conf.model import Model
from trunkline.core.dataset import Dataset
from trunkline.pipeline.train import fit

Seeded = tuple[Model, int]


def rivals(gates: Gates, model: Model, seed: int) -> dict[str, Seeded]:
    """Return the models to compare with, and their seeds, by name: the baseline, and `model` with other seeds."""
    simple = {BASELINE: (gates.baseline, seed)} if gates.baseline else {}
    return simple | {f"{SEED}{number}": (model, seed + number) for number in range(1, gates.seeds + 1)}


def fitted(
    models: Mapping[str, Seeded],
    train: Dataset,
    threads: int,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> dict[str, Pipeline]:
    """Return each model, fitted on the training rows."""
    return {name: fit.fit(train, *models[name], threads) for name in progress(models)}


def scores(models: Mapping[str, Pipeline], rows: Dataset) -> pl.DataFrame:
    """Return a column of scores of the rows for each model."""
    return pl.DataFrame([pl.Series(name, fit.scores(model, rows.features)) for name, model in models.items()])


def of_members(models: Mapping[str, Pipeline], train: Dataset) -> pl.DataFrame:
    """Return the baseline's scores of the training rows; empty where none is declared."""
    return scores({name: model for name, model in models.items() if name == BASELINE}, train)
