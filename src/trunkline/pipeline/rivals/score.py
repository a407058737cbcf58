"""The models that the gates compare with, fitted, and their scores of the holdout."""

from collections.abc import Callable, Iterable, Mapping

import polars as pl

from trunkline.conf.gates import BASELINE, SEED, Gates
from trunkline.conf.model import Model
from trunkline.core.dataset import Dataset
from trunkline.pipeline.train import fit

Seeded = tuple[Model, int]


def rivals(gates: Gates, model: Model, seed: int) -> dict[str, Seeded]:
    """Return the models to compare with, and their seeds, by name: the baseline, and `model` with other seeds."""
    simple = {BASELINE: (gates.baseline, seed)} if gates.baseline else {}
    return simple | {f"{SEED}{number}": (model, seed + number) for number in range(1, gates.seeds + 1)}


def scores(
    models: Mapping[str, Seeded],
    train: Dataset,
    holdout: Dataset,
    threads: int,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> pl.DataFrame:
    """Return a column of scores of the holdout's rows for each model, fitted on the training rows."""
    columns = (
        pl.Series(name, fit.scores(fit.fit(train, *models[name], threads), holdout.features))
        for name in progress(models)
    )
    return pl.DataFrame(list(columns))
